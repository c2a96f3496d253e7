//! Shows a pipeline as one line.
//!
//! A program is told of with the pipes on its standard input and output, and the other end may start a moment later. So
//! the start of a program with a pipe waits until the log has gone on for [`PATIENCE_NS`]; what comes after it waits
//! behind it, and the order of lines stays. Both ends belong to one pipeline when they have one parent: `make | tee` is
//! one, and the compilers that `make` starts write into the same pipe without being part of it.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use super::words;
use crate::report::style::Style;
use crate::sink::wire::read::Entry;

/// How long the other end of a pipe may take to start, nanoseconds of the log's own time.
const PATIENCE_NS: i128 = 100_000_000;

/// Lines that wait at most.
const MAX_WAITING: usize = 4096;

/// Readers of pipes that are remembered.
const MAX_READERS: usize = 16_384;

/// Writes lines, those of one pipeline as one.
#[derive(Debug)]
pub(super) struct Weaver {
    style: Style,
    waiting: VecDeque<Waiting>,
    /// Who reads a pipe, as a person would name it.
    readers: HashMap<u64, String>,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    is_wanted: bool,
    at_ns: i128,
    /// Pipes of a program that was started, 0 where there is none. Taken out once: in a storm of programs each is compared
    /// with all that wait.
    stdin: u64,
    stdout: u64,
    /// Already shown, as part of a pipeline.
    is_shown: bool,
}

impl Weaver {
    pub(super) fn new(style: Style) -> Self {
        Self { style, waiting: VecDeque::new(), readers: HashMap::new() }
    }

    /// Takes in the next line, and writes those that need not wait for others.
    pub(super) fn push(&mut self, entry: Entry, is_wanted: bool, out: &mut impl Write) -> io::Result<()> {
        let has_pipe = entry.kind() == "exec" && (stdin(&entry) != 0 || stdout(&entry) != 0);
        if has_pipe && stdin(&entry) != 0 {
            self.remember_reader(&entry);
        }
        if self.waiting.is_empty() && !has_pipe {
            return if is_wanted { self.write(&[&entry], out) } else { Ok(()) };
        }
        let at_ns = entry.text("ts").parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_nanosecond);
        let (stdin, stdout) = if has_pipe { (stdin(&entry), stdout(&entry)) } else { (0, 0) };
        self.waiting.push_back(Waiting { entry, is_wanted, at_ns, stdin, stdout, is_shown: false });
        while let Some(first) = self.waiting.front()
            && (at_ns - first.at_ns >= PATIENCE_NS || self.waiting.len() > MAX_WAITING)
        {
            self.release(out)?;
        }
        Ok(())
    }

    /// Whether something waits.
    pub(super) fn is_holding(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes everything that waits.
    pub(super) fn release_all(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.waiting.is_empty() {
            self.release(out)?;
        }
        Ok(())
    }

    /// Writes the first line that waits, with the rest of its pipeline, and what then need not wait any more.
    fn release(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.waiting[0].is_shown {
            let members = self.pipeline_of_first();
            let is_wanted = members.iter().any(|&index| self.waiting[index].is_wanted);
            if is_wanted {
                let entries: Vec<&Entry> = members.iter().map(|&index| &self.waiting[index].entry).collect();
                self.write(&entries, out)?;
            }
            for index in members {
                self.waiting[index].is_shown = true;
            }
        }
        self.waiting.pop_front();
        Ok(())
    }

    /// The first line that waits and those of its pipeline, from the first writer to the last reader.
    fn pipeline_of_first(&self) -> Vec<usize> {
        let mut members = VecDeque::from([0]);
        while let Some(&first) = members.front()
            && let Some(writer) = self.neighbour(first, |of| of.stdin, |of| of.stdout, &members)
        {
            members.push_front(writer);
        }
        while let Some(&last) = members.back()
            && let Some(reader) = self.neighbour(last, |of| of.stdout, |of| of.stdin, &members)
        {
            members.push_back(reader);
        }
        members.into()
    }

    /// The program that waits whose `theirs` is the `ours` of this one, with the same parent.
    fn neighbour(&self, of: usize, ours: Side, theirs: Side, known: &VecDeque<usize>) -> Option<usize> {
        let this = &self.waiting[of];
        let pipe = ours(this);
        if pipe == 0 {
            return None;
        }
        let parent = this.entry.text("process.parent");
        let is_neighbour = |other: &Waiting| {
            theirs(other) == pipe
                && !other.is_shown
                && !parent.is_empty()
                && other.entry.text("process.parent") == parent
        };
        self.waiting.iter().position(is_neighbour).filter(|index| !known.contains(index))
    }

    fn remember_reader(&mut self, entry: &Entry) {
        // Pipes have numbers that come back; a log of that many pipelines has forgotten the first ones.
        if self.readers.len() >= MAX_READERS {
            self.readers.clear();
        }
        self.readers.insert(stdin(entry), words::who(entry));
    }

    /// One line, from one entry or from those of a pipeline, and what stands below it.
    fn write(&self, entries: &[&Entry], out: &mut impl Write) -> io::Result<()> {
        let [first, rest @ ..] = entries else { return Ok(()) };
        let mut seqs: Vec<u64> = entries.iter().map(|entry| entry.seq()).collect();
        seqs.sort_unstable();
        let seq = format!("#{}", seqs.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
        let kind = if rest.is_empty() { first.kind() } else { "pipeline" };
        let who = entries.iter().map(|entry| words::who(entry)).collect::<Vec<_>>().join(" | ");
        let what = if rest.is_empty() {
            words::what(first, self.style)
        } else {
            entries.iter().map(|entry| words::command(entry)).collect::<Vec<_>>().join(" | ")
        };
        let time = entries.iter().map(|entry| entry.text("ts")).min().and_then(|ts| ts.get(11..23)).unwrap_or("?");
        // A finding's sentence names its process.
        let who = if kind == "finding" || who.is_empty() { String::new() } else { format!("{who}  ") };
        let into = self.where_it_goes(first);
        let kind = crate::text::printable(kind);
        writeln!(out, "{}  {seq:>7}  {kind:<8}  {who}{what}{into}", self.style.faint(time))?;
        for line in words::below(first, self.style) {
            writeln!(out, "{:33}{line}", "")?;
        }
        Ok(())
    }

    /// Of a process that read a secret: who gets its output.
    fn where_it_goes(&self, entry: &Entry) -> String {
        match self.readers.get(&stdout(entry)) {
            Some(reader) if entry.kind() == "file" => format!("; its output goes to {reader}"),
            _ => String::new(),
        }
    }
}

/// One of the two pipes of a program that waits.
type Side = fn(&Waiting) -> u64;

fn stdin(entry: &Entry) -> u64 {
    entry.number("process.stdin_pipe").unwrap_or(0)
}

fn stdout(entry: &Entry) -> u64 {
    entry.number("process.stdout_pipe").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::wire::read::LogReader;

    /// An exec at so many milliseconds, with its parent and pipes.
    fn exec(seq: u64, ms: u64, name: &str, parent: &str, stdin_pipe: u64, stdout_pipe: u64) -> Entry {
        let line = format!(
            r#"{{"ts":"2026-01-02T03:04:05.{ms:03}000000Z","seq":{seq},"kind":"exec","process":{{"pid":{seq},"parent":"{parent}",
                "exe":"/bin/{name}","argv":["{name}","x"],"stdin_pipe":{stdin_pipe},"stdout_pipe":{stdout_pipe}}}}}"#
        );
        LogReader::default().take(line.as_bytes()).entry.unwrap()
    }

    fn woven(entries: Vec<(Entry, bool)>) -> Vec<String> {
        let mut weaver = Weaver::new(Style::PLAIN);
        let mut out = Vec::new();
        for (entry, is_wanted) in entries {
            weaver.push(entry, is_wanted, &mut out).unwrap();
        }
        weaver.release_all(&mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(|line| line[14..].trim_start().to_owned()).collect()
    }

    #[test]
    fn a_pipeline_is_one_line_in_whatever_order_its_programs_start() {
        let three = vec![
            (exec(4, 1, "base64", "1-1", 70, 80), true),
            (exec(5, 2, "true", "1-1", 0, 0), true),
            (exec(6, 3, "cat", "1-1", 0, 70), true),
            (exec(7, 4, "wc", "1-1", 80, 0), true),
        ];
        assert_eq!(
            woven(three),
            [
                "#4,6,7  pipeline  cat (pid 6) | base64 (pid 4) | wc (pid 7)  cat x | base64 x | wc x",
                "#5  exec      true (pid 5)  true x",
            ]
        );
    }

    #[test]
    fn what_a_member_of_a_pipeline_starts_is_not_part_of_it() {
        let lines = woven(vec![
            (exec(4, 1, "make", "1-1", 0, 70), true),
            (exec(5, 2, "tee", "1-1", 70, 0), true),
            (exec(6, 3, "cc", "4-1", 0, 70), true),
        ]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("make x | tee x"));
        assert!(lines[1].contains("exec      cc (pid 6)"));
    }

    #[test]
    fn an_end_that_starts_long_after_others_stands_alone_and_nothing_is_lost() {
        let lines = woven(vec![
            (exec(4, 1, "cat", "1-1", 0, 70), true),
            (exec(5, 400, "true", "1-1", 0, 0), true),
            (exec(6, 500, "late", "1-1", 70, 0), true),
        ]);
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn a_pipeline_is_shown_when_one_of_its_programs_is_wanted() {
        let lines = woven(vec![
            (exec(4, 1, "cat", "1-1", 0, 70), false),
            (exec(5, 2, "base64", "1-1", 70, 0), true),
            (exec(6, 3, "true", "1-1", 0, 0), false),
        ]);
        assert_eq!(lines, ["#4,5  pipeline  cat (pid 4) | base64 (pid 5)  cat x | base64 x"]);
    }
}
