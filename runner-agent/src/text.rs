//! Bytes from the kernel as text that any reader of the log can take.

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

/// A fixed, NUL-padded name such as `comm`.
pub fn from_padded(bytes: &[u8]) -> String {
    from_bytes(bytes.split(|&byte| byte == 0).next().unwrap_or_default())
}

/// An argument vector: NUL after each argument. The last one lacks it when the vector was cut.
pub fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|&byte| byte == 0).map(from_bytes).collect() }
}

/// The last component of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
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
    fn empty_arguments_are_kept() {
        assert_eq!(arguments(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        assert_eq!(arguments(b""), Vec::<String>::new());
        assert_eq!(arguments(b"cut off he"), ["cut off he"]);
    }
}
