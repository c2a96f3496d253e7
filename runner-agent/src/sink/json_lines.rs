//! The event log: one JSON object a line, chained.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
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
    /// Starts a new log in place of what is there. A symbolic link is refused: in a directory that everybody writes to,
    /// anybody could have put one there.
    ///
    /// The log holds argument vectors and paths, so nobody but its owner may read it (mode 0600, also if it was there).
    pub fn create(path: &Path, encoder: Encoder) -> io::Result<Self> {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(no_follow)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                    io::Error::new(error.kind(), "it is a symbolic link; name the file itself")
                }
                _ => error,
            })?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
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
