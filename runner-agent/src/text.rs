//! Bytes from the kernel as text that any reader of the log can take.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Valid UTF-8 as it is; every other byte as `\xNN`, so that a name that isn't UTF-8 can still be told from another.
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// An argument vector: NUL after each argument. The last one lacks it when the vector was cut.
pub fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|&byte| byte == 0).map(from_bytes).collect() }
}

/// Whether a character moves a terminal's cursor, begins a new line or turns the reading direction.
pub fn is_active(char: char) -> bool {
    char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Text for a terminal or a job's log: what would move the cursor, begin a new line or turn the reading direction is
/// written as an escape. A job chooses its file names and arguments, and must not write lines in the agent's name.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_active(char) { clean.extend(char.escape_default()) } else { clean.push(char) }
    }
    Cow::Owned(clean)
}

/// The last component of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_stay_distinguishable() {
        assert_eq!(from_bytes(b"caf\xe9/\xff"), "caf\\xe9/\\xff");
        assert_eq!(from_bytes("café".as_bytes()), "café");
    }

    #[test]
    fn nothing_printable_begins_a_line_or_steers_a_terminal() {
        assert_eq!(printable("a\n::error::b\u{1b}[2J\u{202e}c"), "a\\n::error::b\\u{1b}[2J\\u{202e}c");
        assert!(matches!(printable("ordinary – text"), Cow::Borrowed(_)));
    }

    #[test]
    fn empty_arguments_are_kept() {
        assert_eq!(arguments(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        assert_eq!(arguments(b""), Vec::<String>::new());
        assert_eq!(arguments(b"cut off he"), ["cut off he"]);
    }
}
