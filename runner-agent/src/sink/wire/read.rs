//! Reads a log back, line by line. Beside the writer, because reader and writer of one format drift apart otherwise.
//!
//! Generic over JSON on purpose: a field or kind that a later version adds must not keep an older reader from showing the
//! rest. A line that can't be read, or that doesn't continue the chain, is a [`Flaw`] and doesn't end the reading.

use serde_json::{Map, Value};

use crate::ledger::{Chain, FIRST};

/// One line of a log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number of its line in the file, from 1.
    pub line: u64,
    /// As it was written, without the line feed.
    pub raw: String,
    fields: Map<String, Value>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not a JSON object.
    #[error("line {number}: not a line of an event log ({reason}); each must be one JSON object")]
    Unreadable {
        /// The line's number, from 1.
        number: u64,
        /// Why.
        reason: String,
    },
    /// The last line has no line feed: whoever wrote it did not finish.
    #[error(
        "line {number}: cut off in the middle; the agent that wrote it was stopped, or still writes (then use --follow)"
    )]
    CutOff {
        /// The line's number, from 1.
        number: u64,
    },
    /// The line doesn't name the hash of the one before.
    #[error("line {number}: the chain is broken here: {}", if *.number == 1 {
        "`prev` of a log's first line is 64 zeros, so lines in front of it are missing"
    } else {
        "`prev` is not the hash of the line before, so lines were changed, taken out or put in between"
    })]
    Broken {
        /// The line's number, from 1.
        number: u64,
    },
}

/// The number of a line, if it is one of a log.
pub fn seq_of(line: &[u8]) -> Option<u64> {
    let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    fields.get("seq")?.as_u64()
}

/// What the bytes of a line turned out to be.
#[derive(Debug, Default)]
pub struct Taken {
    /// The line, if it could be read.
    pub entry: Option<Entry>,
    /// What is wrong with it or its place.
    pub flaw: Option<Flaw>,
}

/// Turns lines into entries and follows the chain.
#[derive(Debug, Default)]
pub struct LogReader {
    number: u64,
    chain: Chain,
    /// The last line could not be read, and that was said: its hash proves nothing about the next.
    is_lost: bool,
    /// The first line carried no hash: `run --format json` writes such lines to the terminal.
    is_unchained: bool,
}

impl LogReader {
    /// Takes in a line without its line feed. Empty lines are passed over.
    pub fn take(&mut self, line: &[u8]) -> Taken {
        self.number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Taken::default();
        }
        let number = self.number;
        let entry = match parse(number, line) {
            Ok(entry) => entry,
            Err(reason) => {
                self.is_lost = true;
                return Taken { entry: None, flaw: Some(Flaw::Unreadable { number, reason }) };
            }
        };
        let flaw = self.check(&entry).then_some(Flaw::Broken { number });
        self.chain.append(line);
        Taken { entry: Some(entry), flaw }
    }

    /// Takes in what stands behind the last line feed. A whole object there is a whole line.
    pub fn take_rest(&mut self, rest: &[u8]) -> Taken {
        let taken = self.take(rest);
        match taken.flaw {
            Some(Flaw::Unreadable { number, .. }) => Taken { flaw: Some(Flaw::CutOff { number }), ..taken },
            _ => taken,
        }
    }

    /// Goes on behind this line, the last of so many that are known to be whole.
    #[cfg(test)]
    pub fn skip_to(&mut self, number: u64, last: &[u8]) {
        self.number = number;
        self.chain.append(last);
    }

    /// Lines so far, empty and unreadable ones included.
    pub fn lines(&self) -> u64 {
        self.number
    }

    /// Hash of the last line that could be read.
    pub fn head(&self) -> &str {
        self.chain.head()
    }

    /// Whether the lines carry no hashes at all, so that nothing can be said about missing ones.
    pub fn is_unchained(&self) -> bool {
        self.is_unchained
    }

    /// Whether the chain breaks at this entry.
    fn check(&mut self, entry: &Entry) -> bool {
        let prev = entry.text("prev");
        if entry.line == 1 && prev.is_empty() {
            self.is_unchained = true;
        }
        let is_lost = std::mem::replace(&mut self.is_lost, false);
        let expected = if entry.line == 1 { FIRST } else { self.chain.head() };
        !self.is_unchained && !is_lost && prev != expected
    }
}

fn parse(number: u64, bytes: &[u8]) -> Result<Entry, String> {
    let raw = std::str::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
    match serde_json::from_str(raw) {
        Ok(Value::Object(fields)) if fields.get("kind").is_some_and(Value::is_string) => {
            Ok(Entry { line: number, raw: raw.to_owned(), fields })
        }
        Ok(Value::Object(_)) => Err("no `kind`".to_owned()),
        Ok(_) => Err("no object".to_owned()),
        // serde_json says "line 1" of every line, which is not the line of the file.
        Err(error) => Err(format!("column {}: {}", error.column(), strip_position(&error.to_string()))),
    }
}

fn strip_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

impl Entry {
    /// The value at a path such as `destination.ip`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.fields.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// Text at a path; empty when there is none.
    pub fn text(&self, path: &str) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number at a path.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.get(path).and_then(Value::as_u64)
    }

    /// Whether the value at a path is `true`.
    pub fn is(&self, path: &str) -> bool {
        self.get(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Texts in the list at a path.
    pub fn texts(&self, path: &str) -> impl Iterator<Item = &str> {
        self.list(path).iter().filter_map(Value::as_str)
    }

    /// Numbers in the list at a path.
    pub fn numbers(&self, path: &str) -> impl Iterator<Item = u64> {
        self.list(path).iter().filter_map(Value::as_u64)
    }

    fn list(&self, path: &str) -> &[Value] {
        self.get(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the line is about.
    pub fn kind(&self) -> &str {
        self.text("kind")
    }

    /// Its sequence number; 0 when it has none.
    pub fn seq(&self) -> u64 {
        self.number("seq").unwrap_or(0)
    }

    /// Whether this is the last line of a job.
    pub fn ends_job(&self) -> bool {
        self.kind() == "job" && self.text("state") == "ended"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A log of that many lines, chained as the writer chains them.
    fn log(lines: u64) -> Vec<String> {
        let mut chain = Chain::default();
        (1..=lines)
            .map(|seq| {
                let line = format!(r#"{{"seq":{seq},"kind":"exec","prev":"{}"}}"#, chain.head());
                chain.append(line.as_bytes());
                line
            })
            .collect()
    }

    fn flaws(lines: &[String]) -> Vec<Flaw> {
        let mut reader = LogReader::default();
        lines.iter().filter_map(|line| reader.take(line.as_bytes()).flaw).collect()
    }

    #[test]
    fn a_whole_log_has_no_flaw_and_keeps_its_lines_as_they_were() {
        let lines = log(5);
        assert_eq!(flaws(&lines), []);
        let mut reader = LogReader::default();
        let entry = reader.take(lines[0].as_bytes()).entry.unwrap();
        assert_eq!((entry.seq(), entry.kind(), entry.raw.as_str()), (1, "exec", lines[0].as_str()));
    }

    #[test]
    fn a_line_that_was_changed_taken_out_or_put_in_is_told_once_with_its_number() {
        let mut changed = log(5);
        changed[1] = changed[1].replace("exec", "exit");
        assert_eq!(flaws(&changed), [Flaw::Broken { number: 3 }]);
        let mut shorter = log(5);
        shorter.remove(2);
        assert_eq!(flaws(&shorter), [Flaw::Broken { number: 3 }]);
        assert_eq!(flaws(&log(5)[2..]), [Flaw::Broken { number: 1 }]);
    }

    #[test]
    fn a_line_that_is_no_json_is_told_and_costs_no_other() {
        let mut lines = log(4);
        lines[1] = "{\"seq\": 2, oops".to_owned();
        let mut reader = LogReader::default();
        let taken: Vec<Taken> = lines.iter().map(|line| reader.take(line.as_bytes())).collect();
        assert_eq!(taken.iter().filter(|taken| taken.entry.is_some()).count(), 3);
        let messages: Vec<String> = taken.iter().filter_map(|taken| Some(taken.flaw.as_ref()?.to_string())).collect();
        assert_eq!(messages.len(), 1);
        assert!(messages[0].starts_with("line 2: not a line of an event log (column 12: "), "{messages:?}");
    }

    #[test]
    fn lines_without_hashes_are_shown_and_not_called_broken() {
        let mut reader = LogReader::default();
        for _ in 0..3 {
            assert_eq!(reader.take(br#"{"kind":"loss","seq":9,"prev":""}"#).flaw, None);
        }
        assert!(reader.is_unchained());
    }

    #[test]
    fn what_the_agent_did_not_finish_writing_is_called_cut_off() {
        let mut reader = LogReader::default();
        assert_eq!(reader.take_rest(b"{\"kind\":\"ex").flaw, Some(Flaw::CutOff { number: 1 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..6)) {
            let mut reader = LogReader::default();
            for line in &lines {
                if let Some(entry) = reader.take(line).entry {
                    let _ = (entry.seq(), entry.text("a.b.c"), entry.texts("x").count());
                }
            }
        }
    }
}
