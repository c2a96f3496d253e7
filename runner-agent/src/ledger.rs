//! The ledger: a hash chain over the log, signed now and then by a key that only the agent has. Each line names the hash of
//! the one before, so that none can go or change unnoticed; whoever holds the key's public half knows that nobody else wrote
//! what a signature covers.

mod checkpoint;
mod dsse;
mod key;

pub use checkpoint::{Checkpoint, Position};
pub use dsse::{Envelope, IN_TOTO, pre_authentication};
pub use key::{KeyError, PublicKey, Signature, SigningKey};

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::text::hex;

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

/// A log that is being written, as others than its writer know it.
pub struct Ledger {
    key: Arc<SigningKey>,
    written: Mutex<Written>,
    signed: Mutex<Vec<Signed>>,
}

/// A signature that stands in the log, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Number of its notice.
    pub seq: u64,
    /// When it was asked for, nanoseconds since boot.
    pub at_ns: u64,
    /// The signature.
    pub checkpoint: Checkpoint,
}

/// What of a log is on its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Lines.
    pub lines: u64,
    /// Hash of the last one.
    pub head: String,
    /// SHA-256 of the whole file, in lower-case hex.
    pub sha256: String,
}

impl Default for Written {
    fn default() -> Self {
        Self { lines: 0, head: FIRST.to_owned(), sha256: hex(&Sha256::digest([])) }
    }
}

impl Ledger {
    /// A log of which nothing is written, and the key that signs it.
    pub fn new(key: Arc<SigningKey>) -> Self {
        Self { key, written: Mutex::default(), signed: Mutex::default() }
    }

    /// The key that signs it.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What is written by now.
    pub fn written(&self) -> Written {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a signature that is on the disk, for others to be told of.
    pub fn tell(&self, signed: Signed) {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).push(signed);
    }

    /// The signatures since this was asked last.
    pub fn take_signed(&self) -> Vec<Signed> {
        std::mem::take(&mut self.signed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what is written by now.
    pub fn note(&self, written: Written) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
    }
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
