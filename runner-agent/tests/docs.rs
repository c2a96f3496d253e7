//! The examples in README.md and docs/ run, and print what they show.
//!
//! A fenced block marked `console` is a session: lines after `$ ` are commands for bash, the rest is what they print, on
//! both streams. `[..]` stands for anything within a line, a line `...` for any number of lines. Blocks marked
//! `console root` load probes; they run as root where cgroup v2 is mounted. A session starts in a directory of its own that
//! holds `docs` and `policies`, with a made-up home in it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod common;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{could_not_run, why_not_here};

const BINARY: &str = env!("CARGO_BIN_EXE_runner-agent");

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A session of a document.
struct Session {
    place: String,
    needs_root: bool,
    steps: Vec<Step>,
}

struct Step {
    command: String,
    expected: Vec<String>,
}

fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(workspace().join("docs")).unwrap();
    let mut found: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.push(workspace().join("README.md"));
    found.sort();
    found
}

fn sessions(document: &Path) -> Vec<Session> {
    let text = std::fs::read_to_string(document).unwrap();
    let name = document.file_name().unwrap().to_string_lossy();
    let mut found: Vec<Session> = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            is_inside = !is_inside && info.split(' ').next() == Some("console");
            if is_inside {
                let place = format!("{name}:{}", index + 1);
                found.push(Session { place, needs_root: info.ends_with(" root"), steps: Vec::new() });
            }
        } else if is_inside {
            let steps = &mut found.last_mut().unwrap().steps;
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
                (None, Some(step)) => step.expected.push(line.to_owned()),
                (None, None) => panic!("{name}:{}: a session begins with a command", index + 1),
            }
        }
    }
    found
}

/// Runs a session; what differs is returned.
fn run(session: &Session) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    for name in ["docs", "policies"] {
        symlink(workspace().join(name).canonicalize().unwrap(), directory.path().join(name)).unwrap();
    }
    let home = directory.path().join("home");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    std::fs::write(home.join(".aws/credentials"), "[default]\naws_access_key_id = dummy\n").unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", Path::new(BINARY).parent().unwrap().display());
    let mut last_code = 0;
    for Step { command, expected } in &session.steps {
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1; (exit {last_code}); {command}")])
            .current_dir(directory.path())
            .env_clear()
            .env("PATH", &path)
            .env("HOME", &home)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("bash: {error}"))?;
        last_code = output.status.code().unwrap_or(1);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = printed.lines().collect();
        if !matches(expected, &lines) {
            let expected = expected.join("\n");
            return Err(format!("{}: $ {command}\n--- shown:\n{expected}\n--- printed:\n{printed}", session.place));
        }
    }
    Ok(())
}

/// Whether lines are as shown; a line `...` stands for any number of them.
fn matches(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, after)| line_matches(first, line) && matches(rest, after))
        }
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let mut parts = expected.trim_end().split("[..]");
    let line = line.trim_end();
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn run_all(which: impl Fn(&Session) -> bool) {
    let sessions: Vec<Session> = documents().iter().flat_map(|path| sessions(path)).filter(|it| which(it)).collect();
    assert!(!sessions.is_empty(), "no examples were found");
    let mut problems = String::new();
    for session in &sessions {
        if let Err(problem) = run(session) {
            let _ = writeln!(problems, "{problem}");
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn examples_that_need_no_root_print_what_they_show() {
    run_all(|session| !session.needs_root);
}

#[test]
fn examples_that_load_probes_print_what_they_show() {
    match why_not_here() {
        Some(reason) => could_not_run("examples_that_load_probes_print_what_they_show", reason),
        None => run_all(|session| session.needs_root),
    }
}

#[test]
fn each_capability_has_a_page_with_an_example_that_runs() {
    let names: Vec<String> = documents()
        .iter()
        .filter(|path| !sessions(path).is_empty())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let pages = [
        "README.md",
        "block.md",
        "doctor.md",
        "event-log.md",
        "events.md",
        "explain.md",
        "findings.md",
        "import.md",
        "policy.md",
        "guard.md",
        "receipt.md",
        "run.md",
        "tiers.md",
        "verify.md",
    ];
    for page in pages {
        assert!(names.iter().any(|name| name == page), "{page} has no example: {names:?}");
    }
}

#[test]
fn every_finding_and_every_kind_of_line_is_documented() {
    let read = |name: &str| std::fs::read_to_string(workspace().join("docs").join(name)).unwrap();
    let findings = read("findings.md");
    for id in runner_agent::policy::DETECTORS {
        assert!(findings.contains(&format!("## `{id}`")), "docs/findings.md has no section on {id}");
    }
    let log = read("event-log.md");
    for kind in runner_agent::sink::wire::KINDS {
        assert!(log.contains(&format!("### `{kind}`")), "docs/event-log.md has no section on {kind}");
    }
    let doctor = read("doctor.md");
    for spot in runner_agent::doctor::tier::BLIND_SPOTS {
        assert!(doctor.contains(&format!("`{}`", spot.id)), "docs/doctor.md doesn't name {}", spot.id);
    }
}

#[test]
fn every_option_stands_on_the_page_of_its_command() {
    let commands: [(&[&str], &str); 7] = [
        (&["run"], "run"),
        (&["events"], "events"),
        (&["doctor"], "doctor"),
        (&["verify"], "verify"),
        (&["policy", "check"], "policy"),
        (&["policy", "explain"], "explain"),
        (&["policy", "import"], "import"),
    ];
    for (command, page_name) in commands {
        let out = Command::new(BINARY).args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(out.stdout).unwrap();
        let page = std::fs::read_to_string(workspace().join(format!("docs/{page_name}.md"))).unwrap();
        let words = help.lines().flat_map(|line| line.trim_start().split([' ', ',', '.']).take(3));
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            let is_common = matches!(option, "--help" | "--verbose" | "--version");
            assert!(is_common || page.contains(option), "docs/{page_name}.md does not have {option}");
        }
    }
}

#[test]
fn a_line_with_holes_matches_what_fills_them_and_nothing_else() {
    assert!(line_matches("a [..] c", "a bb c"));
    assert!(!line_matches("a [..] c", "a bb d"));
    assert!(line_matches("[..]", "anything"));
    assert!(!line_matches("a", "a b"));
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(matches(&shown(&["a", "...", "d"]), &["a", "b", "c", "d"]));
    assert!(!matches(&shown(&["a", "..."]), &["b"]));
}
