//! The hash chain over the log: each line names the hash of the one before, so that no line can go or change unnoticed.

use sha2::{Digest as _, Sha256};

/// What stands in the first line's place for a hash: 64 zeros.
pub const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a chain.
#[derive(Clone, Debug)]
pub struct Chain {
    head: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { head: FIRST.to_owned() }
    }
}

impl Chain {
    /// The hash that the next line must name: SHA-256 in lower-case hex over the last line, without its line feed.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Takes in a line that names [`Self::head`].
    pub fn append(&mut self, line: &[u8]) {
        self.head = hex(&Sha256::digest(line));
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_the_sha256_of_the_last_line() {
        let mut chain = Chain::default();
        assert_eq!(chain.head(), FIRST);
        chain.append(b"abc");
        // FIPS 180-2, appendix B.1.
        assert_eq!(chain.head(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
