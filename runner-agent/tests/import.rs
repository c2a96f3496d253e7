//! `policy import`: what is made of the lists of other actions, compared with files, with the loader and with the Action.
//!
//! `tests/import` holds inputs; `NAME.out.yml` and `NAME.err` beside them are what is printed. `UPDATE_GOLDEN=1` writes them
//! anew, to be looked at in the diff.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use runner_agent::config::{Problem, Runtime, load};
use runner_agent::policy::egress::{Destination, Ports, Protocol, ProtocolMatch, Target};
use runner_agent::policy::{Access, AddressClass, EgressRule, Mode, Policy, Verdict};

const BINARY: &str = env!("CARGO_BIN_EXE_runner-agent");

/// Input, arguments, and the exit code.
const CASES: &[(&str, &[&str], i32)] = &[
    ("harden-runner.yml", &["--from", "harden-runner", "--job", "build", "--name", "my-build"], 0),
    ("harden-runner-list.txt", &["--from", "harden-runner"], 0),
    ("bullfrog.yml", &["--from", "bullfrog"], 0),
    ("cargowall.yml", &["--from", "cargowall"], 0),
    ("cargowall-list.txt", &["--from", "cargowall"], 0),
    ("cargowall-config.json", &["--from", "cargowall"], 0),
    ("cargowall-config-wrong.json", &["--from", "cargowall"], 2),
    ("hostile.yml", &["--from", "bullfrog"], 0),
    ("refused.txt", &["--from", "harden-runner"], 2),
    ("several.yml", &["--from", "harden-runner"], 2),
    ("store.yml", &["--from", "harden-runner"], 2),
];

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn action_goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../action/test/golden")
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `policy import`, with a text on standard input.
fn import(args: &[&str], input: &str) -> Ran {
    let mut child = Command::new(BINARY)
        .args(["policy", "import"])
        .args(args)
        .current_dir(files())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that names a file reads no standard input, and may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn is_golden(name: &str, text: &str) {
    let file = files().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "differs from tests/import/{name}");
}

/// A policy as `run` would have it, on a machine where nothing is.
fn loaded(file: PathBuf) -> Policy {
    let runtime = Runtime {
        vars: BTreeMap::new(),
        home: "/nonexistent".into(),
        path: Vec::new(),
        root: "/nonexistent".into(),
        policy_dir: None,
        workspaces: Vec::new(),
        timeout: Duration::from_secs(1),
    };
    let told = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");
    load(&[file], &runtime).map_or_else(|problems| panic!("{}", told(problems)), |(policy, _)| policy)
}

fn loaded_text(text: &str) -> Policy {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.yml");
    std::fs::write(&file, text).unwrap();
    loaded(file)
}

#[test]
fn what_is_printed_is_what_it_was_and_passes_the_check() {
    for (name, args, code) in CASES {
        let ran = import(&[args, [*name].as_slice()].concat(), "");
        assert_eq!(ran.code, *code, "{name}: {}", ran.err);
        let stem = name.rsplit_once('.').unwrap().0;
        is_golden(&format!("{stem}.err"), &ran.err);
        if *code != 0 {
            assert_eq!(ran.out, "", "{name}: what is not right has no policy");
            continue;
        }
        is_golden(&format!("{stem}.out.yml"), &ran.out);
        let written = files().join(format!("{stem}.out.yml"));
        let check = Command::new(BINARY).args(["policy", "check"]).arg(written).output().unwrap();
        assert!(check.status.success(), "{name}: {}", String::from_utf8_lossy(&check.stdout));
    }
}

#[test]
fn standard_input_is_read_as_a_file_is() {
    let text = std::fs::read_to_string(files().join("cargowall-list.txt")).unwrap();
    let from_file = import(&["--from", "cargowall", "cargowall-list.txt"], "");
    for args in [["--from", "cargowall", "-"].as_slice(), &["--from", "cargowall"]] {
        let ran = import(args, &text);
        assert_eq!(ran.code, 0);
        assert_eq!(ran.out, from_file.out.replace("cargowall-list.txt", "standard input"));
    }
}

#[test]
fn nothing_in_a_file_becomes_a_key_of_the_policy() {
    let policy = loaded(files().join("hostile.out.yml"));
    assert_eq!(policy.mode, Mode::Block);
    let own: Vec<&EgressRule> = policy.egress.allow.iter().filter(|rule| rule.id.starts_with("imported/")).collect();
    assert_eq!(own.len(), 1, "{own:#?}");
}

#[test]
fn the_json_has_the_policy_its_rules_and_every_problem_with_its_place() {
    let ran = import(&["--from", "cargowall", "--format", "json", "cargowall.yml"], "");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let golden = std::fs::read_to_string(files().join("cargowall.out.yml")).unwrap();
    assert_eq!((ran.code, ran.err.as_str(), json["policy"].as_str()), (0, "", Some(golden.as_str())));
    assert_eq!((&json["version"], &json["passed"], &json["mode"]), (&1.into(), &true.into(), &"block".into()));
    assert_eq!(json["rules"].as_array().unwrap().len(), loaded_own(&golden).len());
    let told = std::fs::read_to_string(files().join("cargowall.err")).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), told.lines().count());
    assert_eq!(json["problems"][0]["severity"], "warning");

    let ran = import(&["--from", "cargowall", "--format", "json", "several.yml"], "");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &json["passed"], &json["policy"]), (2, &false.into(), &serde_json::Value::Null));
    assert_eq!(json["problems"][0]["line"], 4);
}

#[test]
fn a_file_of_cargowalls_own_closes_what_it_denied() {
    let policy = loaded(files().join("cargowall-config.out.yml"));
    let judged = |address: &str, port: u16, names: &[&str]| {
        let address = address.parse().unwrap();
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let destination = Destination { address, port, protocol: Protocol::Tcp, names: &names, exe: None };
        policy.egress.judge(policy.mode, &destination).verdict == Verdict::Allowed
    };
    assert!(judged("198.51.100.7", 443, &[]));
    assert!(!judged("198.51.100.129", 443, &[]), "the half that was denied");
    assert!(!judged("198.51.100.200", 22, &[]));
    assert!(judged("10.1.2.3", 5432, &[]));
    assert!(judged("203.0.113.1", 443, &["example.net"]));
    assert!(judged("203.0.113.1", 443, &["ok.telemetry.example.net"]));
    for name in ["telemetry.example.net", "below.telemetry.example.net", "other.example.net"] {
        assert!(!judged("203.0.113.1", 443, &[name]), "{name}");
    }
    assert!(!judged("198.51.100.129", 443, &["example.net"]), "a name that leads into a denied network");
}

type Meaning = (Target, Ports, AddressClass, ProtocolMatch);

/// The rules of the file itself, without those of what it includes, in an order of their own.
fn loaded_own(text: &str) -> Vec<Meaning> {
    let policy = loaded_text(text);
    let own = format!("{}/", policy.name);
    let meaning = |rule: &EgressRule| (rule.target.clone(), rule.ports.clone(), rule.class, rule.protocol);
    let mut found: Vec<Meaning> =
        policy.egress.allow.iter().filter(|rule| rule.id.starts_with(&own)).map(meaning).collect();
    // JSON has no order of keys, so the two lists of a step may come either way.
    found.sort_by_key(|meaning| format!("{meaning:?}"));
    found
}

fn lists() -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(action_goldens().join("lists.json")).unwrap()).unwrap()
}

#[test]
fn the_action_and_the_import_make_the_same_rules_of_the_same_lists() {
    for (file, inputs) in lists()["policies"].as_object().unwrap() {
        let peer = file.strip_suffix(".yml").unwrap();
        let mut inputs = inputs.as_object().unwrap().clone();
        inputs.remove("egress-dialect");
        // JSON is YAML.
        let ran = import(&["--from", peer], &serde_json::to_string_pretty(&inputs).unwrap());
        assert_eq!(ran.code, 0, "{peer}: {}", ran.err);
        let theirs = std::fs::read_to_string(action_goldens().join(file)).unwrap();
        let mut expected = loaded_own(&theirs);
        // The one entry that the Action reads wider than it was, and says so; a file leaves it to whoever reads it.
        if peer == "cargowall" {
            let wider = Target::Host(runner_agent::policy::HostPattern::parse("*.one.example.org").unwrap());
            let before = expected.len();
            expected.retain(|(target, ..)| *target != wider);
            assert_eq!(expected.len() + 1, before);
            assert!(ran.err.contains("cargowall means one label below it"), "{}", ran.err);
        } else {
            assert_eq!(ran.err, "", "{peer}");
        }
        assert_eq!(loaded_own(&ran.out), expected, "{peer}");
        let (ours, theirs) = (loaded_text(&ran.out), loaded_text(&theirs));
        assert_eq!((ours.mode, ours.guard.sudo), (theirs.mode, theirs.guard.sudo), "{peer}");
        assert_eq!(ours.guard.sudo, Access::Deny, "{peer}");
    }
}

#[test]
fn what_the_action_refuses_the_import_refuses() {
    for row in lists()["wrong"].as_array().unwrap() {
        let [peer, entry] = [0, 1].map(|index| row[index].as_str().unwrap());
        let input = match peer {
            "harden-runner" => "allowed-endpoints",
            "bullfrog" => "allowed-domains",
            _ => "allowed-hosts",
        };
        let ran = import(&["--from", peer], &serde_json::json!({ input: entry }).to_string());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{peer}: {entry}: {}", ran.err);
        assert!(ran.err.contains("warning: "), "{peer}: {entry}: {}", ran.err);
    }
}
