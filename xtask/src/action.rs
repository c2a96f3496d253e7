//! The tests of the GitHub Action: node runs them, against a stand-in and against the binary that was built.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::step::root;
use crate::suite::Suite;
use crate::{setup, step};

const NAME: &str = "the GitHub Action";

/// The oldest node that the tests run on; the Action asks its runner for a newer one.
const NODE: u32 = 20;

/// What has a shape that others have written down: the schema, and the files.
const SHAPES: [(&str, &str); 2] =
    [("vendor.github-actions", "action.yml"), ("vendor.github-workflows", "examples/github")];

/// Whether the Action and the workflows that show its use have the shapes that their reader wants.
pub fn shapes() -> Suite {
    let mut suite = Suite { name: "the GitHub Action's files".to_owned(), ..Suite::default() };
    let options = setup::Options { with_action: true, ..setup::Options::default() };
    let program = match setup::run(&options).and_then(|()| setup::action::check_jsonschema()) {
        Ok(program) if program.is_file() => program,
        Ok(_) => {
            suite.skipped.push(("all".to_owned(), "check-jsonschema could not be installed".to_owned()));
            return suite;
        }
        Err(error) => return Suite::check(&suite.name, Err(error)),
    };
    for (schema, place) in SHAPES {
        for file in files(&root().join(place)) {
            let name = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
            let mut check = Command::new(&program);
            check.args(["--builtin-schema", schema]).arg(&file).stdin(Stdio::null());
            suite.take(&name, step::output(&mut check).map(drop));
        }
    }
    suite
}

/// The file itself, or the YAML files of a folder.
fn files(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else { return vec![place.to_owned()] };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yml"));
    files.sort();
    files
}

/// Runs them all.
pub fn tests(binary: Option<&Path>) -> Result<Suite> {
    eprintln!("── {NAME}");
    if let Some(reason) = why_not_here() {
        return Ok(Suite { name: NAME.to_owned(), skipped: vec![("all".to_owned(), reason)], ..Suite::default() });
    }
    let folder = root().join("action/test");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".test.mjs")));
    files.sort();
    let mut node = Command::new("node");
    // One file at a time: some measure how long something takes, and this machine may have two processors.
    node.args(["--test", "--test-reporter=tap", "--test-concurrency=1"]).args(files).current_dir(root());
    node.stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(binary) = binary {
        node.env("RUNNER_AGENT_BINARY", binary);
    }
    let mut child = node.spawn().context("node can't be started")?;
    let mut suite = Suite { name: NAME.to_owned(), ..Suite::default() };
    let mut speaks = false;
    for line in BufReader::new(child.stdout.take().context("node's output")?).lines() {
        let line = line.context("node's output")?;
        println!("{line}");
        take(&mut suite, &mut speaks, &line);
    }
    if !child.wait()?.success() && suite.failed.is_empty() {
        suite.take("all", Err(anyhow!("node ended badly")));
    }
    if suite.passed.is_empty() && suite.failed.is_empty() {
        suite.take("all", Err(anyhow!("no test was run")));
    }
    Ok(suite)
}

/// Whole jobs as a runner's worker runs them, with this binary: both modes, passing and failing, and their table.
pub fn cases(binary: &Path) -> Result<()> {
    if let Some(reason) = why_not_here() {
        bail!("jobs with the Action can't run here: {reason}");
    }
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec", "action/test/cases.test.mjs"]).current_dir(root());
    step::run("whole jobs with the GitHub Action", node.env("RUNNER_AGENT_BINARY", binary).stdin(Stdio::null()))
}

/// Takes one line of TAP (version 13). Tests within a test are told by it. Below each test stands more, indented: why, where it failed,
/// as it did where `speaks` says so.
fn take(suite: &mut Suite, speaks: &mut bool, line: &str) {
    let (held, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => {
            if let (true, Some(of_it), Some((_, said))) = (*speaks, line.strip_prefix("  "), suite.failed.last_mut()) {
                said.push_str(of_it);
                said.push('\n');
            }
            return;
        }
    };
    *speaks = !held;
    let name = rest.split_once(" - ").map_or(rest, |(_, name)| name);
    match name.split_once(" # SKIP") {
        Some((name, reason)) => suite.skipped.push((name.to_owned(), reason.trim().to_owned())),
        None if held => suite.passed.push(name.to_owned()),
        None => suite.failed.push((name.to_owned(), String::new())),
    }
}

fn why_not_here() -> Option<String> {
    let out = match Command::new("node").arg("--version").output() {
        Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned(),
        Err(error) => return Some(format!("node can't be started: {error}")),
    };
    let major = out.trim().strip_prefix('v').and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE => None,
        _ => Some(format!("node is {}, and the tests take {NODE} or newer", out.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_what_tap_says_of_each() {
        let (mut suite, mut speaks) = (Suite::default(), false);
        for line in [
            "TAP version 13",
            "# Subtest: a",
            "    ok 1 - inner",
            "ok 1 - a",
            "not ok 2 - b",
            "  ---",
            "  error: it was not there",
            "ok 3 - c # SKIP no root",
            "  ---",
            "  duration_ms: 1",
        ] {
            take(&mut suite, &mut speaks, line);
        }
        assert_eq!(suite.passed, ["a"]);
        assert_eq!(suite.failed, [("b".to_owned(), "---\nerror: it was not there\n".to_owned())]);
        assert_eq!(suite.skipped, [("c".to_owned(), "no root".to_owned())]);
    }
}
