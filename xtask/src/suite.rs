//! What a test run adds up to: reads what `cargo test` prints, and keeps one row for each suite.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

/// One row of the table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Suite {
    /// The test binary, or the check.
    pub name: String,
    /// Ran and held.
    pub passed: Vec<String>,
    /// Ran and did not: test, and what it said.
    pub failed: Vec<(String, String)>,
    /// Did not run here: test and reason.
    pub skipped: Vec<(String, String)>,
}

impl Suite {
    /// A check that is its own only test.
    pub fn check(name: &str, held: Result<()>) -> Self {
        let mut suite = Self { name: name.to_owned(), ..Self::default() };
        suite.take(name, held);
        suite
    }

    /// Takes what came of one test. What it said is told at once, and again below the table.
    pub fn take(&mut self, test: &str, held: Result<()>) {
        match held {
            Ok(()) => self.passed.push(test.to_owned()),
            Err(error) => {
                eprintln!("{test}: {error:#}");
                self.failed.push((test.to_owned(), format!("{error:#}")));
            }
        }
    }

    /// Takes `test` (its whole path, or the end of it) out of those that passed: libtest has no word for "could not
    /// run", so such a test ends well. False when no test of that name passed here.
    pub fn skip(&mut self, test: &str, reason: &str) -> bool {
        let named = |passed: &String| passed == test || passed.ends_with(&format!("::{test}"));
        let Some(at) = self.passed.iter().position(named) else {
            return false;
        };
        self.skipped.push((self.passed.remove(at), reason.to_owned()));
        true
    }

    fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.failed.is_empty() && self.skipped.is_empty()
    }
}

/// Reads `cargo test`'s output line by line.
#[derive(Debug, Default)]
pub struct LibtestReader {
    suites: Vec<Suite>,
    /// Which of the last suite's failures the lines are of, where they are of one.
    speaks: Option<usize>,
}

impl LibtestReader {
    /// Reads the output of one test binary that was started without cargo, which would have named it.
    pub fn of(name: &str) -> Self {
        Self { suites: vec![Suite { name: name.to_owned(), ..Suite::default() }], speaks: None }
    }

    /// Takes one line of the output, standard error included: cargo names the test binaries there.
    pub fn line(&mut self, line: &str) {
        if let Some(name) = suite_name(line) {
            self.suites.push(Suite { name, ..Suite::default() });
            self.speaks = None;
            return;
        }
        if self.is_said(line) {
            return;
        }
        let Some((test, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            return;
        };
        let Some(suite) = self.suites.last_mut() else { return };
        // libtest may append a time (`ok <0.1s>`) or a reason (`ignored, needs a network`).
        match result.split([' ', ',']).next() {
            Some("ok") => suite.passed.push(test.to_owned()),
            Some("FAILED") => suite.failed.push((test.to_owned(), String::new())),
            Some("ignored") => {
                let reason = result.split_once(", ").map_or("ignored", |(_, reason)| reason);
                suite.skipped.push((test.to_owned(), reason.to_owned()));
            }
            _ => {}
        }
    }

    /// Keeps what a failed test said. libtest has that after all tests, each below a line with its name, and their names once more.
    fn is_said(&mut self, line: &str) -> bool {
        let Some(suite) = self.suites.last_mut() else { return false };
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.speaks = suite.failed.iter().position(|(failed, _)| failed == test);
            return true;
        }
        if line == "failures:" || line.starts_with("test result: ") {
            self.speaks = None;
        }
        let Some((_, said)) = self.speaks.and_then(|at| suite.failed.get_mut(at)) else { return false };
        said.push_str(line);
        said.push('\n');
        true
    }

    /// The suites that held any test. When `ended_well` is false and no test failed, the run itself did: a test binary
    /// that did not compile or that died is one failure.
    pub fn finish(self, ended_well: bool, name: &str) -> Vec<Suite> {
        let mut suites: Vec<Suite> = self.suites.into_iter().filter(|suite| !suite.is_empty()).collect();
        if !ended_well && suites.iter().all(|suite| suite.failed.is_empty()) {
            suites.push(Suite {
                name: name.to_owned(),
                failed: vec![(format!("{name}: did not build, or died before its tests ended"), String::new())],
                ..Suite::default()
            });
        }
        suites
    }
}

/// `     Running unittests src/lib.rs (target/debug/deps/xtask-0123)` or `   Doc-tests kernel_toolchain`.
fn suite_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package}: examples in the docs"));
    }
    let (source, binary) = line.strip_prefix("Running ")?.split_once(" (")?;
    let binary = binary.trim_end_matches(')').rsplit('/').next()?;
    let package = binary.rsplit_once('-').map_or(binary, |(package, _hash)| package);
    match source.strip_prefix("unittests ") {
        Some(file) if file.ends_with("main.rs") => Some(format!("{package}: unit, of the binary")),
        Some(_) => Some(format!("{package}: unit")),
        None => Some(format!("{package}: {source}")),
    }
}

/// The table, and below it what failed and what could not run.
pub fn table(suites: &[Suite]) -> String {
    let width = suites.iter().map(|suite| suite.name.len()).max().unwrap_or(0).max("suite".len());
    let mut text = format!("{:width$}  {:>6}  {:>6}  {:>13}\n", "suite", "passed", "failed", "could not run");
    for suite in suites {
        let Suite { name, passed, failed, skipped } = suite;
        let _ = writeln!(text, "{name:width$}  {:>6}  {:>6}  {:>13}", passed.len(), failed.len(), skipped.len());
    }
    for (name, _) in failures(suites) {
        let _ = writeln!(text, "failed: {name}");
    }
    for (suite, (test, reason)) in suites.iter().flat_map(|suite| suite.skipped.iter().map(move |skip| (suite, skip))) {
        let _ = writeln!(text, "could not run: {}: {test}: {reason}", suite.name);
    }
    text
}

/// Each failure with its suite, and what it said.
fn failures(suites: &[Suite]) -> impl Iterator<Item = (String, &str)> {
    suites.iter().flat_map(|suite| {
        suite.failed.iter().map(|(test, said)| {
            // A check is its own only test.
            let name = if suite.name == *test { test.clone() } else { format!("{}: {test}", suite.name) };
            (name, &**said)
        })
    })
}

/// What failed and why, for the end of a run: who has only that much of its output has the reason.
pub fn reasons(suites: &[Suite]) -> Result<()> {
    /// A test may print all that its agent said, before and after its reason.
    const LINES: usize = 40;
    let mut text = String::new();
    for (name, said) in failures(suites) {
        let lines: Vec<&str> = said.lines().take_while(|line| *line != "stack backtrace:").collect();
        let panic = lines.iter().position(|line| line.starts_with("thread '") && line.contains("panicked at"));
        let from = panic.unwrap_or(lines.len().saturating_sub(LINES));
        let _ = write!(text, "\n\nfailed: {name}");
        for line in lines[from..].iter().take(LINES).filter(|line| !line.trim().is_empty()) {
            let _ = write!(text, "\n    {line}");
        }
    }
    ensure!(text.is_empty(), "what follows did not hold{text}");
    Ok(())
}

/// `N passed, N failed, N skipped`.
pub fn total(suites: &[Suite]) -> String {
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    format!(
        "{} passed, {} failed, {} skipped",
        sum(|suite| suite.passed.len()),
        sum(|suite| suite.failed.len()),
        sum(|suite| suite.skipped.len())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling runner-agent v0.1.0
     Running unittests src/lib.rs (target/debug/deps/runner_agent-0a1b)
running 3 tests
test decode::tests::any_bytes_are_an_error ... ok
test policy::tests::a_star ... FAILED
test policy::tests::slow ... ignored, needs a network
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out
     Running unittests src/main.rs (target/debug/deps/runner_agent-0a1c)
running 0 tests
     Running tests/replay.rs (target/debug/deps/replay-99)
test a_recorded_build ... ok
   Doc-tests runner_agent
test runner-agent/src/lib.rs - decode (line 3) ... ok
";

    fn read(text: &str, ended_well: bool) -> Vec<Suite> {
        let mut reader = LibtestReader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish(ended_well, "tests")
    }

    #[test]
    fn each_test_binary_is_a_suite_and_empty_ones_are_left_out() {
        let suites = read(OUTPUT, false);
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["runner_agent: unit", "replay: tests/replay.rs", "runner_agent: examples in the docs"]);
        assert_eq!(suites[0].failed[0].0, "policy::tests::a_star");
        assert_eq!(suites[0].skipped, [("policy::tests::slow".into(), "needs a network".into())]);
        assert_eq!(total(&suites), "3 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn the_end_of_a_run_has_what_each_failed_test_said() {
        let output = "     Running tests/a.rs (target/debug/deps/a-01)
test first ... FAILED
test second ... FAILED

failures:

---- first stdout ----
what the agent said
thread 'first' panicked at tests/a.rs:3:5:
nothing was found
stack backtrace:
   0: std::panicking::begin_panic

---- second stdout ----
Error: no such file

failures:
    first
    second

test result: FAILED. 0 passed; 2 failed
     Running tests/b.rs (target/debug/deps/b-01)
test third ... ok
";
        let mut suites = read(output, false);
        suites.push(Suite::check("format", Err(anyhow::anyhow!("a.rs is not formatted"))));
        assert_eq!(
            reasons(&suites).unwrap_err().to_string(),
            "what follows did not hold

failed: a: tests/a.rs: first
    thread 'first' panicked at tests/a.rs:3:5:
    nothing was found

failed: a: tests/a.rs: second
    Error: no such file

failed: format
    a.rs is not formatted"
        );
        assert!(reasons(&[Suite::check("format", Ok(()))]).is_ok());
    }

    #[test]
    fn of_a_long_story_the_end_is_told() {
        let said: Vec<String> = (1..=100).map(|line| format!("line {line}")).collect();
        let failed = vec![("slow".to_owned(), said.join("\n"))];
        let text = reasons(&[Suite { failed, ..Suite::default() }]).unwrap_err().to_string();
        assert!(!text.contains("line 60\n") && text.contains("line 61\n") && text.ends_with("line 100"), "{text}");
    }

    #[test]
    fn a_run_that_dies_without_a_failed_test_is_a_failure() {
        let suites = read("error[E0425]: cannot find value\n", false);
        assert_eq!(total(&suites), "0 passed, 1 failed, 0 skipped");
        assert_eq!(total(&read("", true)), "0 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn a_test_that_reported_that_it_could_not_run_did_not_pass() {
        let passed = vec!["connect::over_ipv6".into(), "connect::io_uring".into()];
        let mut suite = Suite { name: "end-to-end".into(), passed, ..Suite::default() };
        assert!(suite.skip("io_uring", "io_uring is switched off"));
        assert!(!suite.skip("ipv6", "the end of a name is not a name"));
        assert_eq!(total(std::slice::from_ref(&suite)), "1 passed, 0 failed, 1 skipped");
        assert!(table(&[suite]).contains("could not run: end-to-end: connect::io_uring: io_uring is switched off\n"));
    }
}
