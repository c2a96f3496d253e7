//! Finds a line of an event log, and what the log knows about it.
//!
//! The file is read twice where a finding's evidence must be had, so that a log of any size needs little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::sink::wire::read::{Entry, LogReader};

/// Kinds whose lines a policy decides.
const JUDGED: [&str; 4] = ["connect", "dns", "file", "socket"];
/// Numbers that are listed in a message.
const MOST_LISTED: usize = 12;
/// Answers that are remembered.
const MOST_ANSWERS: usize = 100_000;

/// What a log says about one of its lines.
#[derive(Debug)]
pub struct Found {
    /// The line.
    pub entry: Entry,
    /// The lines that a policy decides: the line itself, or those that a finding stands on.
    pub judged: Vec<Entry>,
    /// The line that started the job.
    pub job: Option<Entry>,
    /// Answers to questions for names before that line.
    pub answers: Vec<Answer>,
    /// Servers whose answers counted.
    pub resolvers: BTreeSet<IpAddr>,
    /// Lines that can't be read or break the chain.
    pub flaws: u64,
}

impl Found {
    /// The home directory that the files of these lines lie in, by the custom of Linux.
    pub fn home(&self) -> Option<PathBuf> {
        let home = |entry: &Entry| {
            let path = Path::new(entry.text("path"));
            let inside = path.strip_prefix("/home").ok()?.components().next()?;
            Some(Path::new("/home").join(inside))
        };
        self.judged.iter().find_map(home)
    }
}

/// An answer that gave a name addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its line.
    pub seq: u64,
    /// Who answered.
    pub server: String,
    /// The name.
    pub name: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it counted.
    pub trusted: bool,
}

/// Calls `each` with every line that can be read; returns how many can't, or don't continue the chain.
fn each(path: &Path, mut each: impl FnMut(Entry)) -> anyhow::Result<u64> {
    let file = File::open(path).with_context(|| format!("can't read the log {}", path.display()))?;
    let kind = file.metadata().with_context(|| format!("can't read the log {}", path.display()))?.file_type();
    if !kind.is_file() {
        bail!("{} is no file; an event log is the file that `run --log FILE` writes", path.display());
    }
    let mut input = BufReader::new(file);
    let mut reader = LogReader::default();
    let (mut bytes, mut flaws) = (Vec::new(), 0);
    while input.read_until(b'\n', &mut bytes).with_context(|| format!("can't read the log {}", path.display()))? > 0 {
        let taken = match bytes.strip_suffix(b"\n") {
            Some(line) => reader.take(line),
            None => reader.take_rest(&bytes),
        };
        flaws += u64::from(taken.flaw.is_some());
        taken.entry.into_iter().for_each(&mut each);
        bytes.clear();
    }
    Ok(flaws)
}

/// Finds the line of this number.
pub fn find(path: &Path, seq: u64) -> anyhow::Result<Found> {
    let mut wanted: Option<Entry> = None;
    let mut jobs: BTreeMap<String, Entry> = BTreeMap::new();
    let (mut answers, mut resolvers) = (Vec::new(), BTreeSet::new());
    // Numbers that stand in the log, as runs of neighbours.
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut explained = Vec::new();
    let flaws = each(path, |entry| {
        let number = entry.seq();
        match runs.last_mut() {
            Some((_, last)) if number == *last + 1 || number == *last => *last = number,
            _ => runs.push((number, number)),
        }
        if is_explained(entry.kind()) && explained.len() <= MOST_LISTED {
            explained.push(number);
        }
        if entry.kind() == "job" && entry.text("state") == "started" {
            jobs.insert(entry.text("job").to_owned(), entry.clone());
        }
        if entry.kind() == "dns" {
            if entry.is("trusted") {
                resolvers.extend(entry.text("server").parse::<IpAddr>());
            }
            // What came after the line could not have counted for it.
            if wanted.is_none() && answers.len() < MOST_ANSWERS {
                answers.extend(answer(&entry));
            }
        }
        if number == seq && wanted.is_none() {
            wanted = Some(entry);
        }
    })?;
    let Some(entry) = wanted else {
        let numbers = match runs.as_slice() {
            [] => bail!("{} has no line of an event log; it is the file that `run --log FILE` writes", path.display()),
            runs => {
                listed(runs.iter().map(
                    |(first, last)| {
                        if first == last { first.to_string() } else { format!("{first} to {last}") }
                    },
                ))
            }
        };
        bail!("{} has no line with the number {seq}; there are {numbers}", path.display());
    };
    let judged = judged(path, &entry)?;
    if judged.is_empty() {
        let kind = entry.kind();
        let what = if kind == "finding" {
            format!("is the finding {}, which stands on nothing that a policy decides", entry.text("id"))
        } else {
            format!("is `{kind}`, which no policy decides")
        };
        let others = match explained.as_slice() {
            [] => "this log has no such line".to_owned(),
            some => format!("here {}", listed(some.iter().map(|seq| format!("#{seq}")))),
        };
        bail!("line {seq} {what}; explain a line of connect, dns, file, socket or a finding: {others}");
    }
    let job = jobs.remove(entry.text("job"));
    Ok(Found { entry, judged, job, answers, resolvers, flaws })
}

fn is_explained(kind: &str) -> bool {
    JUDGED.contains(&kind) || kind == "finding"
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.take(MOST_LISTED + 1).collect();
    if items.len() > MOST_LISTED {
        items.truncate(MOST_LISTED);
        items.push("…".to_owned());
    }
    items.join(", ")
}

/// The lines that decide what is said of `entry`.
fn judged(path: &Path, entry: &Entry) -> anyhow::Result<Vec<Entry>> {
    if JUDGED.contains(&entry.kind()) {
        return Ok(vec![entry.clone()]);
    }
    if entry.kind() != "finding" {
        return Ok(Vec::new());
    }
    let evidence: BTreeSet<u64> = entry.numbers("evidence").collect();
    let mut found = Vec::new();
    each(path, |line| {
        if evidence.contains(&line.seq()) && JUDGED.contains(&line.kind()) {
            found.push(line);
        }
    })?;
    Ok(found)
}

fn answer(entry: &Entry) -> Option<Answer> {
    let addresses: Vec<IpAddr> = entry.texts("addresses").filter_map(|text| text.parse().ok()).collect();
    (!addresses.is_empty()).then(|| Answer {
        seq: entry.seq(),
        server: entry.text("server").to_owned(),
        name: entry.text("name").to_owned(),
        addresses,
        trusted: entry.is("trusted"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn log(lines: &[&str]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        file
    }

    fn error(lines: &[&str], seq: u64) -> String {
        let file = log(lines);
        let error = format!("{:#}", find(file.path(), seq).unwrap_err());
        error.replace(file.path().to_str().unwrap(), "LOG")
    }

    const CONNECT: &str = r#"{"seq":4,"kind":"connect","job":"j","destination":{"ip":"203.0.113.7","port":80}}"#;
    const FINDING: &str = r#"{"seq":5,"kind":"finding","job":"j","id":"x","evidence":[3,4]}"#;

    #[test]
    fn a_number_that_is_not_there_and_a_line_that_nobody_decides_are_told_with_what_there_is() {
        let exec = r#"{"seq":2,"kind":"exec"}"#;
        let late = r#"{"seq":9,"kind":"exit"}"#;
        assert_eq!(
            error(&[exec, CONNECT, FINDING, late], 7),
            "LOG has no line with the number 7; there are 2, 4 to 5, 9"
        );
        assert_eq!(
            error(&[exec, CONNECT, FINDING], 2),
            "line 2 is `exec`, which no policy decides; explain a line of connect, dns, file, socket or a finding: here #4, #5"
        );
        let lone = r#"{"seq":6,"kind":"finding","id":"io-uring","evidence":[2]}"#;
        assert!(error(&[exec, lone], 6).starts_with("line 6 is the finding io-uring, which stands on nothing"));
        assert!(error(&["no log"], 1).contains("has no line of an event log"));
        assert!(
            format!("{:#}", find(Path::new("absent"), 1).unwrap_err())
                .contains("can't read the log absent: No such file")
        );
    }

    #[test]
    fn a_finding_leads_to_its_evidence_and_a_line_to_its_job() {
        let start = r#"{"seq":1,"kind":"job","job":"j","state":"started","policy":"p"}"#;
        let dns = r#"{"seq":3,"kind":"dns","server":"192.0.2.53","name":"a.example","addresses":["203.0.113.7"],"trusted":true}"#;
        let file = log(&[start, dns, CONNECT, FINDING, "cut off"]);
        let found = find(file.path(), 5).unwrap();
        assert_eq!(found.judged.iter().map(Entry::seq).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(found.job.unwrap().text("policy"), "p");
        assert_eq!(found.answers[0].addresses, ["203.0.113.7".parse::<IpAddr>().unwrap()]);
        assert_eq!((found.resolvers.len(), found.flaws), (1, 1));
    }
}
