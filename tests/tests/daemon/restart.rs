//! The daemon's own end: by a signal, by force, and what comes after it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::{Daemon, binary, host, needs};
use rustix::process::Signal;
use serde_json::Value;

use crate::{CLOSED, TRY, daemon};

/// A process that listens where a keeper does, and says that all is well; tells first whether it could come there.
const KEEPER: &str = "perl -MIO::Socket::UNIX -e '$| = 1; $SIG{PIPE} = q(IGNORE); ($p) = glob q(state/jobs/*/keeper.sock); unlink $p; \
                      $s = IO::Socket::UNIX->new(Local => $p, Listen => 1) or print qq(kept away\\n) and exit; \
                      print qq(listens\\n); close STDOUT; while ($c = $s->accept) { print $c q({\"done\":{}}); close $c; }'";

/// A job that tries when it is told to, and ends when nobody tells it more.
struct Steps {
    child: std::process::Child,
    orders: Option<fs::File>,
    out: BufReader<std::process::ChildStdout>,
}

impl Steps {
    fn begin(daemon: &Daemon, then: &str) -> Self {
        let script = format!(
            "{TRY} mkfifo orders; start >/dev/null || exit 9; {then} echo ready; while read -r way; do case $way in \
             stop) stop --format json 2>&1 | tail -n 1 ;; \
             fail-on) stop --only-tell --fail-on high >/dev/null 2>&1; echo $? ;; \
             own) start 2>&1 | tail -n 1 ;; \
             join) start --join --format json 2>&1 | tail -n 1 ;; \
             keeper) {{ {KEEPER} || echo no perl; }} & ;; \
             *) try $way ;; esac; done <orders"
        );
        let mut child = daemon.worker(&script, &[]).spawn().expect("a shell can be started");
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            assert_ne!(out.read_line(&mut line).expect("it speaks text"), 0, "the job ended");
        }
        let orders = fs::OpenOptions::new().write(true).open(daemon.path("orders")).expect("somebody reads it");
        Self { child, orders: Some(orders), out }
    }

    fn try_once(&mut self, way: &str) -> String {
        writeln!(self.orders.as_mut().expect("it still takes orders"), "{way}").expect("somebody reads it");
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it speaks text");
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        self.orders = None;
        self.child.wait().expect("it is ours");
    }
}

#[test]
fn a_daemon_that_is_killed_leaves_the_rules_and_the_next_one_sees_to_the_job() {
    needs!();
    let mut daemon = daemon(&[CLOSED], "");
    let mut job = Steps::begin(&daemon, "");
    assert_eq!(job.try_once("before"), "before: refused");
    // What a daemon has read and not written goes with it.
    let log = daemon.logs_written().remove(0);
    let is_written = || fs::read_to_string(&log).is_ok_and(|text| text.contains("\"kind\":\"connect\""));
    assert!(
        end_to_end::wait_until(host::patience(std::time::Duration::from_secs(10)), is_written),
        "{}",
        daemon.said()
    );
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert_eq!(job.try_once("alone"), "alone: refused");
    daemon.launch();
    assert_eq!(job.try_once("after"), "after: refused");
    let id = log.file_stem().and_then(|name| name.to_str()).expect("test paths are text");
    assert_eq!(daemon.answer(&["stop", "--job", id, "--only-tell"])["job"], id, "root may ask about any job");
    assert_eq!(job.try_once("fail-on"), "3", "that the agent was gone is a finding");
    let stopped: Value = serde_json::from_str(&job.try_once("stop")).expect("the job's result");
    assert_eq!(stopped["log"], log.to_str().expect("test paths are text"));
    assert_eq!((&stopped["verdict"], &stopped["receipt"]), (&"tampered".into(), &Value::Null), "{stopped}");
    assert_eq!(stopped["counts"]["blocked"], 3, "before it was killed, while there was none, and since: {stopped}");
    let told = |part: &str| stopped["summary"].as_str().is_some_and(|summary| summary.contains(part));
    assert!(told("the agent before is gone") && told("blocked  127.0.0.1:9 tcp ×3  by "), "{stopped}");
    // The new one has jobs of its own beside it.
    let worked = daemon.run(&format!("{TRY} start >/dev/null; try new; stop >/dev/null"), &[]);
    assert_eq!(worked.stdout, "new: refused\n", "{worked:?}");
    job.end();
    daemon.wait_until_idle();
    // Who keeps the first writes its log to the end, and goes.
    let is_kept = || daemon.keeper().is_some();
    assert!(
        end_to_end::wait_until(host::patience(std::time::Duration::from_secs(20)), || !is_kept()),
        "{:?}",
        daemon.said()
    );
    let logs = daemon.logs();
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|(_, log)| log.of("job").any(|line| line.text("state") == "ended")), "{logs:?}");
    // By its path: names begin with the daemon's pid, and a later one may be smaller.
    let (_, first) = logs.iter().find(|(path, _)| *path == log).expect("the log of the job that was taken over");
    assert_eq!(first.connects("127.0.0.1", 9).len(), 3, "the row goes on, with what happened in between");
    let states: Vec<&str> = first.of("agent").map(|line| line.text("state")).collect();
    assert_eq!(states.iter().filter(|state| ["taken-over", "end-announced"].contains(state)).count(), 2, "{states:?}");
}

/// A job that a daemon began, and left after one refusal when it was asked to end; and the job's log.
fn left_under_way(daemon: &mut Daemon) -> (Steps, PathBuf) {
    let mut job = Steps::begin(daemon, "");
    assert_eq!(job.try_once("before"), "before: refused");
    let log = daemon.logs_written().remove(0);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0), "{}", daemon.said());
    (job, log)
}

/// A copy of the agent whose maps are none of the old one's: its kernel side has another hash, by a byte that ELF leaves to nobody.
fn another_version(of: &Path, at: PathBuf) -> PathBuf {
    /// What an ELF file of the kernel side begins with: 64 bits, little endian, version 1, and its padding.
    const START: [u8; 16] = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
    /// After the type of a relocatable file: the kernel's machine.
    const BPF: [u8; 4] = [1, 0, 247, 0];
    let mut program = fs::read(of).expect("the agent is a file");
    let start = [&START[..], &BPF].concat();
    let found: Vec<usize> =
        program.windows(start.len()).enumerate().filter(|(_, window)| *window == start).map(|(at, _)| at).collect();
    let [object] = found[..] else { panic!("the kernel side is in the agent once: {found:?}") };
    program[object + START.len() - 1] = 1;
    binary::write(&at, &program);
    at
}

#[test]
fn a_daemon_that_is_ended_leaves_its_jobs_with_a_keeper_and_the_next_may_have_other_maps() {
    needs!();
    let mut daemon = daemon(&[CLOSED], "");
    let (mut job, log) = left_under_way(&mut daemon);
    let keeper = daemon.keeper().expect("it has the job before the daemon is gone");
    assert_eq!(job.try_once("alone"), "alone: refused");
    let patience = host::patience(std::time::Duration::from_secs(20));
    let is_told = || fs::read_to_string(&log).is_ok_and(|text| text.matches("\"verdict\":\"blocked\"").count() == 2);
    assert!(
        end_to_end::wait_until(patience, is_told),
        "what happens while there is no daemon stands in the log at once"
    );
    let upgraded = another_version(daemon.program(), daemon.path("upgraded"));
    daemon.upgrade(upgraded);
    daemon.launch();
    assert_eq!(daemon.keeper(), Some(keeper), "the job stays with who has its maps");
    assert_eq!(job.try_once("after"), "after: refused");
    let stopped: Value = serde_json::from_str(&job.try_once("stop")).expect("the job's result");
    assert_eq!((&stopped["counts"]["blocked"], &stopped["verdict"]), (&3.into(), &"blocked".into()), "{stopped}");
    let worked = daemon.run(&format!("{TRY} start >/dev/null; try new; stop >/dev/null"), &[]);
    assert_eq!(worked.stdout, "new: refused\n", "the new maps hold a job of their own meanwhile: {worked:?}");
    job.end();
    assert!(end_to_end::wait_until(patience, || daemon.keeper().is_none()), "the keeper goes with its job");
    daemon.wait_until_idle();
    let logs = daemon.logs();
    let (_, first) = logs.iter().find(|(path, _)| *path == log).expect("the log of the job that was left");
    assert_eq!(first.connects("127.0.0.1", 9).len(), 3, "none is missing and none is there twice");
    let told = first.of("finding").filter(|line| line.text("id") == "egress-denied").count();
    assert_eq!(told, 1, "what the daemon had told is not told again");
    let account = &first.ended().0["account"];
    assert_eq!((&account["lost"], &account["difference"]), (&0.into(), &0.into()), "{account}");
    // The key went from memory to memory: the log is signed to its end, and the job has its receipt.
    let receipt = log.with_file_name(format!("{}.receipt.json", log.file_name().expect("a file").display()));
    assert_eq!(stopped["receipt"], receipt.to_str().expect("test paths are text"));
    let verified = Command::new(daemon.program()).arg("verify").arg(&log).output().expect("the agent starts");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&verified.stderr));
    let receipt: Value = serde_json::from_slice(&fs::read(&receipt).expect("a receipt")).expect("JSON");
    let blocked: u64 = receipt["destinations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|row| row["verdict"] == "blocked")
        .filter_map(|row| row["count"].as_u64())
        .sum();
    assert_eq!((blocked, &receipt["mode"]), (3, &"block".into()), "of both agents: {receipt}");
    assert_eq!(receipt["identity"]["provider"], "plain", "{receipt}");
    let counts = receipt["findings"].as_array().expect("a list").iter();
    let denied: Vec<&Value> = counts.filter(|row| row["id"] == "egress-denied").map(|row| &row["count"]).collect();
    assert_eq!(denied, [&Value::from(3)], "of both agents: {receipt}");
    let gaps = receipt["gaps"].to_string();
    assert!(gaps.contains("handed-over") && gaps.contains("which processes hold secrets"), "{gaps}");
}

#[test]
fn a_job_that_was_taken_over_begins_no_other_and_says_when_nobody_keeps_it() {
    needs!();
    let mut daemon = daemon(&[CLOSED], "");
    let (mut job, log) = left_under_way(&mut daemon);
    daemon.launch();
    let joined: Value = serde_json::from_str(&job.try_once("join")).expect("a step finds the job that it is in");
    assert_eq!((&joined["joined"], &joined["mode"]), (&true.into(), &"block".into()), "{joined}");
    assert_eq!(joined["log"], log.to_str().expect("test paths are text"));
    let said = job.try_once("own");
    assert!(said.contains("a job can't begin another"), "{said}");
    let is_told = || fs::read_to_string(&log).is_ok_and(|text| text.contains("\"state\":\"control-refused\""));
    let patience = host::patience(std::time::Duration::from_secs(20));
    assert!(end_to_end::wait_until(patience, is_told), "{}", daemon.said());
    assert_eq!(job.try_once("still"), "still: refused");
    let listed = |daemon: &Daemon| daemon.answer(&["list"])["jobs"].clone();
    // A keeper that is busy may be too late for the list.
    let is_heard = || listed(&daemon)[0]["kept_by"] == "keeper";
    assert!(end_to_end::wait_until(patience, is_heard), "{}", listed(&daemon));
    let [kept] = listed(&daemon).as_array().expect("a list").clone().try_into().expect("one job");
    assert_eq!((&kept["job"], &kept["kept_by"]), (&joined["job"], &"keeper".into()), "{kept}");
    assert_eq!((&kept["state"], &kept["mode"]), (&"running".into(), &"block".into()), "{kept}");
    assert!(kept["processes"].as_u64().is_some_and(|count| count > 0), "{kept}");
    let keeper = daemon.keeper().expect("somebody keeps it");
    rustix::process::kill_process(keeper, Signal::KILL).expect("it is our daemon's");
    assert!(end_to_end::wait_until(patience, || daemon.keeper().is_none()));
    let [unkept] = listed(&daemon).as_array().expect("a list").clone().try_into().expect("one job");
    assert_eq!((&unkept["job"], &unkept["kept_by"]), (&joined["job"], &Value::Null), "{unkept}");
    assert_eq!(unkept["log"], log.to_str().expect("test paths are text"));
    let said = job.try_once("stop");
    let nobody = "was begun by a daemon that is gone, and no keeper of it answers";
    assert!(said.contains(nobody) && said.contains(log.to_str().expect("test paths are text")), "{said}");
    assert_eq!(job.try_once("unkept"), "unkept: refused", "its rules stay");
    job.end();
    // The next one clears away what is left.
    daemon.signal(Signal::TERM);
    daemon.wait();
    daemon.launch();
    assert_eq!(listed(&daemon), Value::Array(Vec::new()), "a job that is over is no job");
}

#[test]
fn a_root_job_that_listens_in_its_keepers_place_is_not_believed() {
    needs!();
    let mut daemon = daemon(&[CLOSED], "");
    let mut job = Steps::begin(&daemon, "");
    daemon.signal(Signal::KILL);
    daemon.wait();
    daemon.launch();
    let came = job.try_once("keeper");
    let said = job.try_once("stop");
    match came.as_str() {
        "listens" => assert!(said.contains("who listens in its place belongs to the job"), "{said}"),
        // Where a hook refuses it that, or there is nobody who could try.
        _ => assert!(said.contains("\"verdict\":\"tampered\""), "{came}: {said}"),
    }
    job.end();
}

#[test]
fn a_daemon_that_is_ended_lets_go_of_jobs_that_are_over_and_of_no_other() {
    needs!();
    let mut over = daemon(&[CLOSED], "");
    let mut job = Steps::begin(&over, "stop >/dev/null;");
    assert_eq!(job.try_once("before"), "before: refused");
    over.signal(Signal::TERM);
    assert_eq!(over.wait(), Some(0), "{}", over.said());
    assert_eq!(job.try_once("after"), "after: open");
    job.end();
    let log = over.log();
    assert_eq!(log.lines().last().expect("lines").text("state"), "reset");

    let mut under_way = daemon(&[CLOSED], "");
    let mut job = Steps::begin(&under_way, "");
    under_way.signal(Signal::TERM);
    assert_eq!(under_way.wait(), Some(0), "{}", under_way.said());
    let log = under_way.logs_written().remove(0);
    let says = |what: &'static str| move |line: &str| line.contains(what);
    let is_handed_over =
        || fs::read_to_string(&log).is_ok_and(|text| text.lines().any(says("\"state\":\"handed-over\"")));
    let patience = host::patience(std::time::Duration::from_secs(20));
    assert!(end_to_end::wait_until(patience, is_handed_over), "{}", under_way.said());
    let text = fs::read_to_string(&log).expect("a log");
    let last = text.lines().take_while(|line| !says("\"state\":\"handed-over\"")(line)).last().expect("lines");
    assert!(says("\"kind\":\"checkpoint\"")(last), "what it told is signed before it is gone: {last}");
    assert_eq!(job.try_once("still"), "still: refused");
    job.end();
    assert!(end_to_end::wait_until(patience, || under_way.keeper().is_none()), "the keeper clears away what is left");
}

#[test]
fn what_a_test_leaves_under_way_goes_with_its_daemon() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let mut job = Steps::begin(&daemon, "");
    let began = daemon.said();
    let name = began.split_whitespace().find(|word| word.starts_with("plain-")).expect("it says which job began");
    let hierarchy = fs::read_to_string(format!("/proc/{}/cgroup", job.child.id())).expect("the job runs");
    assert!(hierarchy.contains(name), "{hierarchy}");
    let (bpf, mounts) =
        (daemon.path("state/bpf"), || fs::read_to_string("/proc/self/mountinfo").expect("proc is there"));
    drop(daemon);
    let ended = job.child.wait().expect("it is ours");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
    assert!(!mounts().contains(bpf.to_str().expect("test paths are text")));
}
