//! Jobs side by side under policies that differ in what is secret and whose: each has its own classes, its own room, and leaves
//! nothing. Needs the tracing tier, as what is told at the other is a job's own in user space.

use std::fs;
use std::process::Child;
use std::time::Duration;

use end_to_end::{Daemon, Reader, host, needs_tracing, wait_until};
use serde_json::Value;

use crate::{ACT, daemon};

/// How many files that a job makes can be known: to the kernel side, and as many again to the agent.
const ROOM: u64 = 2 * 2048;

/// Says of a command whether it was refused.
const TRY: &str = "try() { way=$1; shift; out=$(\"$@\" 2>&1); case $out in *the-secret*) echo \"$way: read\";; \
                   *'not permitted'*) echo \"$way: refused\";; *) echo \"$way: $out\";; esac; }\n";

/// A policy for a tier of trust. The first file is its reader's, the second nobody's.
fn policy(trust: &str, reader: &Reader, files: [&str; 2]) -> String {
    format!(
        "version: 1\nname: {trust}\nmode: block\napplies-to: {{ trust: {trust} }}\nsecrets:\n  files:\n    \
         - {{ path: \"~/{}\", readers: [\"{}\"], why: its own }}\n    \
         - {{ path: \"~/{}\", readers: [], why: another's }}\n    \
         - {{ path: \"**/.npmrc\", readers: [], why: publishes }}\n  \
         on-read: {{ other-readers: block }}\n",
        files[0],
        reader.name(),
        files[1]
    )
}

/// Both policies on one daemon, the secrets in its home.
fn two(first: &Reader, second: &Reader) -> Daemon {
    let policies = [policy("trusted", first, [".first", ".second"]), policy("release", second, [".second", ".first"])];
    let daemon = daemon(&[&policies[0], &policies[1]], "");
    for file in [".first", ".second"] {
        fs::write(daemon.path(file), "the-secret\n").expect("a file can be written");
    }
    daemon
}

/// A job of a branch, which is trusted, or of a tag, which is a release.
fn begin(daemon: &Daemon, git_ref: &str, name: &str, script: &str) -> Child {
    let payload = daemon.path(&format!("{name}.json"));
    let event = format!("{{\"ref\":\"{git_ref}\",\"repository\":{{\"id\":1,\"full_name\":\"owner/name\"}}}}");
    fs::write(&payload, event).expect("an event can be written");
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.example"),
        ("GITHUB_REPOSITORY", "owner/name"),
        ("GITHUB_REPOSITORY_ID", "1"),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_JOB", name),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", git_ref),
        ("GITHUB_EVENT_PATH", payload.to_str().expect("test paths are text")),
    ];
    // At its gate it says that it is there, and waits to be let through.
    let gates = format!("gate() {{ mkfifo {name}-$1; : >{name}-$1.there; read -r _ <{name}-$1; }}\n");
    let script = format!("{TRY}{gates}start >/dev/null || exit 9; {script}\nstop >/dev/null");
    daemon.worker(&script, &variables).spawn().expect("a shell can be started")
}

/// Waits until a job is at a gate.
fn is_at(daemon: &Daemon, gate: &str) {
    let within = host::patience(Duration::from_secs(90));
    assert!(wait_until(within, || daemon.path(&format!("{gate}.there")).exists()), "{gate}: {}", daemon.said());
}

/// Lets a job through a gate.
fn open(daemon: &Daemon, gate: &str) {
    is_at(daemon, gate);
    fs::write(daemon.path(gate), "\n").expect("somebody reads it");
}

/// What a job said by its end.
fn said(job: Child) -> String {
    let out = job.wait_with_output().expect("it is ours");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

/// What the maps have about secrets.
fn kept(daemon: &Daemon) -> Vec<Value> {
    // It may have thousands of records to take in first.
    let patience = host::patience(Duration::from_secs(10)).as_secs().to_string();
    let maps = &daemon.answer(&["status", "--deadline", &patience])["maps"];
    ["SECRETS", "SECRET_PATHS", "LEARNT", "READERS", "FILES"].map(|map| maps[map].clone()).to_vec()
}

#[test]
fn jobs_at_once_have_secrets_and_readers_of_their_own() {
    needs_tracing!(ACT);
    let (first, second) = (Reader::of("/bin/cat", "one"), Reader::of("/bin/cat", "two"));
    let daemon = two(&first, &second);
    let before = kept(&daemon);
    let script = |own: &str, other: &str| {
        format!(
            "gate in
            try own {own} $HOME/.{other}; try others {own} $HOME/.{not}; try strangers {stranger} $HOME/.{other}
            echo the-secret >{other}-made; mkdir {other}-new; mv {other}-made {other}-new/.npmrc
            mv {other}-new/.npmrc {other}-plain; try renamed {own} {other}-plain
            gate out",
            not = if other == "first" { "second" } else { "first" },
            stranger = if other == "first" { second.name() } else { first.name() },
        )
    };
    let one = begin(&daemon, "refs/heads/main", "one", &script(first.name(), "first"));
    is_at(&daemon, "one-in");
    let two = begin(&daemon, "refs/tags/v1", "two", &script(second.name(), "second"));
    is_at(&daemon, "two-in");
    open(&daemon, "one-in");
    open(&daemon, "two-in");
    is_at(&daemon, "one-out");
    is_at(&daemon, "two-out");
    // The first to begin ends first: what it leaves is the other's alone.
    open(&daemon, "one-out");
    let wanted = "own: read\nothers: refused\nstrangers: refused\nrenamed: refused\n";
    assert_eq!(said(one), wanted);
    open(&daemon, "two-out");
    assert_eq!(said(two), wanted);
    daemon.wait_until_idle();
    assert_eq!(kept(&daemon), before, "of both nothing is left");
}

#[test]
fn a_job_that_makes_secret_files_without_end_loses_sight_of_none_and_takes_no_room_of_others() {
    needs_tracing!(ACT);
    let (first, second) = (Reader::of("/bin/cat", "many"), Reader::of("/bin/cat", "after"));
    let daemon = two(&first, &second);
    let before = kept(&daemon);
    // Each is known from an open on: to the kernel side at once, or to the agent a moment later.
    let script = format!(
        "mkdir made; cd made; mkdir $(seq {})
        for at in *; do echo the-secret >$at/.npmrc; read -r _ <$at/.npmrc; done 2>/dev/null
        gate full
        mkdir late; echo the-secret >late/.npmrc
        try late cat late/.npmrc
        try rename mv late/.npmrc late/plain
        try link ln late/.npmrc late/other
        mv 1/.npmrc 1/plain; try known cat 1/plain
        cd ..",
        ROOM + 50
    );
    let one = begin(&daemon, "refs/heads/main", "many", &script);
    is_at(&daemon, "made/many-full");
    let files = || kept(&daemon)[0].as_u64().expect("a number");
    let within = host::patience(Duration::from_secs(20));
    assert!(wait_until(within, || files() >= ROOM), "{} files are known", files());
    assert!(files() < ROOM + 10, "{} files are known of a job that may have {ROOM} and those that were there", files());
    let own = format!("try own {} $HOME/.second; try other cat $HOME/.second", second.name());
    assert_eq!(said(begin(&daemon, "refs/tags/v1", "after", &own)), "own: read\nother: refused\n");
    open(&daemon, "made/many-full");
    assert_eq!(said(one), "late: refused\nrename: refused\nlink: refused\nknown: refused\n");
    daemon.wait_until_idle();
    assert_eq!(kept(&daemon), before, "the room is free again");
    let told = daemon
        .logs()
        .iter()
        .flat_map(|(_, log)| {
            log.of("attempt")
                .map(|line| (line.text("operation").to_owned(), line.text("verdict").to_owned()))
                .collect::<Vec<_>>()
        })
        .filter(|told| *told == ("hide-secret".to_owned(), "blocked".to_owned()))
        .count();
    assert_eq!(told, 2, "both that would have hidden one");
}
