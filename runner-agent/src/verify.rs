//! Verification: whether a log, a receipt and a statement are as an agent wrote them, each for itself and against each other.
//!
//! A chain alone proves that nothing was changed after the fact by somebody who could not write the rest of the file. Only a signature
//! tells the file from one that was made up, and only a key that was learnt elsewhere tells whose signature it is.

mod log;

use std::fmt;

use crate::ledger::{IN_TOTO, PublicKey};
use crate::sink::wire::receipt::{self, Read};
use crate::sink::wire::statement;

pub use log::{LogCheck, LogState};

/// Something that is not as an agent wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the log where it shows, from 1, where it is about one.
    pub line: Option<u64>,
    /// What, in words.
    pub what: String,
}

impl Problem {
    fn at(line: u64, what: impl Into<String>) -> Self {
        Self { line: Some(line), what: what.into() }
    }

    fn of_all(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What is to be verified.
#[derive(Default)]
pub struct Evidence {
    /// The log, read to its end.
    pub log: Option<LogState>,
    /// The bytes of the receipt's file.
    pub receipt: Option<Vec<u8>>,
    /// The bytes of the statement's file.
    pub statement: Option<Vec<u8>>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Everything that is wrong. Nothing means whole.
    pub problems: Vec<Problem>,
    /// Lines of the log.
    pub lines: u64,
    /// Lines from the first on that a good signature covers.
    pub signed_lines: u64,
    /// The key that signed, if anything is signed.
    pub key: Option<PublicKey>,
    /// Whether that key is one that the caller knew.
    pub is_key_known: bool,
}

/// Verifies. `known` are keys that the caller has from elsewhere; without one, a key is taken from the evidence itself.
pub fn verify(evidence: Evidence, known: &[PublicKey]) -> Verdict {
    let mut verdict = Verdict::default();
    let receipt = evidence.receipt.as_deref().and_then(|bytes| match receipt::read(bytes) {
        Ok(receipt) => Some(receipt),
        Err(error) => {
            verdict.problems.push(Problem::of_all(format!("the receipt can't be read: {error}")));
            None
        }
    });
    if let Some(log) = &evidence.log {
        verdict.problems.extend(log.problems.iter().cloned());
        verdict.lines = log.lines;
        verdict.signed_lines = log.signed_lines;
        verdict.key = log.key;
    }
    if let Some(receipt) = &receipt {
        check_receipt(receipt, evidence.log.as_ref(), &mut verdict);
    }
    if let Some(bytes) = &evidence.statement {
        check_statement(bytes, evidence.receipt.as_deref(), known, &mut verdict);
    }
    verdict.is_key_known = verdict.key.is_some_and(|key| known.contains(&key));
    if let Some(key) = verdict.key
        && !known.is_empty()
        && !verdict.is_key_known
    {
        verdict
            .problems
            .push(Problem::of_all(format!("key {} signed, which is none of those that were given", key.id())));
    }
    if let Some(log) = &evidence.log
        && verdict.signed_lines < log.lines
        && verdict.problems.is_empty()
    {
        let what = match verdict.signed_lines {
            0 => "nothing signs the log: whoever could write the file could have made it up".to_owned(),
            signed => format!(
                "evidence ends at line {signed}: what stands behind it is chained, and signed by nothing; give the receipt, if \
                 there is one"
            ),
        };
        verdict.problems.push(Problem { line: (verdict.signed_lines > 0).then_some(verdict.signed_lines + 1), what });
    }
    verdict
}

fn check_receipt(receipt: &Read, log: Option<&LogState>, verdict: &mut Verdict) {
    let problems = &mut verdict.problems;
    if !receipt.is_signed() {
        problems.push(Problem::of_all("the receipt was changed: its signature is of something else"));
        return;
    }
    if let Some(key) = verdict.key
        && key != receipt.key()
    {
        problems.push(Problem::of_all(format!(
            "the log was signed by key {} and the receipt by {}",
            key.id(),
            receipt.key().id()
        )));
        return;
    }
    verdict.key = Some(receipt.key());
    let Some(log) = log else { return };
    if receipt.text("job") != log.job.as_deref().unwrap_or_default() {
        problems.push(Problem::of_all(format!("the receipt is of job {}, and the log is not", receipt.text("job"))));
        return;
    }
    let lines = receipt.number("log.lines").unwrap_or_default();
    let is_same = receipt.text("log.head") == log.head && receipt.text("log.sha256") == log.sha256;
    match log.lines.cmp(&lines) {
        std::cmp::Ordering::Less => problems
            .push(Problem::at(log.lines + 1, format!("lines are missing from here on: the receipt is about {lines}"))),
        std::cmp::Ordering::Greater => problems.push(Problem::at(
            lines + 1,
            format!("lines were put in: the receipt is about {lines}, and there are {}", log.lines),
        )),
        std::cmp::Ordering::Equal if is_same => verdict.signed_lines = lines,
        // Whatever the chain shows is told; what is left is the line that no other names.
        std::cmp::Ordering::Equal if problems.is_empty() => {
            problems.push(Problem::at(lines, "it was changed: the receipt names another hash for the last line"));
        }
        std::cmp::Ordering::Equal => {}
    }
}

fn check_statement(bytes: &[u8], receipt: Option<&[u8]>, known: &[PublicKey], verdict: &mut Verdict) {
    let problems = &mut verdict.problems;
    let Some(envelope) = statement::read(bytes) else {
        problems.push(Problem::of_all("the statement is no DSSE envelope with one signature"));
        return;
    };
    if envelope.payload_type != IN_TOTO {
        problems.push(Problem::of_all(format!(
            "the statement's payload is {:?}, and no in-toto statement",
            envelope.payload_type
        )));
        return;
    }
    let Some(stated) = statement::receipt_in(&envelope.payload) else {
        problems.push(Problem::of_all("the statement holds no receipt"));
        return;
    };
    let own = statement::key_in(&envelope.payload);
    let Some(key) = verdict.key.or_else(|| known.iter().copied().find(|key| envelope.is_by(*key))).or(own) else {
        problems.push(Problem::of_all("the statement names no key, and none was given"));
        return;
    };
    // The key's id is outside of what DSSE signs, and decides which key a verifier looks for.
    if !envelope.is_by(key) || envelope.key != key.id() {
        problems
            .push(Problem::of_all(format!("the statement was changed, or signed by another key than {}", key.id())));
        return;
    }
    verdict.key = Some(key);
    if receipt.is_some_and(|receipt| statement::receipt_of(receipt).as_ref() != Some(&stated)) {
        problems.push(Problem::of_all("the statement is about another receipt"));
    }
}

#[cfg(test)]
mod tests;
