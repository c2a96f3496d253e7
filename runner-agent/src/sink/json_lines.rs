//! The event log: one JSON object a line, chained.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::outbox::Sink;
use super::wire::Encoder;
use crate::ledger::Chain;
use crate::notice::Notice;

/// Writes the event log.
pub struct JsonLines {
    file: File,
    chain: Chain,
    encoder: Encoder,
    buffer: Vec<u8>,
}

impl JsonLines {
    /// Starts a new log. A file that is there already is replaced only if it is a regular file.
    ///
    /// The log holds argument vectors and paths, so nobody but its owner may read it (mode 0600).
    pub fn create(path: &Path, encoder: Encoder) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self { file, chain: Chain::default(), encoder, buffer: Vec::new() })
    }
}

impl Sink for JsonLines {
    fn deliver(&mut self, batch: &[Notice]) -> io::Result<()> {
        self.buffer.clear();
        for notice in batch {
            let start = self.buffer.len();
            self.encoder.encode(notice, self.chain.head(), &mut self.buffer);
            self.chain.append(&self.buffer[start..]);
            self.buffer.push(b'\n');
        }
        self.file.write_all(&self.buffer)
    }
}
