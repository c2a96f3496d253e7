//! Under which subject a notice is published: words that stand there, and what is put in for each notice.

use std::fmt;

/// A subject with places for what differs from notice to notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

/// What can be put in.
const PLACES: [&str; 3] = ["{host}", "{job}", "{kind}"];

/// Longest template: what is put in comes on top, and a server that takes long subjects is slower for it.
const LONGEST: usize = 200;

impl Subject {
    /// What is published to where nothing else is said.
    pub const DEFAULT: &str = "ci.{job}.{kind}";

    /// A template as it is written. An error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = PLACES.iter().fold(text.to_owned(), |text, place| text.replace(place, "x"));
        if !is_words(&bare) || text.len() > LONGEST {
            return Err(format!(
                "{text:?} is no subject; write words of letters, digits, `-` and `_` with dots between them and {} where they \
                 belong, as in {:?}",
                PLACES.join(", "),
                Self::DEFAULT
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The subject of one notice.
    pub fn of(&self, host: &str, job: &str, kind: &str) -> String {
        let values = [token(host), token(job), token(kind)];
        PLACES.iter().zip(&values).fold(self.0.clone(), |text, (place, value)| text.replace(place, value))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is words with dots between them, each of which stands for itself.
pub fn is_words(text: &str) -> bool {
    text.split('.').all(|token| !token.is_empty() && token.chars().all(is_plain))
}

/// What may stand in a subject: no dot, no wildcard and no space, or a job could choose where its notices go.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// A text as a part of one word of a subject.
fn token(text: &str) -> String {
    let token: String = text.chars().map(|character| if is_plain(character) { character } else { '_' }).collect();
    if token.is_empty() { "_".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_never_more_than_one_word() {
        let subject = Subject::parse("ci.{host}.{job}.x-{kind}").unwrap();
        assert_eq!(subject.of("a.b c", "run-1", "exec"), "ci.a_b_c.run-1.x-exec");
        assert_eq!(subject.of("", "*.>\n{kind}", "é"), "ci._._____kind_.x-_");
    }

    #[test]
    fn a_template_has_words_and_nothing_that_a_server_would_read_as_a_pattern() {
        for right in [Subject::DEFAULT, "a", "{kind}", "ci.acme-web_17.{host}-{job}"] {
            assert_eq!(Subject::parse(right).map(|subject| subject.to_string()), Ok(right.to_owned()));
        }
        let long = "a".repeat(LONGEST + 1);
        for wrong in ["", ".", "a.", "a..b", "ci.>", "ci.*", "a b", "$JS.API", "ci.{jobs}", "ci.é", &long] {
            assert!(Subject::parse(wrong).unwrap_err().contains("is no subject"), "{wrong}");
        }
    }
}
