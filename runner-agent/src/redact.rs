//! Takes secrets out of argument vectors before anything is written or sent.
//!
//! Three sources: values that the runner's environment marks as secret by name, shapes that tokens are known by, and
//! the places where a secret follows a word (`--password`, `Authorization:`, `NAME_TOKEN=`). What is taken out becomes
//! [`MASK`]. Redaction is one-way and happens before detection, so no finding can quote a secret either.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What stands where a secret stood.
pub const MASK: &str = "***";

/// Values shorter than this are too likely to be ordinary words.
const SHORTEST_VALUE: usize = 8;

/// Names of variables and options whose value is a secret.
const SECRET_WORD: &str = "(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|\
                           auth[-_]?key|credentials?|jitconfig|session[-_]?key)";

/// Token shapes: the prefixes that their issuers publish so that scanners find them.
static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        "gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|gl(?:pat|rt|cbt|dt|ptt|soat)-[A-Za-z0-9_.-]{16,}|\
         npm_[A-Za-z0-9]{16,}|pypi-[A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abeoprs]-[A-Za-z0-9-]{10,}|\
         sk-[A-Za-z0-9_-]{20,}|hv[sbr]\\.[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{30,}|dop_v1_[a-f0-9]{32,}|\
         eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]*|\
         -----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\\s\\\\n]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    )
});

/// `scheme://user:password@host` and `scheme://token@host`.
static USER_INFO: LazyLock<Regex> = LazyLock::new(|| compile("(://)(?:([^/@:\\s]*):)?[^/@\\s]+@"));

/// `Authorization: Bearer …` and other headers that carry a secret.
static HEADERS: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        "(?i)((?:proxy-)?authorization\\s*[:=]\\s*(?:(?:basic|bearer|token|negotiate|digest)\\s+)?|\
         (?:x-[a-z-]*(?:token|key|secret)|private-token|job-token|cookie)\\s*:\\s*)[^\\s\"']+",
    )
});

/// `NAME_TOKEN=value`, `--client-secret=value`, `"password": "value"`.
static ASSIGNMENTS: LazyLock<Regex> = LazyLock::new(|| {
    compile(&format!("(?i)([A-Za-z0-9_.-]*{SECRET_WORD}[A-Za-z0-9_]*[\"']?\\s*(?:=|:\\s)\\s*[\"']?)[^\\s\"'&;|]+"))
});

/// An option whose value is the next argument.
static OPTION: LazyLock<Regex> = LazyLock::new(|| compile(&format!("(?i)^--?[a-z0-9_-]*{SECRET_WORD}$")));

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are constants, and a test compiles each")
}

/// Removes secrets from argument vectors.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// Longest first, so that a value that contains another is masked whole.
    values: Vec<String>,
}

impl Redactor {
    /// A redactor that also knows the values of variables whose names say that they are secret.
    pub fn with_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        static NAME: LazyLock<Regex> = LazyLock::new(|| compile(&format!("(?i){SECRET_WORD}")));
        let mut values: Vec<String> = variables
            .into_iter()
            .filter(|(name, value)| value.len() >= SHORTEST_VALUE && NAME.is_match(name) && !value.starts_with('/'))
            .map(|(_, value)| value)
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self { values }
    }

    /// The values that it knows, for a process that goes on with what this one did.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// A redactor that knows these too.
    #[must_use]
    pub fn and(mut self, values: Vec<String>) -> Self {
        self.values.extend(values);
        self.values.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        self.values.dedup();
        self
    }

    /// Masks the secrets in an argument vector.
    pub fn arguments(&self, arguments: Vec<String>) -> Vec<String> {
        let mut value_follows = false;
        arguments
            .into_iter()
            .map(|argument| {
                if std::mem::replace(&mut value_follows, OPTION.is_match(&argument)) && !argument.starts_with('-') {
                    value_follows = false;
                    return MASK.to_owned();
                }
                match self.text(&argument) {
                    Cow::Borrowed(_) => argument,
                    Cow::Owned(masked) => masked,
                }
            })
            .collect()
    }

    /// Masks the secrets in one text.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = Cow::Owned(text.replace(value.as_str(), MASK));
            }
        }
        // The cheapest sign that none of the patterns can match: they all need one of these characters.
        if !text.contains(['_', '-', ':', '=', '.']) && !text.contains("AKIA") && !text.contains("ASIA") {
            return text;
        }
        for (pattern, replacement) in
            [(&SHAPES, MASK), (&USER_INFO, "${1}***@"), (&HEADERS, "${1}***"), (&ASSIGNMENTS, "${1}***")]
        {
            if let Cow::Owned(masked) = pattern.replace_all(&text, replacement) {
                text = Cow::Owned(masked);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(arguments: &[&str]) -> Vec<String> {
        Redactor::default().arguments(arguments.iter().map(|&argument| argument.to_owned()).collect())
    }

    #[test]
    fn secrets_go_wherever_they_stand() {
        for (arguments, expected) in [
            (vec!["curl", "-H", "Authorization: Bearer abc.def"], vec!["curl", "-H", "Authorization: Bearer ***"]),
            (vec!["docker", "login", "--password", "hunter22"], vec!["docker", "login", "--password", "***"]),
            (vec!["vault", "--client-secret=s3cr3t"], vec!["vault", "--client-secret=***"]),
            (vec!["git", "clone", "https://ci:pw1@git.example/a"], vec!["git", "clone", "https://***@git.example/a"]),
            (vec!["env", "NPM_TOKEN=abcdef", "npm", "publish"], vec!["env", "NPM_TOKEN=***", "npm", "publish"]),
            (vec!["sh", "-c", "X_API_KEY='q q' deploy"], vec!["sh", "-c", "X_API_KEY='*** q' deploy"]),
            (vec!["Runner.Listener", "--jitconfig", "eyJhbGci"], vec!["Runner.Listener", "--jitconfig", "***"]),
            (vec!["echo", "ghp_0123456789abcdefABCDEF"], vec!["echo", "***"]),
            (vec!["echo", "AKIAIOSFODNN7DUMMY12"], vec!["echo", "***"]),
        ] {
            assert_eq!(redacted(&arguments), expected);
        }
    }

    #[test]
    fn ordinary_arguments_stay_as_they_are() {
        for arguments in [
            vec!["rustc", "--crate-name", "token", "--edition=2021", "src/lib.rs"],
            vec!["npm", "ci", "--no-audit"],
            vec!["git", "clone", "https://git.example/token/repo.git"],
            vec!["cc", "-DKEY=1", "-o", "secret.o", "secret.c"],
            vec!["ssh", "user@host.example"],
        ] {
            assert_eq!(redacted(&arguments), arguments);
        }
    }

    #[test]
    fn an_option_before_another_option_has_no_value_to_hide() {
        assert_eq!(redacted(&["x", "--token", "--verbose"]), ["x", "--token", "--verbose"]);
    }

    #[test]
    fn values_of_secret_variables_go_in_any_argument() {
        let environment = [("DEPLOY_TOKEN", "value-of-token"), ("HOME", "/home/runner"), ("PIN_TOKEN", "1234")];
        let redactor = Redactor::with_environment(environment.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(redactor.text("prefix/value-of-token/suffix"), "prefix/***/suffix");
        assert_eq!(redactor.text("cd /home/runner 1234"), "cd /home/runner 1234");
    }
}
