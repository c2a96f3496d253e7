//! What is asked for wrongly, each with its message and its exit code.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use end_to_end::{Daemon, binary, needs};
use serde_json::Value;

use crate::{ACT, CLOSED, TRY, daemon};

#[test]
fn a_job_begins_once_and_begins_no_other() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let script = "start >/dev/null || exit 9; start; echo again: $?; bash -c \"$(declare -f start); start; echo inner: \\$?\"; stop >/dev/null";
    let worked = daemon.run(script, &[]);
    assert!(worked.stdout.contains("again: 2\n") && worked.stdout.contains("inner: 125\n"), "{worked:?}");
    assert!(worked.stderr.contains("has this worker already"), "{worked:?}");
    assert!(worked.stderr.contains("a job can't begin another"), "{worked:?}");
    daemon.wait_until_idle();
    let log = daemon.log();
    let told = log.findings("agent-tampering").any(|line| line.text("message").contains("asked for a job of its own"));
    assert!(told, "an attempt at another policy is found");
}

#[test]
fn a_step_may_join_the_job_that_a_hook_has_begun_and_change_nothing_about_it() {
    needs!();
    let audit = "version: 1\nname: audited\nmode: audit\n";
    let daemon = daemon(&[audit], "");
    fs::write(daemon.path("mine.yml"), audit.replace("audited", "mine")).expect("a policy can be written");
    let script = "start --join --format json || exit 9; start --join --format json; echo same: $?; start --join --mode block; \
                  echo block: $?; start --join --policy mine.yml; echo policy: $?; stop --only-tell | grep -c mode; stop >/dev/null";
    let worked = daemon.run(script, &[]);
    let jobs: Vec<Value> = worked
        .stdout
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(jobs.len(), 2, "{worked:?}");
    for key in ["job", "mode", "policy", "trust", "log"] {
        assert_eq!(jobs[0][key], jobs[1][key], "{worked:?}");
    }
    assert!(worked.stdout.ends_with("same: 0\nblock: 125\npolicy: 2\n1\n"), "{worked:?}");
    assert!(worked.stderr.contains("a job's mode stays as it is"), "{worked:?}");
    assert!(worked.stderr.contains("a policy can be given only there"), "{worked:?}");
    daemon.wait_until_idle();
    assert!(daemon.log().finding_ids().is_empty(), "who only asks announces nothing");
}

#[test]
fn whoever_may_not_begin_jobs_and_whoever_belongs_to_none_are_told_so() {
    needs!();
    let daemon = daemon(&[CLOSED], "owner: 12345\n");
    let refused =
        daemon.worker("start; echo start: $?; stop; echo stop: $?", &[]).uid(12346).output().expect("a shell");
    let out = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(out, "start: 125\nstop: 125\n", "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("uid 12346 may not begin jobs here: root and uid 12345 may"), "{said}");
    assert!(said.contains("belongs to no job of this daemon"), "{said}");
    let script = format!("{TRY} start >/dev/null; echo start: $?; try owner; stop >/dev/null; echo stop: $?");
    let owned = daemon.worker(&script, &[]).uid(12345).output().expect("a shell");
    let out = String::from_utf8_lossy(&owned.stdout);
    assert_eq!(out, "start: 0\nowner: refused\nstop: 0\n", "{owned:?}");
}

#[test]
fn without_a_daemon_the_caller_chooses_between_failing_and_a_warning() {
    needs!();
    let daemon = Daemon::prepared(binary::agent(ACT), &[CLOSED], "");
    let script = "start; echo fail: $?; start --on-failure warn --format json; echo warn: $?; stop; echo stop: $?";
    let worked = daemon.run(script, &[]);
    assert!(worked.stdout.starts_with("fail: 125\n{\"reason\":\"no daemon answers at"), "{worked:?}");
    assert!(worked.stdout.contains("\"state\":\"unwatched\"}\nwarn: 0\nstop: 125\n"), "{worked:?}");
    assert!(worked.stderr.contains("start one with `runner-agent daemon`"), "{worked:?}");
}

#[test]
fn hostile_environments_are_refused_in_words_and_harm_no_other_job() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let long = "x".repeat(100 << 10);
    let github = |name: &'static str, value: &str| [("GITHUB_ACTIONS", "true".to_owned()), (name, value.to_owned())];
    for (variables, code, told) in [
        (github("GITHUB_REPOSITORY", &long), 2, "GITHUB_REPOSITORY"),
        (github("GITHUB_EVENT_PATH", "/etc"), 2, "GITHUB_EVENT_PATH"),
        (github("GITHUB_EVENT_PATH", "/dev/zero"), 2, "GITHUB_EVENT_PATH"),
        (github("GITHUB_REPOSITORY", "a/b\n::error::$(reboot)`id`"), 0, ""),
    ] {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
        let worked = daemon.run("start >/dev/null; code=$?; stop >/dev/null 2>&1; exit $code", &variables);
        assert_eq!(worked.code, Some(code), "{told}: {worked:?}");
        assert!(worked.stderr.contains(told), "{worked:?}");
        assert!(worked.stderr.len() < 4096, "a message is for people");
    }
    daemon.wait_until_idle();
    assert_eq!(daemon.answer(&["status"])["state"], "ready");
}

#[test]
fn a_policy_that_a_job_brings_narrows_and_never_widens() {
    needs!();
    let floor = "version: 1\nname: outer\nmode: block\negress:\n  allow:\n    \
                 - { host: \"*.good.test\", ports: [443], why: outer }\n";
    let daemon = daemon(&[floor], "");
    let with = |name: &str, rule: &str| {
        let text = format!("version: 1\nname: {name}\nmode: audit\negress:\n  allow: [{{ {rule}, why: mine }}]\n");
        fs::write(daemon.path(&format!("{name}.yml")), text).expect("a policy can be written");
        daemon.run(&format!("start --policy {name}.yml --format json; code=$?; stop >/dev/null 2>&1; exit $code"), &[])
    };
    let wider = with("wider", "host: api.bad.test, ports: [443]");
    assert_eq!(wider.code, Some(2), "{wider:?}");
    assert!(wider.stderr.contains("wider may only narrow outer") && wider.stderr.contains("api.bad.test"), "{wider:?}");
    let narrower = with("narrower", "host: api.good.test, ports: [443]");
    assert_eq!(narrower.code, Some(0), "{narrower:?}");
    assert!(narrower.stdout.contains("\"mode\":\"block\""), "the stricter mode holds: {narrower:?}");
    let weaker = daemon.run("start --mode audit; exit $?", &[]);
    assert_eq!(weaker.code, Some(2));
    assert!(weaker.stderr.contains("a job can only narrow the machine's policy"), "{weaker:?}");
    let absent = daemon.run("start --policy absent.yml; exit $?", &[]);
    assert_eq!(absent.code, Some(2));
    assert!(absent.stderr.contains("absent.yml can't be read"), "{absent:?}");
}

/// A policy that allows what no floor of these tests does.
const WIDE: &str =
    "version: 1\nname: wide\nmode: block\negress:\n  allow: [{ host: api.bad.test, ports: [443], why: wide }]\n";

/// Makes the second policy the floor.
fn put_floor(daemon: &Daemon) {
    let config = fs::read_to_string(daemon.path("config.yml")).expect("it was written");
    let floor = daemon.path("policies/1.yml");
    fs::write(daemon.path("config.yml"), format!("{config}floor: {}\n", floor.display())).expect("it can be written");
}

#[test]
fn a_daemon_that_cannot_serve_says_why_before_it_listens() {
    needs!();
    let ended = |policies: &[&str], more: &str, spoil: &dyn Fn(&Daemon)| {
        let daemon = Daemon::prepared(binary::agent(ACT), policies, more);
        spoil(&daemon);
        let status = daemon.command().status().expect("it can be started");
        (status.code(), daemon.said())
    };
    let nothing = |_: &Daemon| {};
    for (got, code, told) in [
        (ended(&[], "", &nothing), 2, "there is no policy in"),
        (ended(&["version: 1\nname: x\nmode: maybe\n"], "", &nothing), 2, "0.yml:3"),
        (ended(&[CLOSED], "jobs: 1000\n", &nothing), 2, "a number from 1 to 60"),
        (ended(&[CLOSED], "floor: /nonexistent.yml\n", &nothing), 2, "/nonexistent.yml"),
        (ended(&[CLOSED], "", &|daemon| fs::remove_dir_all(daemon.path("policies")).unwrap()), 2, "can't be read"),
        (ended(&[WIDE, CLOSED], "", &|daemon| put_floor(daemon)), 2, "wide may only narrow closed"),
        (
            ended(&[CLOSED], "", &|daemon| fs::create_dir(daemon.path("socket")).unwrap()),
            125,
            "something else lies there",
        ),
        (ended(&[CLOSED], "", &|daemon| fs::write(daemon.path("logs"), "").unwrap()), 125, "logs"),
    ] {
        assert_eq!(got.0, Some(code), "{told}: {}", got.1);
        assert!(got.1.contains(told), "{told}: {}", got.1);
    }
}

#[test]
fn a_second_daemon_at_the_same_socket_is_refused_and_the_first_goes_on() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let second = Command::new(binary::agent(ACT))
        .args(["daemon", "--config"])
        .arg(daemon.path("config.yml"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("it can be started");
    assert_eq!(second.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another daemon answers at"), "{second:?}");
    let worked = daemon.run(&format!("{TRY} start >/dev/null; try still; stop >/dev/null"), &[]);
    assert_eq!(worked.stdout, "still: refused\n", "{worked:?}");
}

#[test]
fn hooks_are_taken_as_the_configuration_asks_or_the_daemon_does_not_start() {
    needs!();
    let agent = binary::agent(ACT);
    for way in ["lsm", "fmod-ret"] {
        let mut daemon = Daemon::prepared(agent.clone(), &[CLOSED], &format!("tier: tracing\nhooks: {way}\n"));
        let asked = Command::new(&agent).args(["run", "--tier", "tracing", "--hooks", way, "--", "true"]).output();
        if asked.expect("the agent can be started").status.success() {
            daemon.launch();
            assert_eq!(daemon.run("start >/dev/null; stop >/dev/null", &[]).code, Some(0));
            daemon.wait_until_idle();
            let log = daemon.logs_written().remove(0);
            let receipt = fs::read(format!("{}.receipt.json", log.display())).expect("the job has a receipt");
            let receipt: Value = serde_json::from_slice(&receipt).expect("it is JSON");
            let hooks = receipt["agent"]["hooks"].as_object().expect("the hooks by name");
            assert!(hooks.values().any(|taken| *taken == way.replace('-', "_")), "{hooks:#?}");
            let others = ["fmod_ret", "lsm", "fentry"].map(Value::from);
            let is_other = |taken: &&Value| others.contains(taken) && **taken != way.replace('-', "_");
            assert_eq!(hooks.values().find(is_other), None, "{hooks:#?}");
        } else {
            assert_eq!(daemon.command().status().expect("it can be started").code(), Some(125), "{}", daemon.said());
            let told = format!("{}: ", way.replace('-', "_"));
            assert!(daemon.said().contains("takes no program of the tracing tier") && daemon.said().contains(&told));
        }
    }
}
