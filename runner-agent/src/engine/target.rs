//! The target of a request: its path in pieces and its parameters, decoded once and written anew.
//!
//! Servers differ in what they make of `//`, `..`, `%2e` and `;`. So nothing of that is passed on: a path is either plain, and
//! written as plain, or refused.

use std::fmt::Write as _;

/// Longest target. Filters are JSON in the query, and images have long names.
const MAX_TARGET: usize = 16 * 1024;

/// A target in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `v1.43`, if the path begins with a version.
    pub version: Option<String>,
    /// The pieces behind it, none of them empty, `.` or `..`.
    pub path: Vec<String>,
    /// Parameters in order.
    pub query: Vec<(String, String)>,
}

impl Target {
    /// Takes a target apart; nothing where it isn't plain.
    pub fn parse(path: &str, query: &str) -> Option<Self> {
        if path.len() + query.len() > MAX_TARGET {
            return None;
        }
        let path = decode(path, false)?;
        let mut pieces: Vec<String> = path.strip_prefix('/')?.split('/').map(ToOwned::to_owned).collect();
        if !pieces.iter().all(|piece| is_plain(piece)) {
            return None;
        }
        let version = pieces.first().filter(|piece| is_version(piece)).cloned();
        if version.is_some() {
            pieces.remove(0);
        }
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((decode(key, true)?, decode(value, true)?));
        }
        Some(Self { version, path: pieces, query: parameters })
    }

    /// The target as it is passed on.
    pub fn written(&self) -> String {
        let mut text = String::new();
        for piece in self.version.iter().chain(&self.path) {
            text.push('/');
            encode(piece, &mut text);
        }
        for (index, (key, value)) in self.query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            encode(key, &mut text);
            text.push('=');
            encode(value, &mut text);
        }
        text
    }

    /// The path without version and parameters, for people.
    pub fn name(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// Whether a piece of a path means itself to every server: what names of containers, images and networks are made of.
pub fn is_plain(piece: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@+".contains(&byte);
    !piece.is_empty() && piece != "." && piece != ".." && piece.bytes().all(is_usual)
}

fn is_version(piece: &str) -> bool {
    let Some(numbers) = piece.strip_prefix('v') else { return false };
    numbers.split('.').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Undoes percent-encoding once; nothing where it is broken or hides a control character.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let (&[high, low], after) = rest.split_first_chunk::<2>()?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = after;
            }
            b'+' if plus_is_space => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_-.~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_target_is_passed_on_as_it_means() {
        let written = |path, query| Target::parse(path, query).map(|target| target.written());
        assert_eq!(written("/v1.43/containers/json", "all=1").as_deref(), Some("/v1.43/containers/json?all=1"));
        assert_eq!(written("/images/a%2Fb%40sha256:00/json", "").as_deref(), Some("/images/a/b@sha256:00/json"));
        assert_eq!(
            written("/containers/json", "filters=%7B%22a%22%3A1%7D&x;y=1").as_deref(),
            Some("/containers/json?filters=%7B%22a%22:1%7D&x%3By=1")
        );
    }

    #[test]
    fn what_servers_read_differently_is_no_target() {
        for path in [
            "//containers/create",
            "/containers//create",
            "/containers/../containers/create",
            "/containers/%2e%2e/create",
            "/containers/./create",
            "/containers/create/",
            "/containers%00/create",
            "/containers/%252e/create",
            "/containers/a;b/create",
            "/containers/a%3Fb/json",
            "/containers\\create",
            "/containers/%zz",
            "/containers/%2",
            "/cont\u{e4}iners",
            "containers/create",
            "",
            "*",
        ] {
            assert_eq!(Target::parse(path, ""), None, "{path}");
        }
        assert_eq!(Target::parse("/a", &"x".repeat(MAX_TARGET)), None);
    }

    #[test]
    fn a_version_is_taken_off_once() {
        let target = Target::parse("/v1.43/v1.43/containers/create", "").unwrap();
        assert_eq!(target.path, ["v1.43", "containers", "create"]);
        assert_eq!(Target::parse("/version", "").unwrap().version, None);
    }
}
