//! Records as they came off the rings, in a file: for bug reports, and for tests that replay what a kernel really said.
//!
//! The first line names form, version and architecture: `runner-agent records 1 x86_64`. Then for each record its length
//! (`u32`, little-endian) and its bytes; a length of zero ends a round of draining and is followed by the moment up to
//! which the round's records were handed on (`u64`, little-endian). Bytes within records are the machine's own order.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Version of the form.
const VERSION: u32 = 1;

/// What the first line starts with.
const NAME: &str = "runner-agent records";

/// The longest record that a file may hold: more than any probe can send.
const LONGEST: usize = 1 << 20;

/// Writes records to a file. Failing to write never stops a job: the first error is told, and nothing is written then.
pub struct Recorder {
    file: Option<BufWriter<File>>,
    rounds_without: u32,
}

impl Recorder {
    /// Starts a new file, which nobody but its owner may read: secrets in arguments are not taken out of raw records.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut file = BufWriter::new(file);
        writeln!(file, "{NAME} {VERSION} {}", std::env::consts::ARCH)?;
        Ok(Self { file: Some(file), rounds_without: 1 })
    }

    /// Takes in one record.
    pub fn record(&mut self, bytes: &[u8]) {
        self.rounds_without = 0;
        self.write(bytes.len() as u32, bytes);
    }

    /// A round of draining has ended; what happened up to this moment was handed on. Of several rounds without records
    /// the first is written: it hands on what waited, and the others do nothing.
    pub fn round(&mut self, until_ns: u64) {
        if self.rounds_without < 2 {
            self.write(0, &until_ns.to_le_bytes());
        }
        self.rounds_without = self.rounds_without.saturating_add(1);
    }

    fn write(&mut self, len: u32, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(&len.to_le_bytes()).and_then(|()| file.write_all(bytes)) {
            tracing::error!("can't record: {error}; the recording ends here");
            self.file = None;
        }
    }

    /// Writes what is left.
    pub fn finish(mut self) {
        if let Some(Err(error)) = self.file.take().map(|mut file| file.flush()) {
            tracing::error!("can't record: {error}; the recording is not whole");
        }
    }
}

/// A recording that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Architecture of the machine, as Rust names it.
    pub arch: String,
    /// Rounds of draining, in order.
    pub rounds: Vec<Round>,
}

/// One round of draining.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Records in the order in which they came off the rings.
    pub records: Vec<Vec<u8>>,
    /// The moment up to which they were handed on, nanoseconds since boot; later ones waited.
    pub until_ns: u64,
}

/// Why bytes are no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRecordingError {
    /// The first line is another.
    #[error("the first line must be \"{NAME} {VERSION} ARCHITECTURE\"")]
    NotOne,
    /// The bytes end within a record, or before the last round does.
    #[error("the recording is cut off at byte {0}; record again, or cut it after a whole round")]
    CutOff(usize),
    /// A length that no record has.
    #[error("a record of {len} bytes at byte {at}; none is longer than {LONGEST}")]
    TooLong {
        /// Where its length stands.
        at: usize,
        /// The length.
        len: usize,
    },
}

impl Recording {
    /// Reads a whole file's bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadRecordingError> {
        let end = bytes.iter().position(|&byte| byte == b'\n').ok_or(ReadRecordingError::NotOne)?;
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| ReadRecordingError::NotOne)?;
        let arch = line.strip_prefix(&format!("{NAME} {VERSION} ")).ok_or(ReadRecordingError::NotOne)?;
        let mut recording = Self { arch: arch.to_owned(), rounds: Vec::new() };
        let mut records = Vec::new();
        let mut at = end + 1;
        while at < bytes.len() {
            let start = at;
            let len = u32::from_le_bytes(take(bytes, &mut at)?) as usize;
            if len > LONGEST {
                return Err(ReadRecordingError::TooLong { at: start, len });
            }
            if len == 0 {
                let until_ns = u64::from_le_bytes(take(bytes, &mut at)?);
                recording.rounds.push(Round { records: std::mem::take(&mut records), until_ns });
                continue;
            }
            records.push(bytes.get(at..at + len).ok_or(ReadRecordingError::CutOff(start))?.to_vec());
            at += len;
        }
        if records.is_empty() { Ok(recording) } else { Err(ReadRecordingError::CutOff(at)) }
    }
}

fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> Result<[u8; N], ReadRecordingError> {
    let found = bytes.get(*at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(ReadRecordingError::CutOff(*at))?;
    *at += N;
    Ok(*found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read_round_by_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.bin");
        let mut recorder = Recorder::create(&path).unwrap();
        recorder.record(b"first");
        recorder.record(b"second");
        recorder.round(7);
        recorder.round(8);
        recorder.round(9);
        recorder.record(b"third");
        recorder.round(u64::MAX);
        recorder.finish();
        let bytes = std::fs::read(&path).unwrap();
        let recording = Recording::read(&bytes).unwrap();
        assert_eq!(recording.arch, std::env::consts::ARCH);
        let rounds: Vec<(u64, usize)> =
            recording.rounds.iter().map(|round| (round.until_ns, round.records.len())).collect();
        assert_eq!(rounds, [(7, 2), (8, 0), (u64::MAX, 1)]);
        assert_eq!(recording.rounds[2].records, [b"third"]);
        assert_eq!(Recording::read(&bytes[..bytes.len() - 1]), Err(ReadRecordingError::CutOff(bytes.len() - 8)));
        assert_eq!(Recording::read(b"something else\n"), Err(ReadRecordingError::NotOne));
    }

    #[test]
    fn a_length_that_no_record_has_is_an_error_and_takes_no_memory() {
        let mut bytes = b"runner-agent records 1 x86_64\n".to_vec();
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(Recording::read(&bytes), Err(ReadRecordingError::TooLong { at: 30, len: u32::MAX as usize }));
    }
}
