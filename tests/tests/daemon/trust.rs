//! Whose code a job is, and which policy is its.

use std::fs;

use end_to_end::{Daemon, needs};
use serde_json::Value;

use crate::daemon;

fn policy(name: &str, applies_to: &str) -> String {
    format!("version: 1\nname: {name}\nmode: audit\napplies-to: {applies_to}\n")
}

/// What `job start` answers to a job with these variables and this event.
fn begun(daemon: &Daemon, variables: &[(&str, &str)], event: &str) -> Value {
    let payload = daemon.path("event.json");
    fs::write(&payload, event).expect("an event can be written");
    let common = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.example"),
        ("GITHUB_REPOSITORY", "owner/name"),
        ("GITHUB_REPOSITORY_ID", "1"),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_JOB", "build"),
        ("GITHUB_EVENT_PATH", payload.to_str().expect("test paths are text")),
    ];
    let worked = daemon.run("start --format json; stop >/dev/null", &[&common[..], variables].concat());
    serde_json::from_str(worked.stdout.lines().next().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {worked:?}"))
}

#[test]
fn a_fork_a_branch_and_a_tag_get_the_policies_that_are_for_them() {
    needs!();
    let [fork, branch, tag] = [
        policy("pr-validation", "{ trust: untrusted }"),
        policy("build", "{ trust: trusted }"),
        policy("release", "{ trust: release }"),
    ];
    let daemon = daemon(&[&fork, &branch, &tag], "");
    let push =
        |git_ref: &str| format!("{{\"ref\":\"{git_ref}\",\"repository\":{{\"id\":1,\"full_name\":\"owner/name\"}}}}");
    for (variables, event, wanted) in [
        (
            [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF", "refs/pull/5/merge")],
            "{\"pull_request\":{\"head\":{\"repo\":{\"id\":2,\"full_name\":\"evil/name\",\"fork\":true}},\"base\":{\"repo\":\
             {\"id\":1,\"full_name\":\"owner/name\"}}},\"repository\":{\"id\":1,\"full_name\":\"owner/name\"}}"
                .to_owned(),
            ("untrusted", "pr-validation"),
        ),
        ([("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")], push("refs/heads/main"), ("trusted", "build")),
        ([("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/tags/v1")], push("refs/tags/v1"), ("release", "release")),
    ] {
        let answer = begun(&daemon, &variables, &event);
        let got = (answer["trust"].as_str().unwrap_or_default(), answer["policy"].as_str().unwrap_or_default());
        assert_eq!(got, wanted, "{answer}");
        assert!(!answer["trust_reason"].as_str().unwrap_or_default().is_empty());
    }
}

#[test]
fn a_job_that_no_policy_is_for_does_not_begin() {
    needs!();
    let daemon = daemon(&[&policy("release", "{ trust: release }")], "");
    let worked = daemon.run("start; exit $?", &[("CI", "true")]);
    assert_eq!(worked.code, Some(2), "{worked:?}");
    assert!(worked.stderr.contains("(release) by `trust`"), "{worked:?}");
}

#[test]
fn the_floor_holds_under_every_policy() {
    needs!();
    let floor = "version: 1\nname: floor\nmode: block\negress:\n  \
                 deny: [{ class: loopback, ports: [9], why: \"the machine's own\" }]\n  \
                 allow: [{ host: \"*.good.test\", ports: [443], why: outer }]\n";
    let inner = "version: 1\nname: inner\nmode: audit\n";
    let mut daemon = Daemon::prepared(end_to_end::binary::agent(crate::ACT), &[inner, floor], "");
    let config = fs::read_to_string(daemon.path("config.yml")).expect("it was written");
    let floor = daemon.path("policies/1.yml");
    fs::write(daemon.path("config.yml"), format!("{config}floor: {}\n", floor.display())).expect("it can be written");
    daemon.launch();
    let worked = daemon.run(&format!("{} start >/dev/null; try floor; stop >/dev/null", crate::TRY), &[]);
    assert_eq!(worked.stdout, "floor: refused\n", "{worked:?}");
}
