//! Loss of power: what was signed, and what waited for a receiver, is there when the machine comes back.
//!
//! Two halves in two boots of one guest with one disk: `cargo xtask vm --power-loss`. Between them the emulator is ended without a
//! word to the guest, whose memory goes with it, and so whatever had not been written to the disk.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use end_to_end::{Log, Receiver, binary, host, needs, report, test_name, wait_until};
use rustix::mount::{MountFlags, mount};
use serde_json::Value;

use crate::{ACT, KEY, killed, private};

/// The guest's disk.
const DISK: &str = "/dev/vda";

/// Where it is mounted.
const PLACE: &str = "/power";

/// The receiver's port, where nobody listens before the power fails.
const PORT: u16 = 9797;

/// What is said when the power may fail: `cargo xtask vm` waits for it.
const NOW: &str = "the power may fail now";

/// Signatures in the log by then; one a second.
const SIGNED: usize = 5;

/// Mounts the disk; false where there is none.
fn mounts_disk(test: &str) -> bool {
    if !host::is_guest() || !Path::new(DISK).exists() {
        report::needs_guest(test, "a disk whose machine loses its power (cargo xtask vm --power-loss)");
        return false;
    }
    fs::create_dir_all(PLACE).expect("a folder can be made");
    mount(DISK, PLACE, "ext4", MountFlags::empty(), None).expect("the disk has a file system");
    true
}

/// `run` with its log, its key and its spool on the disk.
fn agent(log: &str, command: &[&str]) -> Command {
    let at = |name: &str| format!("{PLACE}/{name}");
    fs::write(at("key"), KEY).expect("a key can be written");
    private(Path::new(&at("key")));
    let config = format!(
        "version: 1\nspool: {}\nsinks:\n  - {{ name: soc, type: webhook, url: \"http://127.0.0.1:{PORT}/hook\", only: all, \
         sign: {{ hmac: {{ file: {} }} }}, batch: {{ wait: 200ms }}, drain: 60s }}\n",
        at("spool"),
        at("key"),
    );
    fs::write(at("config.yml"), config).expect("a configuration can be written");
    let mut agent = Command::new(binary::agent(ACT));
    agent
        .args(["run", "--config", &at("config.yml"), "--log", &at(log), "--checkpoint-every", "1", "--"])
        .args(command);
    agent
}

fn signatures(log: &str) -> usize {
    fs::read_to_string(log).unwrap_or_default().matches("\"kind\":\"checkpoint\"").count()
}

#[test]
fn before() {
    needs!();
    if !mounts_disk(test_name!()) {
        return;
    }
    let script = "while :; do /bin/true; read -rt 0.1 _ <> <(:); done";
    let mut agent = agent("job.jsonl", &["bash", "-c", script]).spawn().expect("the agent can be started");
    let log = format!("{PLACE}/job.jsonl");
    let is_signed = || signatures(&log) >= SIGNED;
    assert!(wait_until(host::patience(Duration::from_mins(1)), is_signed), "{:?}", agent.try_wait());
    // Not by `println!`, which the test's own output is kept with.
    writeln!(std::io::stdout(), "{NOW}").expect("it can be told");
    let ended = agent.wait();
    panic!("the power did not fail: the agent ended with {ended:?}");
}

#[test]
fn after() {
    needs!();
    if !mounts_disk(test_name!()) {
        return;
    }
    let path = format!("{PLACE}/job.jsonl");
    let text = fs::read(&path).expect("the log is on the disk");
    // Lines that came after the last signature may be there in part.
    let whole = text.split(|&byte| byte == b'\n').map_while(|line| serde_json::from_slice::<Value>(line).ok());
    let lines: Vec<Value> = whole.collect();
    let signatures = || lines.iter().enumerate().filter(|(_, line)| line["kind"] == "checkpoint");
    let signed: Vec<u64> = signatures().map(|(_, line)| line["seq"].as_u64().expect("lines are numbered")).collect();
    assert!(signed.len() >= SIGNED - 1, "the last one may have been under way: {} of {SIGNED}", signed.len());

    let verified = Command::new(binary::agent(ACT)).args(["verify", &path]).output().expect("the agent can be started");
    let said = String::from_utf8_lossy(&[verified.stdout, verified.stderr].concat()).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{said}");
    let up_to = said.split("signed up to line ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<usize>().ok());
    let (before, _) = signatures().nth(SIGNED - 2).expect("there are as many");
    assert!(up_to >= Some(before), "a signature is for the {before} lines before it: {said}");

    let job = lines.iter().find_map(|line| line["job"].as_str()).expect("a line names the job");
    let (_receiver, kept) = Receiver::keeping_at(PORT);
    let next = agent("next.jsonl", &["true"]).output().expect("the agent can be started");
    let complaint = String::from_utf8_lossy(&next.stderr);
    assert!(next.status.success() && !complaint.contains("undelivered"), "{complaint}");
    let arrived = killed::numbers(&kept, job);
    // A signature is told of once it is on the disk, and so after what comes behind it.
    let mut gapless = [arrived.as_slice(), &signed].concat();
    gapless.retain(|number| arrived.last() >= Some(number));
    gapless.sort_unstable();
    gapless.dedup();
    assert_eq!(gapless, (1..=gapless.len() as u64).collect::<Vec<_>>(), "no gap in what had been written down");
    // They are a second apart, and a commit takes milliseconds.
    assert!(arrived.contains(&signed[0]), "the first signature, {}: {arrived:?}", signed[0]);
    let next = Log::read(fs::read_to_string(format!("{PLACE}/next.jsonl")).expect("it has a log"));
    assert!(next.of("loss").next().is_none(), "nothing was dropped");
    let told = format!(
        "the log has {} lines, signed up to {}; {} notices had been written down and arrived\n",
        lines.len(),
        up_to.unwrap_or_default(),
        arrived.len()
    );
    std::io::stderr().write_all(told.as_bytes()).expect("it can be told");
}
