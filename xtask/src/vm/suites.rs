//! The end-to-end tests in guests: every test binary on each kernel, read as `cargo test`'s output is.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};

use super::frame::Frame;
use super::kernels::{self, Kernel};
use super::machine::{self, End};
use super::table::Column;
use super::{Built, Options, in_guest};
use crate::suite::{LibtestReader, Suite};
use crate::{step, test};

/// Name of the command that is no test.
const DOCTOR: &str = "doctor";

/// Names the tier that the tests hand to the agent.
const TIER: &str = "RUNNER_AGENT_TEST_TIER";

/// A guest that runs tests.
pub struct Guest {
    pub options: Options,
    name: String,
    kernel: Kernel,
    tier: Option<String>,
    /// Once a kernel: whatever tier the tests ask for, the doctor looks at all there is.
    with_doctor: bool,
}

impl Guest {
    /// The guests that these options ask for, one for each kernel and tier.
    pub fn of(options: &Options) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        Self::add(&mut all, options)?;
        Ok(all)
    }

    /// The same, after those that there are.
    pub fn add(all: &mut Vec<Self>, options: &Options) -> Result<()> {
        let names = options.kernels.iter().map(|name| kernels::series(name)).collect::<Result<Vec<_>>>()?;
        for &series in if names.is_empty() { kernels::ALL } else { &names } {
            let kernel = kernels::get(series, options.target(), options.refresh)?;
            let tiers: Vec<Option<String>> =
                if options.tiers.is_empty() { vec![None] } else { options.tiers.iter().cloned().map(Some).collect() };
            for tier in tiers {
                let kernel_name = kernels::name(series, options.target());
                let name = [Some(&*kernel_name), tier.as_deref(), options.hooks.as_deref()];
                let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
                let with_doctor = all.iter().all(|known| known.kernel.release != kernel.release);
                all.push(Self { options: options.clone(), name, kernel: kernel.clone(), tier, with_doctor });
            }
        }
        Ok(())
    }
}

/// Runs a guest's tests, and says what they came to.
pub fn column(guest: &Guest, built: &Built, stop: &Arc<AtomicBool>, say: &mut dyn Write) -> Result<Column> {
    let Guest { options, name, kernel, tier, with_doctor } = guest;
    eprintln!("── tests on kernel {} ({name})", kernel.release);
    let tests: Vec<(&str, &PathBuf, Vec<&str>)> =
        built.tests.iter().filter_map(|(name, program)| Some((&**name, program, filters(options, name)?))).collect();
    let command = |program: &PathBuf, filters: &[&str]| -> Result<Vec<String>> {
        let program = program.to_str().context("paths of the build are text")?;
        Ok([program].into_iter().chain(filters.iter().copied()).map(str::to_owned).collect())
    };
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    if *with_doctor {
        commands.push(["runner-agent", "doctor", "--json"].map(str::to_owned).into());
        names.push(DOCTOR);
    }
    for (name, program, filters) in &tests {
        names.push(name);
        commands.push(command(program, filters)?);
    }
    let environment = tier.clone().map(|tier| (TIER.to_owned(), tier));
    let mut reader = Reader::new(&names);
    let mut log = log(name)?;
    let outcome = in_guest(options, kernel, built, environment, commands, stop, |frame| {
        if let Frame::Output(bytes) = &frame
            && !reader.is_at_doctor()
        {
            let _ = say.write_all(bytes);
            let _ = log.write_all(bytes);
        }
        reader.take(frame);
    })?;
    let _ = log.write_all(outcome.console.as_bytes());
    let diagnosis = serde_json::from_slice(&reader.doctor).ok();
    let mut suites = reader.finish();
    suites.extend(cut_short(&outcome.end, &outcome.console));
    if let Some(complaint) = machine::complaint(&outcome.console) {
        suites.push(Suite::check("the kernel has no complaint", Err(anyhow!("{complaint}"))));
    }
    Ok(Column { name: name.to_owned(), release: kernel.release.clone(), suites, wall: outcome.wall, diagnosis })
}

/// What is asked of a test binary: parts of its tests' names, all of them where there is none; nothing where it isn't asked for.
fn filters<'a>(options: &'a Options, binary: &str) -> Option<Vec<&'a str>> {
    let asked: Vec<(&str, Option<&str>)> = options
        .only
        .iter()
        .map(|only| only.split_once('=').map_or((&**only, None), |(name, filter)| (name, Some(filter))))
        .collect();
    if !asked.is_empty() && !asked.iter().any(|(name, _)| *name == binary) {
        return None;
    }
    let own = asked.into_iter().filter(|(name, _)| *name == binary).filter_map(|(_, filter)| filter);
    Some(own.chain(options.filter.iter().map(String::as_str)).collect())
}

/// Everything that a guest said, to read again: the table has only names.
fn log(name: &str) -> Result<File> {
    let folder = step::target_dir()?.join("vm");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.log", name.replace(' ', "-")));
    File::create(&path).with_context(|| format!("{}", path.display()))
}

/// Sorts a guest's frames into suites, one for each of its commands.
struct Reader {
    /// Names of the test binaries that have not ended yet, the next one last.
    names: Vec<String>,
    current: LibtestReader,
    line: Vec<u8>,
    /// What the doctor printed.
    doctor: Vec<u8>,
    report: String,
    suites: Vec<Suite>,
}

impl Reader {
    fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().rev().map(|&name| name.to_owned()).collect();
        let current = names.last().map_or_else(LibtestReader::default, |name| LibtestReader::of(name));
        Self { names, current, line: Vec::new(), doctor: Vec::new(), report: String::new(), suites: Vec::new() }
    }

    fn is_at_doctor(&self) -> bool {
        self.names.last().is_some_and(|name| name == DOCTOR)
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Output(bytes) if self.is_at_doctor() => self.doctor.extend(bytes),
            Frame::Output(bytes) => {
                for byte in bytes {
                    if byte == b'\n' {
                        self.current.line(&String::from_utf8_lossy(&self.line));
                        self.line.clear();
                    } else {
                        self.line.push(byte);
                    }
                }
            }
            Frame::Report(text) => self.report.push_str(&text),
            Frame::Ended(code) => self.end(code == 0),
            Frame::Up | Frame::Failed(_) | Frame::Done => {}
        }
    }

    fn end(&mut self, well: bool) {
        let Some(name) = self.names.pop() else { return };
        let next = self.names.last().map_or_else(LibtestReader::default, |name| LibtestReader::of(name));
        let mut suites = std::mem::replace(&mut self.current, next).finish(well, &name);
        test::apply_report(&std::mem::take(&mut self.report), &mut suites);
        suites.iter_mut().for_each(fail_what_was_not_armed);
        self.line.clear();
        self.suites.extend(suites);
    }

    /// What had not ended when the guest did has failed.
    fn finish(mut self) -> Vec<Suite> {
        while !self.names.is_empty() {
            self.end(false);
        }
        self.suites
    }
}

/// The failure of a guest that did not come to its end, with the last that its kernel said.
fn cut_short(end: &End, console: &str) -> Option<Suite> {
    let why = || anyhow!("{end:?}\n{}", super::tail(console));
    (*end != End::Done).then(|| Suite::check("the guest comes to its end", Err(why())))
}

/// A test takes an agent that can't arm for a machine that can't run it. A guest is there to show that it can.
fn fail_what_was_not_armed(suite: &mut Suite) {
    const NOT_ARMED: &str = "not armed, the command was not started";
    let (failed, skipped) =
        std::mem::take(&mut suite.skipped).into_iter().partition(|(_, why)| why.contains(NOT_ARMED));
    suite.skipped = skipped;
    let failed: Vec<(String, String)> = failed;
    suite.failed.extend(failed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Frame {
        Frame::Output(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_that_come_in_pieces_are_counted_for_the_command_that_runs() {
        let mut reader = Reader::new(&["agent", "egress"]);
        reader.take(output("running 2 tests\ntest a::b ... o"));
        reader.take(output("k\ntest a::c ... ok\n"));
        reader.take(Frame::Report("could-not-run: a::c: no IPv6\n".into()));
        reader.take(Frame::Ended(0));
        reader.take(output("test out::tcp ... FAILED\n"));
        reader.take(Frame::Ended(101));
        let suites = reader.finish();
        assert_eq!(suites.len(), 2);
        assert_eq!((suites[0].name.as_str(), &suites[0].passed), ("agent", &vec!["a::b".to_owned()]));
        assert_eq!(suites[0].skipped, [("a::c".to_owned(), "no IPv6".to_owned())]);
        assert_eq!((suites[1].name.as_str(), &*suites[1].failed[0].0), ("egress", "out::tcp"));
    }

    #[test]
    fn an_agent_that_does_not_arm_in_a_guest_is_a_failure() {
        let mut reader = Reader::new(&["egress"]);
        reader.take(output("test tcp ... ok\ntest udp ... ok\n"));
        let why = "runner-agent: not armed, the command was not started: the kernel refused the probe";
        reader.take(Frame::Report(format!("could-not-run: tcp: {why}\ncould-not-run: udp: no IPv6\n")));
        reader.take(Frame::Ended(0));
        let suites = reader.finish();
        assert_eq!((&*suites[0].failed, suites[0].skipped.len()), (&[("tcp".to_owned(), why.to_owned())][..], 1));
    }

    #[test]
    fn a_guest_that_dies_fails_what_had_not_ended() {
        let mut reader = Reader::new(&["agent", "egress"]);
        reader.take(output("test a::b ... ok\n"));
        let suites = reader.finish();
        assert_eq!(suites.iter().map(|suite| suite.failed.len()).sum::<usize>(), 2);
        let late = cut_short(&End::TooLong, "the last word").expect("a failure");
        assert_eq!(late.failed, [("the guest comes to its end".to_owned(), "TooLong\nthe last word".to_owned())]);
        assert!(cut_short(&End::Done, "").is_none());
    }
}
