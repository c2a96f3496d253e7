//! Asks a policy about a file that was opened.

use super::{Allow, Decision, Explanation, Near, Rule};
use crate::policy::secret::smallest;
use crate::policy::{Mode, Policy, Reader, Verdict};
use crate::text::base_name;

/// An open that is asked about.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The path, and the one under which it is known as secret, if another.
    pub paths: Vec<String>,
    /// The program.
    pub exe: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Its process.
    pub pid: u32,
}

/// Explains an open.
pub fn file(policy: &Policy, opened: &Opened) -> Explanation {
    let found = opened.paths.iter().find_map(|path| Some((path, policy.secrets.classify(path)?)));
    let Some((path, class)) = found else {
        return Explanation {
            kind: "file",
            now: Some(Decision { verdict: Verdict::Allowed.to_string(), rule: "default".to_owned() }),
            why: "no entry of secrets.files means this path, so it is no secret".to_owned(),
            ..Explanation::default()
        };
    };
    let reader = Reader { exe: &opened.exe, argv: &opened.argv, pid: opened.pid, path };
    let owns = class.may_read(&reader);
    let verdict = match (owns, policy.secrets.on_read) {
        (true, _) => Verdict::Allowed,
        (false, Mode::Audit) => Verdict::Audited,
        (false, Mode::Block) => Verdict::Blocked,
    };
    let rule = Rule::secret(class, &policy.origin);
    let readers = rule.readers.clone().unwrap_or_default();
    let name = base_name(&opened.exe);
    let mut told = Explanation {
        kind: "file",
        now: Some(Decision { verdict: verdict.to_string(), rule: class.id.to_string() }),
        ..Explanation::default()
    };
    if owns {
        told.why = format!("{name} is one of its readers");
    } else if readers.is_empty() {
        "the entry has no readers, so nobody owns it".clone_into(&mut told.why);
    } else {
        told.why = format!("{name} is none of its readers: {}", readers.join(", "));
    }
    if verdict == Verdict::Blocked {
        told.notes.push(
            "no hook of this tier refuses an open: `run` audits it in mode audit, and doesn't start in mode block"
                .to_owned(),
        );
    }
    if !owns {
        if is_named(&readers, name) {
            told.near.push(Near {
                rule: rule.clone(),
                differs: vec!["exe"],
                why: format!(
                    "{name} is among the readers, but not this one: a program below a temporary directory or the workspace, \
                     one that is deleted, or one that was given code inline owns nothing"
                ),
            });
        }
        match smallest::line(class, &reader) {
            Some(line) => {
                told.allow =
                    Some(Allow { below: "secrets.files", line, replaces: None, warnings: Vec::new() });
                told.notes.push(
                    "the line stands for the file's class before every included one: add the readers that own it too"
                        .to_owned(),
                );
            }
            None => told.notes.push(format!(
                "no line makes {name} an owner: an interpreter needs its script (`node:npm-cli.js`), and a program of the \
                 job's own files can't be one"
            )),
        }
    }
    told.rule = Some(rule);
    told
}

fn is_named(readers: &[String], name: &str) -> bool {
    readers.iter().any(|reader| reader.split(':').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cases::MadeUp;
    use crate::config::load;
    use crate::policy::secret::Place;

    fn told(exe: &str, argv: &[&str], path: &str) -> Explanation {
        let homes = vec!["/home/runner".to_owned()];
        let runner = MadeUp { place: Place { homes, workspaces: Vec::new() }, ..MadeUp::default() };
        let (policy, _) = load(&[], &runner).unwrap();
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let opened = Opened { paths: vec![path.to_owned()], exe: exe.to_owned(), argv, pid: 7 };
        file(&policy, &opened)
    }

    #[test]
    fn an_owner_is_named_and_anybody_else_gets_the_line_that_would_make_it_one() {
        let path = "/home/runner/.aws/credentials";
        let owner = told("/usr/local/bin/aws", &["aws"], path);
        assert_eq!((owner.now.unwrap().verdict.as_str(), owner.allow), ("allowed", None));
        let other = told("/usr/bin/cat", &["cat", path], path);
        assert_eq!(other.now.unwrap().verdict, "audited");
        assert!(other.why.starts_with("cat is none of its readers: aws"), "{}", other.why);
        let line = "- { path: \"/home/runner/.aws/credentials\", readers: [\"cat\"], why: \"…\" }";
        assert_eq!(other.allow.unwrap().line, line);
        assert_eq!(other.rule.unwrap().at.unwrap().file, "presets/secrets");
        assert_eq!(told("/usr/bin/cat", &["cat"], "/etc/hosts").now.unwrap().rule, "default");
    }

    #[test]
    fn an_interpreter_is_named_with_its_script_and_a_program_from_nowhere_never() {
        let path = "/home/runner/.aws/credentials";
        let script = told("/usr/bin/python3", &["python3", "/opt/deploy/deploy.py"], path);
        assert!(script.allow.unwrap().line.contains("readers: [\"python3:deploy.py\"]"));
        let thief = told("/tmp/aws", &["aws"], path);
        assert_eq!(thief.allow, None);
        assert_eq!(thief.near[0].differs, ["exe"]);
    }
}
