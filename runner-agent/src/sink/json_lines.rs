//! The event log: one JSON object a line, chained, and signed now and then.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::outbox::Sink;
use super::wire::{self, Encoder};
use crate::ledger::{Chain, Checkpoint, Ledger, Position, Signed, Written};
use crate::notice::{Content, Notice};
use crate::text::hex;

/// What is read of a log to go on with: a line holds at most an argument vector of two MiB, escaped.
const TAIL: u64 = 16 << 20;

/// Writes the event log.
pub struct JsonLines {
    file: File,
    end: End,
    encoder: Encoder,
    buffer: Vec<u8>,
    /// What is told of each signature, and of how far the file is.
    ledger: Option<Arc<Ledger>>,
}

/// How far the file has been written.
#[derive(Clone, Default)]
struct End {
    chain: Chain,
    lines: u64,
    bytes: u64,
    whole: Sha256,
}

impl End {
    /// Takes in a line, which is without its line feed.
    fn append(&mut self, line: &[u8]) {
        self.chain.append(line);
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
        self.whole.update(line);
        self.whole.update(b"\n");
    }
}

impl End {
    /// As a ledger notes it.
    fn written(&self) -> Written {
        let sha256 = hex(&self.whole.clone().finalize());
        Written { lines: self.lines, head: self.chain.head().to_owned(), sha256 }
    }
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
        let mut end = End::default();
        if !last.is_empty() {
            end.append(last);
        }
        end.bytes = skipped + whole as u64;
        file.set_len(end.bytes)?;
        file.seek(io::SeekFrom::End(0))?;
        let seq = wire::read::seq_of(last).unwrap_or_default();
        Ok((Self { file, end, encoder, buffer: Vec::new(), ledger: None }, seq))
    }

    /// Reads what there is and counts it, so that the whole file can be vouched for; an error when it isn't what was written.
    pub fn recount(&mut self, written: &Written) -> io::Result<()> {
        self.file.seek(io::SeekFrom::Start(0))?;
        let mut end = End { lines: 0, whole: Sha256::new(), ..self.end.clone() };
        let mut input = BufReader::new(&self.file);
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            end.lines += 1;
            end.whole.update(&line);
            line.clear();
        }
        if end.written() != *written {
            return Err(io::Error::other("it is not what was written there"));
        }
        self.end = end;
        Ok(())
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
        Ok(Self { file, end: End::default(), encoder, buffer: Vec::new(), ledger: None })
    }

    /// Signs the log where notices ask for it, and tells the ledger of each signature.
    #[must_use]
    pub fn signed(mut self, ledger: Arc<Ledger>) -> Self {
        ledger.note(self.end.written());
        self.ledger = Some(ledger);
        self
    }

    /// A signature over all lines so far, where this notice asks for one.
    fn checkpoint(&self, notice: &Notice, end: &End) -> Option<Notice> {
        let (Content::Checkpoint(None), Some(ledger)) = (&notice.content, &self.ledger) else { return None };
        let position = Position {
            job: notice.job.as_deref().unwrap_or_default().to_owned(),
            lines: end.lines,
            head: end.chain.head().to_owned(),
            at: self.encoder.timestamp(notice.at_ns),
        };
        let signed = Checkpoint::sign(position, ledger.key());
        Some(Notice { content: Content::Checkpoint(Some(signed)), ..notice.clone() })
    }
}

impl Sink for JsonLines {
    fn deliver(&mut self, batch: &[Notice]) -> io::Result<()> {
        self.buffer.clear();
        let mut end = self.end.clone();
        let mut signed = Vec::new();
        for notice in batch {
            let start = self.buffer.len();
            let checkpoint = self.checkpoint(notice, &end);
            self.encoder.encode(checkpoint.as_ref().unwrap_or(notice), end.chain.head(), &mut self.buffer);
            end.append(&self.buffer[start..]);
            self.buffer.push(b'\n');
            signed.extend(checkpoint);
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // What did not fit must not stay there in part: lines that find room later go on with the chain where it is whole, and
            // the numbers that are missing tell of the rest.
            if self.file.set_len(self.end.bytes).is_ok() {
                self.file.seek(io::SeekFrom::Start(self.end.bytes))?;
            }
            return Err(error);
        }
        if !signed.is_empty() {
            // What is told to have been signed must outlast a loss of power; a log that is no file has nothing to sync.
            let _ = self.file.sync_data();
        }
        self.end = end;
        if let Some(ledger) = &self.ledger {
            ledger.note(self.end.written());
            for notice in signed {
                if let Content::Checkpoint(Some(checkpoint)) = notice.content {
                    ledger.tell(Signed { seq: notice.seq, at_ns: notice.at_ns, checkpoint });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::SigningKey;
    use crate::notice::AgentState;

    const ENCODER: Encoder = Encoder { boot_ns: 0, mount_namespace: 1 };

    fn notice(seq: u64, content: Content) -> Notice {
        Notice { seq, at_ns: seq, slot: 1, job: Some("job".into()), content }
    }

    fn changed(detail: &str) -> Content {
        Content::Agent(AgentState::Changed { state: "repaired", detail: detail.to_owned() })
    }

    /// A log that an agent began, as its ledger knows it when it goes.
    fn left(path: &Path, key: &Arc<SigningKey>) -> Written {
        let ledger = Arc::new(Ledger::new(key.clone()));
        let mut log = JsonLines::create(path, ENCODER).unwrap().signed(ledger.clone());
        log.deliver(&[notice(1, changed("one")), notice(2, changed("two")), notice(3, Content::Checkpoint(None))])
            .unwrap();
        ledger.written()
    }

    #[test]
    fn who_goes_on_with_a_log_vouches_for_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("log"), Arc::new(SigningKey::generate().unwrap()));
        let written = left(&path, &key);
        let (mut log, seq) = JsonLines::go_on(&path, ENCODER).unwrap();
        assert_eq!(seq, 3);
        log.recount(&written).unwrap();
        let ledger = Arc::new(Ledger::new(key));
        log.signed(ledger.clone())
            .deliver(&[notice(4, changed("three")), notice(5, Content::Checkpoint(None))])
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let written = ledger.written();
        assert_eq!((written.lines, &written.sha256), (5, &hex(&Sha256::digest(&whole))));
        assert_eq!(ledger.take_signed()[0].checkpoint.position.lines, 4, "of both agents");
    }

    #[test]
    fn a_log_that_somebody_changed_is_not_vouched_for_and_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("log"), Arc::new(SigningKey::generate().unwrap()));
        let written = left(&path, &key);
        let text = std::fs::read_to_string(&path).unwrap().replace("one", "eno");
        std::fs::write(&path, &text).unwrap();
        let (mut log, _) = JsonLines::go_on(&path, ENCODER).unwrap();
        log.recount(&written).unwrap_err();
        log.deliver(&[notice(4, changed("three"))]).unwrap();
        let now = std::fs::read_to_string(&path).unwrap();
        assert!(now.starts_with(&text) && now.lines().count() == 4, "{now}");
    }
}
