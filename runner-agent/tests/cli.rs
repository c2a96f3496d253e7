//! The command line from outside: exit codes, streams, generated files, and agents beside each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Every subcommand that people type.
const SUBCOMMANDS: [&str; 7] = ["run", "events", "policy", "doctor", "sink", "completions", "man"];

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
    assert!(can_run || diagnosis["can_block"] == false);
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

/// `policy explain`, and what it wrote as JSON.
fn explained(arguments: &[&str]) -> (Option<i32>, Value) {
    let out = agent(&[&["policy", "explain", "--format", "json"], arguments].concat());
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}")))
}

fn docs(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name).to_str().unwrap().to_owned()
}

#[test]
fn an_explanation_is_valid_json_of_the_documented_schema_and_ends_with_0_whatever_the_verdict() {
    let schema: Value = serde_json::from_slice(&std::fs::read(docs("explain.schema.json")).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (log, policy) = (docs("examples/job.jsonl"), docs("examples/policy.yml"));
    let judged = ["7", "8", "13", "14", "#15"].map(|seq| vec![log.as_str(), seq]);
    let asked = [
        vec!["--to", "downloads.example.org"],
        vec!["--to", "127.0.0.1:2375", "--mode", "audit"],
        vec!["--to", "10.20.1.1:80", "--protocol", "udp", "--exe", "/usr/bin/psql"],
        vec!["--to", "192.0.2.7", "--name", "a.mirrors.example.org", "--name", "b.example"],
        vec!["--to", "[2001:db8::1]", "--protocol", "icmpv6"],
    ];
    for arguments in judged.into_iter().chain(asked) {
        for policy in [&[][..], &["--policy", &policy]] {
            let (code, told) = explained(&[&arguments, policy].concat());
            let problems: Vec<String> = validator.iter_errors(&told).map(|error| error.to_string()).collect();
            assert_eq!((code, problems), (Some(0), Vec::new()), "{arguments:?}: {told:#}");
        }
    }
}

#[test]
fn a_line_of_a_log_is_explained_by_the_jobs_own_policy_while_it_is_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("p.yml");
    let text = "version: 1\nname: p\negress:\n  allow:\n    - { host: drop.example, why: test }\n";
    std::fs::write(&policy, text).unwrap();
    let (_, told) = explained(&["--to", "drop.example", "--policy", policy.to_str().unwrap()]);
    let log = directory.path().join("job.jsonl");
    let start = serde_json::json!({
        "seq": 1, "kind": "job", "job": "j", "state": "started", "mode": "block", "policy": "p",
        "policy_sha256": told["policy"]["sha256"], "policy_files": [policy, "presets/secrets"],
    });
    let dns = serde_json::json!({
        "seq": 2, "kind": "dns", "job": "j", "server": "198.51.100.53", "name": "drop.example", "query_type": "A",
        "answer_code": "NoError", "addresses": ["203.0.113.7"], "trusted": false,
    });
    let connect = serde_json::json!({
        "seq": 3, "kind": "connect", "job": "j", "verdict": "blocked", "rule": "default",
        "destination": { "ip": "203.0.113.7", "port": 443, "protocol": "tcp", "class": "public" },
    });
    std::fs::write(&log, format!("{start}\n{dns}\n{connect}\n")).unwrap();
    let (_, told) = explained(&[log.to_str().unwrap(), "3"]);
    assert_eq!((&told["policy"]["of_the_job"], &told["policy"]["mode"]), (&true.into(), &"block".into()));
    let explanation = &told["explanations"][0];
    assert_eq!(explanation["recorded"], explanation["now"]);
    assert_eq!(explanation["near"][0]["rule"]["id"], "p/egress.allow[0]");
    let why = "drop.example does not count for this address: the answer at #2 came from 198.51.100.53, no resolver of the \
               runner's";
    assert_eq!(explanation["near"][0]["why"], why);

    std::fs::write(&policy, text.replace("test", "changed")).unwrap();
    let (code, told) = explained(&[log.to_str().unwrap(), "3"]);
    assert_eq!((code, &told["policy"]), (Some(0), &Value::Null));
    assert!(told["notes"][0].as_str().unwrap().contains("have changed since (sha256 "), "{told:#}");
    assert_eq!(told["explanations"][0]["allow"]["line"], "- { cidr: 203.0.113.7/32, ports: [443], why: \"…\" }");
    std::fs::remove_file(&policy).unwrap();
    let (_, told) = explained(&[log.to_str().unwrap(), "3"]);
    assert!(told["notes"][0].as_str().unwrap().contains("is not here"), "{told:#}");
}

#[test]
fn what_cannot_be_explained_is_a_usage_error_that_says_what_there_is() {
    let log = docs("examples/job.jsonl");
    for (arguments, told) in [
        (vec![log.as_str(), "99"], "has no line with the number 99; there are 1 to 18"),
        (vec![log.as_str(), "3"], "line 3 is `exec`, which no policy decides"),
        (vec!["absent.jsonl", "1"], "can't read the log absent.jsonl: No such file"),
        (vec![log.as_str()], "<SEQ>"),
        (vec![], "--to"),
        (vec!["--to", "a.example", "--name", "b.example"], "--name is a name that led to an address"),
        (vec!["--to", "*.example.org"], "ask for one of them"),
        (vec!["--to", "a.example", "--policy", "absent.yml"], "absent.yml:1:1: there is no such file"),
    ] {
        let out = agent(&[&["policy", "explain"], &arguments[..]].concat());
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()), "{arguments:?}");
        assert!(text(&out.stderr).contains(told), "{arguments:?}: {}", text(&out.stderr));
    }
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

#[test]
fn a_policy_that_passes_check_with_its_local_include_is_a_policy_for_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("shared")).unwrap();
    let base = "version: 1\nname: base\negress: { allow: [{ host: a.example, why: the test }] }\n";
    for (file, text) in [
        ("base.yml", base),
        ("shared/elsewhere.yml", &base.replace("base", "elsewhere")),
        ("near.yml", "version: 1\nname: near\ninclude: [base]\n"),
        ("far.yml", "version: 1\nname: far\ninclude: [elsewhere]\n"),
    ] {
        std::fs::write(path(file), text).unwrap();
    }
    // What isn't there is told before anything needs privileges; all else is the machine's business and no usage error.
    let usage = |arguments: &[&str]| agent(arguments).status.code() == Some(2);
    let (near, far, shared) = (path("near.yml"), path("far.yml"), path("shared"));
    assert!(!usage(&["policy", "check", &near]));
    assert!(!usage(&["run", "--policy", &near, "--", "true"]));
    assert!(usage(&["policy", "check", &far]));
    assert!(usage(&["run", "--policy", &far, "--", "true"]));
    assert!(!usage(&["policy", "check", "--policy-dir", &shared, &far]));
    assert!(!usage(&["run", "--policy-dir", &shared, "--policy", &far, "--", "true"]));
}

#[test]
fn each_package_manager_is_asked_once_however_many_policies_a_check_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (calls, bin) = (folder.path().join("calls"), folder.path().join("bin"));
    std::fs::create_dir_all(folder.path().join("policies")).unwrap();
    std::fs::create_dir(&bin).unwrap();
    for (program, answer) in [("npm", "https://registry.example/"), ("python3", "https://index.example/simple")] {
        let script = format!("#!/bin/sh\necho {program} >>{}\necho {answer}\n", calls.display());
        end_to_end::binary::write(&bin.join(program), script.as_bytes());
    }
    let policy = |name: &str| {
        let file = folder.path().join(name);
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let rules = "[{ ecosystem: npm, why: test }, { ecosystem: pip, why: test }]";
        let when = if stem == "floor" { "" } else { &format!("applies-to:\n  job: [{stem}]\n") };
        std::fs::write(&file, format!("version: 1\nname: {stem}\n{when}egress:\n  allow: {rules}\n")).unwrap();
        file
    };
    let files = [policy("policies/one.yml"), policy("policies/two.yml"), policy("floor.yml")];
    let at = |below: &str| folder.path().join(below).display().to_string();
    let config = folder.path().join("config.yml");
    std::fs::write(&config, format!("version: 1\npolicies: {}\nfloor: {}\n", at("policies"), at("floor.yml"))).unwrap();
    let files = files.iter().map(|file| file.to_str().unwrap());
    for words in [
        vec!["daemon", "--check", "--config", config.to_str().unwrap()],
        ["policy", "check"].into_iter().chain(files).collect(),
    ] {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_runner-agent"));
        let out = agent.args(&words).env_clear().env("PATH", &bin).env("HOME", folder.path()).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let mut asked: Vec<String> = std::fs::read_to_string(&calls).unwrap().lines().map(str::to_owned).collect();
        asked.sort();
        let often = asked.clone();
        asked.dedup();
        assert_eq!(often, asked, "{words:?}");
        assert!(!asked.is_empty(), "this machine's own npmrc and pip.conf answer already");
        std::fs::remove_file(&calls).unwrap();
    }
}
