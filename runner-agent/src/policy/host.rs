//! A host name, or all names below one.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// `name` matches itself; `*.suffix` matches one or more labels below `suffix`, never `suffix` itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// Lower case, without the star, without a dot at either end.
    suffix: Arc<str>,
    wildcard: bool,
}

/// Why a text is no host pattern. Each message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// Nothing was written.
    #[error("is empty; write a host name such as \"mirror.example.org\" or \"*.example.org\"")]
    Empty,
    /// An address where a name is wanted.
    #[error("{0:?} is an address; write `cidr: {1}` in place of `host`")]
    Address(String, String),
    /// A URL or something with a port or path.
    #[error("{0:?} is not a host name alone; write the name without scheme, port or path{1}")]
    NotAlone(String, String),
    /// A star that is not the whole first label.
    #[error("{0:?} has a star in the {1} label; only the first may be one")]
    StarLabel(String, String),
    /// A star as part of the first label.
    #[error("{0:?} has a star inside its first label; a star stands only as the whole first label, as in \"*.{1}\"")]
    StarInside(String, String),
    /// A star and nothing else, or a star over a top-level domain.
    #[error("{0:?} would match every name{1}; name at least two labels after the star")]
    TooBroad(String, &'static str),
    /// Letters outside ASCII.
    #[error("{0:?} is not ASCII; write the name in its xn-- form, as it stands in DNS")]
    NotAscii(String),
    /// A label that is empty, too long, or has other characters.
    #[error("{0:?} has the label {1:?}; a label has 1 to 63 letters, digits, hyphens or underscores")]
    Label(String, String),
    /// More than 253 bytes.
    #[error("is {0} bytes long; a host name has at most 253")]
    TooLong(usize),
}

impl HostPattern {
    /// Reads a pattern. Case and one dot at the end are insignificant.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let written = || text.to_owned();
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostPatternError::Empty);
        }
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Err(HostPatternError::Address(written(), format!("{address}/{bits}")));
        }
        if name.contains(['/', ':', '@', ' ', '?']) {
            return Err(HostPatternError::NotAlone(written(), bare_name(name)));
        }
        if !name.is_ascii() {
            return Err(HostPatternError::NotAscii(written()));
        }
        if name.len() > 253 {
            return Err(HostPatternError::TooLong(name.len()));
        }
        let (wildcard, suffix) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None if name == "*" => return Err(HostPatternError::TooBroad(written(), "")),
            None => (false, name),
        };
        for (index, label) in suffix.split('.').enumerate() {
            let index = index + usize::from(wildcard);
            if label.contains('*') {
                if index == 0 {
                    let rest = suffix.split_once('.').map_or("example.org", |(_, rest)| rest);
                    return Err(HostPatternError::StarInside(written(), rest.to_owned()));
                }
                return Err(HostPatternError::StarLabel(written(), ordinal(index + 1)));
            }
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if label.is_empty() || label.len() > 63 || !label.bytes().all(plain) {
                return Err(HostPatternError::Label(written(), label.to_owned()));
            }
        }
        if wildcard && !suffix.contains('.') {
            return Err(HostPatternError::TooBroad(written(), " of a top-level domain"));
        }
        Ok(Self { suffix: suffix.to_ascii_lowercase().into(), wildcard })
    }

    /// Whether `name` (any case, with or without a dot at the end) is one of those meant.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        if !self.wildcard {
            return name.eq_ignore_ascii_case(&self.suffix);
        }
        // Bytes, because a name off the wire need not be cut at a character's edge.
        let (name, suffix) = (name.as_bytes(), self.suffix.as_bytes());
        let Some(cut) = name.len().checked_sub(suffix.len() + 1) else {
            return false;
        };
        cut > 0 && name[0] != b'.' && name[cut] == b'.' && name[cut + 1..].eq_ignore_ascii_case(suffix)
    }

    /// Whether every name that `other` means is meant.
    pub fn covers(&self, other: &Self) -> bool {
        self == other || (self.wildcard && self.matches(&other.suffix))
    }

    /// Whether this stands for more than one name.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The name, or for a wildcard the name that all matches lie below.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcard { write!(f, "*.{}", self.suffix) } else { f.write_str(&self.suffix) }
    }
}

/// The host in something that looks like a URL, as a hint (`, "mirror.example.org"`), or nothing.
fn bare_name(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split(['/', '?', ' ']).next().unwrap_or(rest);
    let host = host.rsplit('@').next().unwrap_or(host).split(':').next().unwrap_or(host);
    if host.is_empty() || host == text { String::new() } else { format!(", {host:?}") }
}

fn ordinal(number: usize) -> String {
    match number {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        4 => "fourth".to_owned(),
        _ => format!("{number}th"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        HostPattern::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_pattern_is_told_what_would_be_right() {
        assert_eq!(
            error("*.*.example.org"),
            r#""*.*.example.org" has a star in the second label; only the first may be one"#
        );
        assert_eq!(
            error("a*.example.org"),
            r#""a*.example.org" has a star inside its first label; a star stands only as the whole first label, as in "*.example.org""#
        );
        assert_eq!(error("10.0.0.1"), r#""10.0.0.1" is an address; write `cidr: 10.0.0.1/32` in place of `host`"#);
        assert!(error("https://mirror.example.org/x").ends_with(r#", "mirror.example.org""#));
        assert!(error("bücher.example").contains("xn--"));
        assert!(error("*").contains("every name"));
        assert!(error("*.org").contains("two labels"));
        assert!(error("a..example").contains(r#"label """#));
    }

    #[test]
    fn a_wildcard_matches_below_and_never_the_name_itself() {
        let pattern = HostPattern::parse("*.Example.ORG").unwrap();
        assert!(pattern.matches("a.example.org"));
        assert!(pattern.matches("a.b.EXAMPLE.org."));
        assert!(!pattern.matches("example.org"));
        assert!(!pattern.matches(".example.org"));
        assert!(!pattern.matches("notexample.org"));
        assert!(!pattern.matches("a.example.org.evil.test"));
    }

    fn label() -> impl Strategy<Value = String> {
        "[a-z0-9_][a-z0-9_-]{0,8}[a-z0-9]"
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = HostPattern::parse(&text);
        }

        #[test]
        fn a_pattern_is_read_back_as_written(labels in prop::collection::vec(label(), 2..5), star: bool) {
            prop_assume!(labels.join(".").parse::<IpAddr>().is_err());
            let text = format!("{}{}", if star { "*." } else { "" }, labels.join("."));
            prop_assert_eq!(HostPattern::parse(&text).unwrap().to_string(), text);
        }

        #[test]
        fn a_wildcard_matches_any_number_of_labels_below(
            suffix in prop::collection::vec(label(), 2..4),
            below in prop::collection::vec(label(), 1..4),
        ) {
            let suffix = suffix.join(".");
            prop_assume!(suffix.parse::<IpAddr>().is_err());
            let pattern = HostPattern::parse(&format!("*.{suffix}")).unwrap();
            let name = format!("{}.{suffix}", below.join("."));
            prop_assert!(pattern.matches(&name));
            prop_assert!(pattern.matches(&name.to_ascii_uppercase()));
            prop_assert!(!pattern.matches(&suffix));
            let glued = format!("{}{suffix}", below.join("."));
            let below = format!(".{suffix}");
            prop_assert!(!pattern.matches(&glued) || glued.ends_with(&below));
        }

        #[test]
        fn an_exact_pattern_matches_one_name(a in label(), b in label()) {
            let pattern = HostPattern::parse(&format!("{a}.example.org")).unwrap();
            prop_assert_eq!(pattern.matches(&format!("{b}.example.org")), a == b);
        }
    }
}
