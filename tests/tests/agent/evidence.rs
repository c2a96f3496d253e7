//! Evidence: what an agent leaves of a job, and what `verify` says of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use end_to_end::host::{is_guest, patience};
use end_to_end::report::needs_guest;
use end_to_end::{Cgroup, Run, binary, needs, test_name, wait_until};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use serde_json::Value;

use crate::{ACT, shell};

const SOON: Duration = Duration::from_secs(30);

fn verify(files: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } =
        Command::new(binary::agent(ACT)).arg("verify").args(files).output().expect("the agent can be started");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code().expect("verify ends by itself"), said)
}

fn log_of(run: &Run) -> String {
    run.path("job.jsonl")
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it was written")).expect("it is JSON")
}

#[test]
fn a_jobs_log_receipt_and_statement_are_whole_and_a_byte_that_is_flipped_is_named() {
    needs!();
    let run =
        shell("for i in $(seq 20); do /bin/true; done; echo made >~/made; (: 3<>/dev/tcp/127.0.0.1/9) 2>&-; true");
    let subject = run.path("made");
    let run = run.option("--subject").option(subject).run().whole();
    let log = log_of(&run);
    let (receipt, statement) = (format!("{log}.receipt.json"), format!("{log}.intoto.json"));
    for file in [&receipt, &statement] {
        let mode = fs::metadata(file).expect("it was written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file} names programs and paths");
    }
    let (code, said) = verify(&[&log]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(verify(&[&log, &receipt, &statement]), (code, said));
    assert_eq!(verify(&[&receipt]).0, 0);
    assert_eq!(verify(&[&statement]).0, 0);

    let fields = json(&receipt);
    let account = run.log.ended().at("/account");
    assert_eq!(fields["account"]["seen"], account["seen"]);
    assert_eq!(fields["account"]["lost"], 0);
    // Runs of probes that the kernel left out, where it does: each that the log tells, and nothing else.
    let losses = run.log.of("loss");
    let losses =
        losses.map(|loss| format!("{} of {} lost: {}", loss.number("count"), loss.text("place"), loss.text("reason")));
    assert_eq!(fields["gaps"], Value::from(losses.collect::<Vec<_>>()));
    assert_eq!(fields["log"]["lines"], run.log.lines().len());
    assert_eq!(fields["agent"]["tier"], run.log.tier());
    assert_eq!(fields["exit_code"], 0);
    let digest = &fields["artifacts"][0]["sha256"];
    let by_others = Command::new("sha256sum").arg(run.path("made")).output().expect("coreutils are there");
    assert!(String::from_utf8_lossy(&by_others.stdout).starts_with(digest.as_str().expect("text")), "{digest}");

    // The key that is announced before the job starts is the one that signs.
    let announced = run.log.of("job").next().expect("the job began").text("key").to_owned();
    assert_eq!(fields["key"], announced);
    let key = run.path("key");
    fs::write(&key, &announced).unwrap();
    assert_eq!(verify(&[&log, "--key", &key]).0, 0);

    let bytes = fs::read(&log).unwrap();
    let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    for (line, end) in ends.iter().enumerate() {
        let mut changed = bytes.clone();
        changed[end - 80] ^= 1;
        fs::write(&log, &changed).unwrap();
        let (code, said) = verify(&[&log]);
        assert!(code == 1 && said.contains(&format!("line {}: ", line + 1)), "line {}: {code}\n{said}", line + 1);
    }
    fs::write(&log, &bytes).unwrap();
    let text = fs::read_to_string(&receipt).unwrap();
    fs::write(&receipt, text.replace("\"exit_code\": 0", "\"exit_code\": 1")).unwrap();
    let (code, said) = verify(&[&log]);
    assert!(code == 1 && said.contains("the receipt was changed"), "{said}");
}

#[test]
fn a_pipe_in_place_of_what_the_job_was_to_make_costs_its_digest_and_no_receipt() {
    needs!();
    let run = shell("mkfifo ~/made");
    let subject = run.path("made");
    let run = run.option("--subject").option(&subject).run();
    assert_eq!(run.code(), 0, "{}", run.stderr);
    assert!(run.stderr.contains("made, which can't be read: it is no regular file"), "{}", run.stderr);
    let artifacts = &json(&format!("{}.receipt.json", log_of(&run)))["artifacts"];
    assert_eq!(artifacts[0]["sha256"], "");
}

#[test]
fn a_clock_that_jumps_moves_no_line_of_the_log_and_leaves_the_evidence_whole() {
    needs!();
    if !is_guest() {
        return needs_guest(test_name!(), "setting the clock is for a machine of its own");
    }
    // Signed before the first jump, between the two, and after.
    let run = shell(
        "signed() { grep -c '\"kind\":\"checkpoint\"' ~/job.jsonl; }
         again() { before=$(signed); until [ $(signed) -gt $before ]; do :; done; }
         again; date -s 2001-02-03 >/dev/null; again; date -s 2037-02-03 >/dev/null; again",
    );
    let run = run.option("--checkpoint-every").option("1").run().whole();
    let (code, said) = verify(&[&log_of(&run)]);
    assert_eq!(code, 0, "{said}");
    let times: Vec<&str> = run.log.lines().iter().map(|line| line.text("ts")).collect();
    assert!(times.iter().all(|time| time[..7] == times[0][..7]), "{times:?}");
}

#[test]
fn an_agent_that_is_killed_leaves_a_log_that_says_where_its_evidence_ends() {
    needs!();
    let script = "sh -c 'echo $$; exec sleep 1000' & while :; do /bin/true; done";
    let mut running = shell(script).option("--checkpoint-every").option("1").start();
    let child: u32 = running.line().parse().expect("a pid");
    let path = fs::read_to_string(format!("/proc/{child}/cgroup")).expect("it runs");
    let below = path.lines().find_map(|line| line.strip_prefix("0::/")).expect("it is in a cgroup").to_owned();
    let mount = end_to_end::host::cgroup_mount().expect("a hierarchy is mounted");
    let _cgroup = Cgroup::adopt(mount.join(below));
    let log = running.log();
    let signed = || fs::read_to_string(&log).unwrap_or_default().matches("\"kind\":\"checkpoint\"").count() >= 2;
    assert!(wait_until(patience(SOON), signed), "the log is not signed");
    running.signal(Signal::KILL);
    let (_, home) = running.end();
    let (code, said) = verify(&[log.to_str().expect("test paths are text")]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("evidence ends at line ") || said.contains("it is cut off"), "{said}");
    let signed_up_to =
        said.split("signed up to line ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
    assert!(signed_up_to > Some(0), "{said}");
    assert!(!Path::new(&format!("{}.receipt.json", log.display())).exists(), "nobody is left to issue one");
    drop(home);
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_costs_lines_and_says_so_and_leaves_the_chain_whole() {
    needs!();
    let folder = tempfile::tempdir().expect("a folder");
    let size = c"size=64k";
    mount("tmpfs", folder.path(), "tmpfs", MountFlags::NODEV, Some(size)).expect("a small file system can be mounted");
    let _mounted = Mounted(folder.path().to_owned());
    let log = folder.path().join("job.jsonl");
    let run = shell("for i in $(seq 400); do /bin/true $i; done").without_log().option("--log").option(&log).run();
    assert_eq!(run.code(), 0, "{}", run.stderr);
    assert!(run.stderr.contains("is not whole: "), "{}", run.stderr);
    let (code, said) = verify(&[log.to_str().expect("text")]);
    assert_eq!(code, 1, "{said}");
    let is_chained =
        !said.contains("another hash") && !said.contains("cut off") && !said.contains("no line of an event log");
    assert!(is_chained, "what is there is whole: {said}");
}

#[test]
fn what_is_no_evidence_is_told_what_evidence_is() {
    needs!();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (code, said) = verify(&[&path("gone")]);
    assert!(code == 2 && said.contains("can't read"), "{code} {said}");
    fs::write(path("key"), "no key").unwrap();
    fs::write(path("log"), "no log\n").unwrap();
    let (code, said) = verify(&[&path("log"), "--key", &path("key")]);
    assert!(code == 2 && said.contains("PEM block `PUBLIC KEY`"), "{code} {said}");
    let (code, said) = verify(&[&path("log")]);
    assert!(code == 1 && said.contains("line 1: it is no line of an event log"), "{code} {said}");
    let (code, said) = verify(&[&path("log"), &path("log")]);
    assert!(code == 2 && said.contains("a second log"), "{code} {said}");
}
