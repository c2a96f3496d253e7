//! The environment of a process as bytes, and single values of it as text that is bounded and steers no terminal.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::IdentityError;
use crate::text;

/// Longest value that is taken. A branch has at most 255 characters, a workflow's reference the length of three names.
pub const MOST_CHARS: usize = 1024;

/// An environment. Nothing in it is believed to be text, short, or there only once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    values: BTreeMap<Vec<u8>, Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: Vec<u8>,
    /// Whether the name stands there again with another value.
    differs: bool,
}

impl Environment {
    /// From `NAME=value` entries with a NUL after each, as `/proc/PID/environ` gives them. What has no `=` is no variable.
    pub fn parse(bytes: &[u8]) -> Self {
        let entries = bytes.split(|&byte| byte == 0).filter_map(|entry| {
            let at = entry.iter().position(|&byte| byte == b'=')?;
            Some((entry[..at].to_vec(), entry[at + 1..].to_vec()))
        });
        Self::from_pairs(entries)
    }

    /// From pairs as a program has its own (`std::env::vars_os`).
    pub fn from_os(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self::from_pairs(pairs.into_iter().map(|(name, value)| (name.into_vec(), value.into_vec())))
    }

    /// From pairs of bytes.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let mut values: BTreeMap<Vec<u8>, Held> = BTreeMap::new();
        for (name, value) in pairs {
            match values.get_mut(&name) {
                Some(held) => held.differs |= held.value != value,
                None => drop(values.insert(name, Held { value, differs: false })),
            }
        }
        Self { values }
    }

    /// Whether a name is there, also without a value: a pipeline's file can empty a variable of most providers, and take
    /// it away of none.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name.as_bytes())
    }

    /// A value as text; `None` where it is missing or empty.
    ///
    /// A name with two values is refused: `getenv(3)` takes the first, shells take the last, and whoever could add the
    /// second must not choose which one is believed. What identity doesn't ask for may stand there as often as it likes.
    pub fn text(&self, name: &str) -> Result<Option<String>, IdentityError> {
        match self.values.get(name.as_bytes()) {
            None => Ok(None),
            Some(held) if held.differs => Err(IdentityError::Repeated(name.to_owned())),
            Some(held) => bounded(name, &held.value),
        }
    }
}

/// Bytes as text for any reader, if there are few enough; `None` if there are none.
pub(super) fn bounded(name: &str, bytes: &[u8]) -> Result<Option<String>, IdentityError> {
    let chars = String::from_utf8_lossy(bytes).chars().count();
    if chars > MOST_CHARS {
        return Err(IdentityError::TooLong { name: name.to_owned(), chars });
    }
    Ok((chars > 0).then(|| text::printable(&text::from_bytes(bytes)).into_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_may_hold_an_equals_sign_and_an_entry_without_one_is_no_variable() {
        let environment = Environment::parse(b"A=b=c\0nothing\0=odd\0EMPTY=\0LAST=x");
        assert_eq!(environment.text("A").unwrap().as_deref(), Some("b=c"));
        assert_eq!(environment.text("LAST").unwrap().as_deref(), Some("x"));
        assert_eq!(environment.text("nothing"), Ok(None));
        assert_eq!(environment.text("EMPTY"), Ok(None));
        assert!(environment.has("EMPTY") && !environment.has("nothing"));
    }

    #[test]
    fn a_name_with_two_values_is_refused_and_with_the_same_value_twice_is_not() {
        let environment = Environment::parse(b"A=1\0B=1\0A=2\0B=1\0");
        assert_eq!(environment.text("A"), Err(IdentityError::Repeated("A".to_owned())));
        assert_eq!(environment.text("B").unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn a_value_of_128_kib_is_refused_by_its_name() {
        let environment = Environment::from_os([("GITHUB_REF".into(), "x".repeat(128 << 10).into())]);
        assert_eq!(
            environment.text("GITHUB_REF").unwrap_err().to_string(),
            "GITHUB_REF has 131072 characters; what a provider sets has at most 1024"
        );
        let most = Environment::from_os([("A".into(), "ä".repeat(MOST_CHARS).into())]);
        assert!(most.text("A").is_ok());
    }

    #[test]
    fn no_value_begins_a_line_or_hides_that_it_is_no_text() {
        let environment = Environment::from_pairs([(b"A".to_vec(), b"a\n::error::b\x1b[2J\xff\0c".to_vec())]);
        assert_eq!(environment.text("A").unwrap().unwrap(), "a\\n::error::b\\u{1b}[2J\\xff\\u{0}c");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_environment(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let environment = Environment::parse(&bytes);
            for name in environment.values.keys() {
                if let Ok(Some(text)) = environment.text(&String::from_utf8_lossy(name)) {
                    prop_assert!(!text.contains(char::is_control));
                }
            }
        }
    }
}
