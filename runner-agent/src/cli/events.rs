//! `events`: reads an event log as a person would.
//!
//! Lines that can't be read and breaks of the chain are told on standard error and cost no other line.

mod filter;
mod pipes;
mod source;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::complain;
use crate::policy::Severity;
use crate::report::style::Style;
use crate::sink::wire::read::{Entry, Flaw, LogReader, Taken};
use filter::{Filter, Kind, To};
use pipes::Weaver;
use source::{More, Source};

/// Exit code when the log has lines that can't be read, or a broken chain.
const FLAWED: u8 = 1;

/// Flaws that are told one by one; a log cut up by `grep` has one at every line.
const MAX_TOLD: u64 = 5;

/// What `events` is told.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// The event log; `-` is standard input.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Keep reading while the log grows, until its job has ended.
    #[arg(short, long)]
    follow: bool,
    /// Only these kinds of lines.
    #[arg(short, long, value_name = "KIND,…", value_delimiter = ',')]
    kind: Vec<Kind>,
    /// Only what this process did: a program's name, a pid, or a key (`pid-start`).
    #[arg(short, long, value_name = "NAME|PID")]
    process: Option<String>,
    /// Only what was about this destination: a name (`*.` in front for any below it), an address or a network.
    #[arg(short, long, value_name = "HOST|IP|CIDR[:PORT]")]
    to: Option<To>,
    /// Only findings, and only those of at least this severity.
    #[arg(short, long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<Severity>,
    /// How to write them.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, in UTC.
    Pretty,
    /// The log's own lines, unchanged.
    Json,
}

fn severity(word: &str) -> Result<Severity, String> {
    word.parse().map_err(|error: crate::policy::UnknownWordError| error.to_string())
}

/// Reads the log and writes what passes the filter to `out`.
pub fn run(args: &EventsArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let mut source = Source::open(&args.log, args.follow)?;
    let mut view = View {
        filter: Filter::new(&args.kind, args.process.clone(), args.to.clone(), args.severity),
        weaver: (args.format == Format::Pretty).then(|| Weaver::new(Style::for_stdout())),
        reader: LogReader::default(),
        flaws: 0,
        has_started: false,
        has_ended: false,
        out: std::io::BufWriter::new(out),
    };
    let mut bytes = Vec::new();
    loop {
        let more = source.read(&mut bytes, view.is_holding())?;
        if more == More::FromTheStart {
            complain(&"the log was replaced by a new one, which is read from its first line");
            bytes.clear();
            view.restart()?;
            continue;
        }
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for line in bytes[..whole].split_inclusive(|&byte| byte == b'\n') {
            let taken = view.reader.take(&line[..line.len() - 1]);
            view.show(taken)?;
        }
        bytes.drain(..whole);
        match more {
            More::Bytes => {}
            More::Later => view.out.flush()?,
            // What waits for the other end of a pipe has waited enough.
            More::Silence => view.flush()?,
            More::FromTheStart | More::Never => break,
        }
        if args.follow && view.has_ended {
            break;
        }
    }
    if !bytes.is_empty() {
        let taken = view.reader.take_rest(&bytes);
        view.show(taken)?;
    }
    view.finish()
}

/// What has been seen of the log, and what is still to be written.
struct View<W: Write> {
    filter: Filter,
    /// Absent when lines are passed on as they are.
    weaver: Option<Weaver>,
    reader: LogReader,
    flaws: u64,
    has_started: bool,
    has_ended: bool,
    out: std::io::BufWriter<W>,
}

impl<W: Write> View<W> {
    fn show(&mut self, taken: Taken) -> std::io::Result<()> {
        if let Some(flaw) = taken.flaw {
            self.tell(&flaw)?;
        }
        let Some(entry) = taken.entry else { return Ok(()) };
        self.has_started |= entry.kind() == "job" && entry.text("state") == "started";
        self.has_ended |= entry.ends_job();
        let is_wanted = self.filter.wants(&entry);
        match &mut self.weaver {
            Some(weaver) => weaver.push(entry, is_wanted, &mut self.out),
            None if is_wanted => write_raw(&entry, &mut self.out),
            None => Ok(()),
        }
    }

    /// Tells a flaw at its place between the lines.
    fn tell(&mut self, flaw: &Flaw) -> std::io::Result<()> {
        self.flaws += 1;
        if self.flaws <= MAX_TOLD {
            self.flush()?;
            complain(flaw);
        }
        Ok(())
    }

    fn is_holding(&self) -> bool {
        self.weaver.as_ref().is_some_and(Weaver::is_holding)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if let Some(weaver) = &mut self.weaver {
            weaver.release_all(&mut self.out)?;
        }
        self.out.flush()
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.flush()?;
        self.reader = LogReader::default();
        (self.has_started, self.has_ended) = (false, false);
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<ExitCode> {
        self.flush()?;
        if self.reader.lines() == 0 {
            complain(&"the log is empty: the agent that should write it has not started its job, or could not write");
        } else if self.has_started && !self.has_ended {
            complain(&"the end of the job is not in this log: it still runs, or the agent was stopped");
        }
        if self.reader.is_unchained() {
            complain(
                &"these lines carry no hashes, so a missing one would not be noticed; the file that `run --log` writes has them",
            );
        }
        if self.flaws > MAX_TOLD {
            complain(&format!("{} more lines can't be read or break the chain", self.flaws - MAX_TOLD));
        }
        Ok(if self.flaws == 0 { ExitCode::SUCCESS } else { ExitCode::from(FLAWED) })
    }
}

fn write_raw(entry: &Entry, out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(entry.raw.as_bytes())?;
    out.write_all(b"\n")
}
