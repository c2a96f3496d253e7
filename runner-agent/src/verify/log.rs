//! A log, line by line: its chain, its numbers, and the signatures in it.

use sha2::{Digest as _, Sha256};

use super::Problem;
use crate::ledger::{Checkpoint, Position, PublicKey, Signature};
use crate::sink::wire::read::{Entry, Flaw, LogReader};
use crate::text::hex;

/// Problems that are kept; whoever changed more is found all the same.
const MOST_PROBLEMS: usize = 100;

/// A log that was read to its end.
#[derive(Clone, Debug)]
pub struct LogState {
    /// What is wrong with it, first line first.
    pub problems: Vec<Problem>,
    /// Lines.
    pub lines: u64,
    /// Hash of the last one.
    pub head: String,
    /// SHA-256 of the whole.
    pub sha256: String,
    /// Lines from the first on that good signatures in it cover.
    pub signed_lines: u64,
    /// The key that it announces.
    pub key: Option<PublicKey>,
    /// The job that it is about.
    pub job: Option<String>,
    /// Signatures in it.
    pub checkpoints: u64,
}

/// Reads a log.
#[derive(Debug, Default)]
pub struct LogCheck {
    reader: LogReader,
    whole: Sha256,
    problems: Vec<Problem>,
    /// Lines that don't name the hash of the one before.
    broken: Vec<u64>,
    last_seq: u64,
    signed_lines: u64,
    checkpoints: u64,
    key: Option<PublicKey>,
    job: Option<String>,
}

impl LogCheck {
    /// Takes in the next line, with its line feed; only the last may have none.
    pub fn take(&mut self, line: &[u8]) {
        self.whole.update(line);
        let whole = line.strip_suffix(b"\n");
        let number = self.reader.lines() + 1;
        if whole.unwrap_or(line).iter().all(u8::is_ascii_whitespace) {
            self.problem(number, "it is empty, and no agent writes such a line");
        }
        let taken = match whole {
            Some(line) => self.reader.take(line),
            None => self.reader.take_rest(line),
        };
        match taken.flaw {
            Some(Flaw::Broken { number }) => self.broken.push(number),
            Some(Flaw::CutOff { number }) => self.problem(number, "it is cut off: evidence ends before it"),
            Some(Flaw::Unreadable { number, reason }) => {
                self.problem(number, format!("it is no line of an event log ({reason})"));
            }
            None if whole.is_none() => self.problem(number, "its line feed is missing"),
            None => {}
        }
        if let Some(entry) = taken.entry {
            self.entry(&entry);
        }
    }

    /// The log has no more lines.
    pub fn finish(mut self) -> LogState {
        if self.reader.lines() == 0 {
            self.problem(1, "the log is empty");
        }
        if self.reader.is_unchained() {
            self.problem(1, "it carries no hash: what `run --format json` shows is no evidence, `--log` is");
        }
        let broken = std::mem::take(&mut self.broken);
        for &number in &broken {
            // A line that was changed breaks the chain to the next; where its own `prev` was, at itself too.
            let (line, what) = if broken.contains(&(number + 1)) || number == 1 {
                (number, "it was changed, or lines before it were taken out")
            } else if broken.contains(&(number - 1)) {
                continue;
            } else {
                (
                    number - 1,
                    "it was changed, or lines behind it were taken out or put in: the next one names another hash",
                )
            };
            self.problem(line, what);
        }
        self.problems.sort_by_key(|problem| problem.line);
        LogState {
            lines: self.reader.lines(),
            head: self.reader.head().to_owned(),
            sha256: hex(&self.whole.finalize()),
            signed_lines: self.signed_lines,
            key: self.key,
            job: self.job,
            checkpoints: self.checkpoints,
            problems: self.problems,
        }
    }

    /// Goes on behind lines that are known to be whole.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, lines: &[Vec<u8>]) {
        if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
            self.take(first);
            let whole = |line: &Vec<u8>| line.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or_default();
            self.reader.skip_to(lines.len() as u64, &whole(last));
            self.last_seq = lines.len() as u64;
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let (seq, line) = (entry.seq(), entry.line);
        if seq != self.last_seq + 1 {
            let what = if seq > self.last_seq {
                format!("notices {} to {} never reached the log", self.last_seq + 1, seq - 1)
            } else {
                format!("its number is {seq}, and the line before has {}", self.last_seq)
            };
            self.problem(line, what);
        }
        self.last_seq = seq;
        match (entry.kind(), entry.text("state")) {
            ("job", "started") => self.started(entry),
            ("checkpoint", _) => self.checkpoint(entry),
            _ => {}
        }
    }

    fn started(&mut self, entry: &Entry) {
        if self.job.is_some() {
            self.problem(entry.line, "the job begins a second time");
            return;
        }
        self.job = Some(entry.text("job").to_owned());
        match entry.get("key").is_some().then(|| PublicKey::parse(entry.text("key"))) {
            Some(Ok(key)) => self.key = Some(key),
            Some(Err(error)) => self.problem(entry.line, format!("its key can't be read: {error}")),
            None => {}
        }
    }

    /// A signature counts when the key's other half made it over exactly the lines before it.
    fn checkpoint(&mut self, entry: &Entry) {
        self.checkpoints += 1;
        let Some(key) = self.key else {
            self.problem(entry.line, "it is signed, and the log announces no key");
            return;
        };
        let position = Position {
            job: entry.text("job").to_owned(),
            lines: entry.number("lines").unwrap_or_default(),
            head: entry.text("head").to_owned(),
            at: entry.text("ts").to_owned(),
        };
        let is_here = position.lines == entry.line - 1
            && position.head == entry.text("prev")
            && Some(position.job.as_str()) == self.job.as_deref();
        let lines = position.lines;
        let Some(signature) = Signature::parse(entry.text("signature")) else {
            self.problem(entry.line, "its signature can't be read");
            return;
        };
        let checkpoint = Checkpoint { position, key: entry.text("key").to_owned(), signature };
        if checkpoint.key != key.id() {
            self.problem(entry.line, format!("key {} signed it, and the log announces {}", checkpoint.key, key.id()));
        } else if !checkpoint.is_by(key) {
            self.problem(entry.line, "its signature is of something else: it was changed");
        } else if !is_here {
            self.problem(entry.line, format!("it signs {lines} lines of {}, and stands elsewhere", entry.text("job")));
        } else if self.broken.is_empty() && self.problems.is_empty() {
            self.signed_lines = lines;
        }
    }

    fn problem(&mut self, line: u64, what: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem::at(line, what));
        }
    }
}
