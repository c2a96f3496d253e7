//! `test`: what CI runs. Everything is run, then one table says what held, what failed and what could not run here.
//!
//! A test that can't run on this machine appends one line to the file that `RUNNER_AGENT_TEST_REPORT`
//! names, and returns: `could-not-run: TEST: REASON`, or `needs-guest: TEST: REASON` when a guest with another kernel
//! would run it. libtest counts such a test as passed; the table does not.

use std::fs;
use std::io::{BufRead as _, BufReader, pipe};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::suite::{LibtestReader, Suite, reasons, table, total};
use crate::target::Target;
use crate::{action, build, check, package, setup, sinks, step, tidy, vm};

#[derive(Args)]
pub struct Options {
    /// Run only tests whose name contains this, and no format or lint checks; `egress` and `tamper` run the proof of
    /// egress rules and the attempts at the agent, `sinks` what receivers make of each form, `action` whole jobs with the GitHub
    /// Action; they print their tables
    filter: Option<String>,
    /// Minutes after which no further guest is begun; what was not begun is counted and listed
    #[arg(long, default_value_t = 20)]
    guests_within: u64,
}

/// Where end-to-end tests say that they could not run.
const REPORT: &str = "RUNNER_AGENT_TEST_REPORT";
/// The binary that end-to-end tests run.
const BINARY: &str = "RUNNER_AGENT_BIN";

/// Test binaries that have a table of their own, and what each is.
const WITH_TABLES: [(&str, &str); 2] =
    [("egress", "the proof of egress rules"), ("tamper", "the attempts at the agent")];

pub fn run(options: &Options) -> Result<()> {
    if options.filter.as_deref() == Some("sinks") {
        return sinks::run();
    }
    if options.filter.as_deref() == Some("action") {
        setup::run(&setup::Options::default())?;
        return cases_of_action();
    }
    let with_sinks = options.filter.is_none();
    setup::run(&setup::Options { with_sinks, ..setup::Options::default() })?;
    if let Some((name, what)) = WITH_TABLES.iter().find(|(name, _)| options.filter.as_deref() == Some(name)) {
        return with_table(what, name);
    }
    let mut suites = Vec::new();
    if options.filter.is_none() {
        for (name, holds) in [
            ("format", check::format as fn() -> Result<()>),
            ("clippy, user side", check::clippy),
            ("clippy, kernel side", check::kernel_clippy),
            ("tidy", tidy::run),
        ] {
            suites.push(Suite::check(name, holds()));
        }
    }
    eprintln!("── unit tests, replays, examples in the docs");
    let mut cargo = build::tests();
    cargo.arg("--no-fail-fast").args(&options.filter).env(sinks::nats::PROGRAM, sinks::nats::program()?);
    if options.filter.is_none() {
        // What receivers make of a form has it as a row of its own.
        cargo.args(["--", "--skip", sinks::nats::CLUSTER]);
    }
    let report = tempfile::NamedTempFile::new().context("a file for the tests' report")?;
    cargo.env(REPORT, report.path());
    let mut unit = libtest(cargo, "unit tests and replays")?;
    let text = fs::read_to_string(report.path()).context("the tests' report")?;
    let mut guests = apply_report(&text, &mut unit);
    suites.extend(unit);

    let (end_to_end, more_guests) = end_to_end(options)?;
    suites.extend(end_to_end);
    guests.extend(more_guests);

    if options.filter.is_none() {
        suites.push(action::shapes());
        suites.push(of_action());
        suites.push(sinks::suite());
        let (packing, package) = package::suite(Target::native());
        suites.push(packing);
        suites.extend(in_guests(Duration::from_mins(options.guests_within), package.as_deref()));
    }

    println!("\n{}\n{}", table(&suites), total(&suites));
    if guests.is_empty() {
        println!("no test asked for a guest");
    } else {
        println!("these need a guest with another kernel:\n  {}", guests.join("\n  "));
    }
    reasons(&suites)
}

/// Runs `cargo test`, passes its output through, and counts.
fn libtest(mut cargo: Command, name: &str) -> Result<Vec<Suite>> {
    // One pipe for both: cargo names a test binary on standard error, the tests report on standard output, and only
    // their common order says which belongs to which.
    let (reader, writer) = pipe().context("a pipe for cargo's output")?;
    cargo.stdout(writer.try_clone()?).stderr(writer);
    let mut child = cargo.spawn().context("cargo test can't be started")?;
    // The command holds the pipe's writing end; reading ends when the last one is closed.
    drop(cargo);
    let mut suites = LibtestReader::default();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        suites.line(text.trim_end());
        line.clear();
    }
    Ok(suites.finish(child.wait()?.success(), name))
}

/// The end-to-end tests, and what they say needs a guest.
fn end_to_end(options: &Options) -> Result<(Vec<Suite>, Vec<String>)> {
    eprintln!("── end-to-end tests");
    if let Some(reason) = why_not_here() {
        let suite = all_skipped(options, reason)
            .unwrap_or_else(|error| Suite::check("end-to-end: building the tests", Err(error)));
        return Ok((vec![suite], Vec::new()));
    }
    let binary = match build::for_tests() {
        Ok(binary) => binary,
        Err(error) => {
            return Ok((vec![Suite::check("end-to-end: building runner-agent", Err(error))], Vec::new()));
        }
    };
    let report = tempfile::NamedTempFile::new().context("a file for the tests' report")?;
    let mut cargo = step::cargo("test");
    cargo.args(["--package", "end-to-end", "--no-fail-fast"]).args(&options.filter);
    cargo.env(REPORT, report.path()).env(BINARY, binary);
    let mut suites = libtest(cargo, "end-to-end")?;
    let text = fs::read_to_string(report.path()).context("the tests' report")?;
    let guests = apply_report(&text, &mut suites);
    Ok((suites, guests))
}

/// The tests of the Action, against the binary where there is one that can run here.
fn of_action() -> Suite {
    let binary = if why_not_here().is_none() { build::for_tests().ok() } else { None };
    action::tests(binary.as_deref()).unwrap_or_else(|error| Suite::check("the GitHub Action", Err(error)))
}

/// Whole jobs with the Action, and their table.
fn cases_of_action() -> Result<()> {
    if let Some(reason) = why_not_here() {
        bail!("jobs with the Action can't run here: {reason}");
    }
    action::cases(&build::for_tests()?)
}

/// The tests that guests run. Without kernels to boot that is one thing that could not run, with its reason.
fn in_guests(within: Duration, package: Option<&Path>) -> Vec<Suite> {
    const NAME: &str = "guests";
    eprintln!("── end-to-end tests in guests");
    if let Err(error) = vm::prepare() {
        let skipped = vec![("tests on other kernels".to_owned(), format!("{error:#}"))];
        return vec![Suite { name: NAME.to_owned(), skipped, ..Suite::default() }];
    }
    vm::test_run::suites(within, package).unwrap_or_else(|error| vec![Suite::check(NAME, Err(error))])
}

/// A test binary that has a table for reading, alone.
fn with_table(what: &str, name: &str) -> Result<()> {
    if let Some(reason) = why_not_here() {
        bail!("{what} can't run here: {reason}");
    }
    let binary = build::for_tests()?;
    // What could not run stands below the table too.
    let report = tempfile::NamedTempFile::new().context("a file for the tests' report")?;
    let mut cargo = step::cargo("test");
    cargo.args(["--quiet", "--package", "end-to-end", "--test", name]);
    cargo.env(REPORT, report.path()).env(BINARY, binary);
    step::run(what, &mut cargo)
}

/// What end-to-end tests as a whole can't do without.
fn why_not_here() -> Option<&'static str> {
    if !step::is_root() {
        return Some("loading programs into the kernel needs root");
    }
    step::cgroup_v2().is_none().then_some("no cgroup v2 hierarchy is mounted")
}

/// Each test by name, so that the table says how much did not run.
fn all_skipped(options: &Options, reason: &str) -> Result<Suite> {
    let mut cargo = step::cargo("test");
    cargo.args(["--quiet", "--package", "end-to-end"]).args(&options.filter).args(["--", "--list"]);
    let names = step::output(&mut cargo)?;
    let skipped = names
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(|test| (test.to_owned(), reason.to_owned()))
        .collect();
    Ok(Suite { name: "end-to-end".into(), skipped, ..Suite::default() })
}

/// Moves the reported tests from passed to skipped; returns what needs a guest.
pub fn apply_report(report: &str, suites: &mut Vec<Suite>) -> Vec<String> {
    let mut guests = Vec::new();
    let mut unknown = Suite { name: "end-to-end: reported by no test that passed".into(), ..Suite::default() };
    for line in report.lines() {
        let Some((kind, rest)) = line.split_once(": ") else {
            continue;
        };
        // A test's name holds `::`, never a colon before a space.
        let (test, reason) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
        match kind {
            "needs-guest" => guests.push(format!("{test}: {reason}")),
            "could-not-run" => {}
            _ => continue,
        }
        if !suites.iter_mut().any(|suite| suite.skip(test, reason)) {
            unknown.skipped.push((test.to_owned(), reason.to_owned()));
        }
    }
    if !unknown.skipped.is_empty() {
        suites.push(unknown);
    }
    guests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_test_moves_from_passed_to_skipped_and_guests_are_listed() {
        let passed = ["connect::over_ipv6", "guard::lsm_denies", "exec::storm"].map(String::from).to_vec();
        let mut suites = vec![Suite { name: "end-to-end".into(), passed, ..Suite::default() }];
        let guests = apply_report(
            "could-not-run: connect::over_ipv6: no IPv6 here\nneeds-guest: guard::lsm_denies: no BPF LSM\nnoise\n",
            &mut suites,
        );
        assert_eq!(guests, ["guard::lsm_denies: no BPF LSM"]);
        assert_eq!(total(&suites), "1 passed, 0 failed, 2 skipped");
        assert_eq!(suites[0].skipped[0], ("connect::over_ipv6".into(), "no IPv6 here".into()));
    }

    #[test]
    fn a_report_that_names_no_passed_test_is_shown_and_takes_nothing_away() {
        let mut suites = vec![Suite { passed: vec!["exec::storm".into()], ..Suite::default() }];
        apply_report("could-not-run: exec::gone: renamed\n", &mut suites);
        assert_eq!(total(&suites), "1 passed, 0 failed, 1 skipped");
    }
}
