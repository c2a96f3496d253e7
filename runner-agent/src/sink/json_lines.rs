//! The event log: one JSON object a line, chained.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::outbox::Sink;
use super::wire::{self, Encoder};
use crate::ledger::Chain;
use crate::notice::Notice;

/// What is read of a log to go on with: a line holds at most an argument vector of two MiB, escaped.
const TAIL: u64 = 16 << 20;

/// Writes the event log.
pub struct JsonLines {
    file: File,
    chain: Chain,
    encoder: Encoder,
    buffer: Vec<u8>,
}

impl JsonLines {
    /// Goes on with a log that another agent began: after its last whole line, whose number is returned too. What that agent
    /// did not come to end is cut off.
    pub fn go_on(path: &Path, encoder: Encoder) -> io::Result<(Self, u64)> {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(path)?;
        let skipped = file.metadata()?.len().saturating_sub(TAIL);
        file.seek(io::SeekFrom::Start(skipped))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let last = text[..whole].split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        let mut chain = Chain::default();
        if !last.is_empty() {
            chain.append(last);
        }
        file.set_len(skipped + whole as u64)?;
        file.seek(io::SeekFrom::End(0))?;
        let seq = wire::read::seq_of(last).unwrap_or_default();
        Ok((Self { file, chain, encoder, buffer: Vec::new() }, seq))
    }

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
