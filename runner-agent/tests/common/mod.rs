//! What tests share that load probes.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and tells what it left out")]

use std::io::Write as _;

/// Where a test says that it could not run.
const REPORT: &str = "RUNNER_AGENT_TEST_REPORT";

/// Why probes can't be loaded here, if they can't.
pub fn why_not_here() -> Option<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)).unwrap_or("?");
    if user != "0" {
        return Some("loading programs into the kernel needs root");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts.contains(" - cgroup2 ") { None } else { Some("no cgroup v2 hierarchy is mounted") }
}

/// Tells that a test was left out, and why.
pub fn could_not_run(test: &str, reason: &str) {
    eprintln!("could not run: {test}: {reason}");
    if let Some(report) = std::env::var_os(REPORT) {
        let mut report = std::fs::OpenOptions::new().create(true).append(true).open(report).unwrap();
        writeln!(report, "could-not-run: {test}: {reason}").unwrap();
    }
}
