//! The command line from outside: exit codes, streams, generated files, and agents beside each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Every subcommand that people type.
const SUBCOMMANDS: [&str; 6] = ["run", "events", "policy", "doctor", "completions", "man"];

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runner-agent")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/job.jsonl")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `events -` over these bytes.
fn events_of(log: &[u8], arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_runner-agent"))
        .args(["events", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(log).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn manual_pages_and_completions_name_each_subcommand() {
    let directory = tempfile::tempdir().unwrap();
    let out = agent(&["man", "--out-dir", directory.path().to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    let main = text(&agent(&["man"]).stdout);
    for name in SUBCOMMANDS {
        let page = directory.path().join(format!("runner-agent-{name}.1"));
        assert!(page.is_file(), "no page for {name}");
        assert!(main.contains(&format!("runner\\-agent\\-{name}(1)")), "the main page does not name {name}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&agent(&["completions", shell]).stdout);
        for name in SUBCOMMANDS {
            assert!(script.contains(name), "{shell} does not complete {name}");
        }
    }
}

#[test]
fn the_sample_log_reads_without_a_flaw_and_json_passes_its_lines_through() {
    let log = sample();
    let out = agent(&["events", log.to_str().unwrap(), "--format", "json"]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
    assert_eq!(out.stdout, std::fs::read(&log).unwrap());
}

#[test]
fn standard_output_that_is_no_terminal_gets_no_colours() {
    let out = agent(&["events", sample().to_str().unwrap()]);
    assert!(!out.stdout.contains(&0x1b));
}

#[test]
fn a_bad_line_costs_no_other_and_ends_with_1() {
    let mut log = std::fs::read(sample()).unwrap();
    log.splice(0..0, *b"\xff\xfe not json\n");
    let out = events_of(&log, &["--format", "json"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(out.stdout, std::fs::read(sample()).unwrap());
    assert!(text(&out.stderr).contains("line 1: not a line of an event log (byte 1 is not UTF-8)"));
}

#[test]
fn a_log_cut_at_any_byte_is_read_up_to_there() {
    let log = std::fs::read(sample()).unwrap();
    for cut in [1, 100, 1000, log.len() - 1] {
        let lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').count() - 1;
        let out = events_of(&log[..cut], &["--format", "json"]);
        // A last line that lacks only its line feed is whole.
        assert!(lines(&out.stdout) >= lines(&log[..cut]), "{cut}");
        let expected = i32::from(cut != log.len() - 1);
        assert_eq!(out.status.code(), Some(expected), "{cut}: {}", text(&out.stderr));
    }
}

#[test]
fn a_missing_file_and_a_wrong_filter_are_usage_errors_that_say_what_would_be_right() {
    let out = agent(&["events", "absent.jsonl"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("can't read the log absent.jsonl: No such file"), "{out:?}");
    let out = agent(&["events", "-", "--severity", "loud"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("info, low, medium, high, critical"), "{out:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let log = std::fs::read(sample()).unwrap().repeat(200);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log).unwrap();
    let script = r#""$0" events "$1" --format json | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}""#;
    let out = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_runner-agent")])
        .arg(file.path())
        .output()
        .unwrap();
    assert_eq!(text(&out.stdout).trim(), "0", "{out:?}");
}

#[test]
fn following_ends_with_the_line_that_ends_the_job() {
    let log = std::fs::read(sample()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let half = log.len() / 2;
    std::fs::write(file.path(), &log[..half]).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_runner-agent"))
        .args(["events", "--follow", "--format", "json"])
        .arg(file.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::fs::OpenOptions::new().append(true).open(file.path()).unwrap().write_all(&log[half..]).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), out.stdout), (Some(0), log));
}

#[test]
fn the_diagnosis_is_valid_json_of_the_documented_schema() {
    let out = agent(&["doctor", "--json"]);
    let diagnosis: Value = serde_json::from_slice(&out.stdout).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator.iter_errors(&diagnosis).map(|error| error.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new());
    let can_run = diagnosis["can_run"].as_bool().unwrap();
    assert_eq!(out.status.code(), Some(i32::from(!can_run)));
    assert_eq!(diagnosis["tier"].is_null(), !can_run);
}

#[test]
fn without_type_information_the_diagnosis_says_so_and_ends_with_1() {
    let out = agent(&["doctor", "--json", "--btf", "absent"]);
    assert_eq!(out.status.code(), Some(1));
    let diagnosis: Value = serde_json::from_slice(&out.stdout).unwrap();
    let checks = diagnosis["checks"].as_array().unwrap();
    let btf = checks.iter().find(|check| check["id"] == "btf").unwrap();
    assert_eq!(btf["status"], "failed");
    assert!(btf["fix"].as_str().unwrap().contains("CONFIG_DEBUG_INFO_BTF"));
    assert!(!diagnosis["blind_spots"].as_array().unwrap().is_empty());
}

/// The self-check's file once lay in a directory that all agents shared: one removed it while another opened it.
#[test]
fn several_agents_arm_at_the_same_time() {
    if let Some(reason) = common::why_not_here() {
        return common::could_not_run("several_agents_arm_at_the_same_time", reason);
    }
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_runner-agent"))
            .args(["run", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let agents: Vec<_> = (0..6).map(|_| start()).collect();
    for agent in agents {
        let out = agent.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    }
}
