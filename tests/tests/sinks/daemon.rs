//! Sinks of the daemon: each job's notices go out under its own name, while others begin and end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use end_to_end::{Daemon, Line, Receiver, Reply, binary, host, needs, wait_until, wait_until_every};
use rustix::process::Signal;
use serde_json::Value;

use crate::{ACT, KEY, closing, lines, private};

#[test]
fn a_daemon_sends_what_its_jobs_do_and_ends_no_job_later_for_it() {
    needs!();
    let (mut receiver, kept) = Receiver::keeping();
    let key = tempfile::NamedTempFile::new().expect("a file for the key");
    std::fs::write(key.path(), KEY).expect("it is ours");
    private(key.path());
    let sinks = format!(
        "sinks:\n  - {{ name: soc, type: webhook, url: \"{}\", sign: {{ hmac: {{ file: {} }} }} }}\n",
        receiver.url(),
        key.path().display()
    );
    let daemon = Daemon::start(binary::agent(ACT), &[&closing("9")], &sinks);
    let script = "start >/dev/null; (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; stop >/dev/null 2>&1; true";
    let is_there = |jobs: usize| {
        let ended = lines(&kept).into_iter().filter(|line| line.0["state"] == "ended");
        ended.map(|line| line.text("job").to_owned()).collect::<BTreeSet<_>>().len() == jobs
    };
    assert_eq!(daemon.run(script, &[]).code, Some(0));
    daemon.wait_until_idle();
    assert!(wait_until(host::patience(Duration::from_secs(10)), || is_there(1)), "{}", daemon.said());
    assert!(lines(&kept).iter().any(|line| line.0["id"] == "egress-denied"));
    // Nobody listens: the next job begins and ends all the same, and is told when somebody does again.
    receiver.die();
    assert_eq!(daemon.run(script, &[]).code, Some(0));
    daemon.wait_until_idle();
    receiver.come_back();
    assert!(wait_until(host::patience(Duration::from_secs(20)), || is_there(2)), "{}", daemon.said());
}

#[test]
fn what_a_killed_daemon_had_in_its_spool_the_next_one_delivers_once() {
    needs!();
    let (mut receiver, kept) = Receiver::keeping();
    receiver.die();
    let sinks = format!("sinks:\n  - {{ name: soc, type: webhook, url: \"{}\", only: all }}\n", receiver.url());
    let mut daemon = Daemon::start(binary::agent(ACT), &[&closing("9")], &sinks);
    let script = "start >/dev/null; for i in {1..40}; do /bin/true; done; (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; \
                  stop >/dev/null 2>&1; true";
    let spool = daemon.path("state/spool/soc.0.redb");
    let receipts = || {
        let bytes = std::fs::read(&spool).unwrap_or_default();
        let line = b"\"kind\":\"receipt\"";
        bytes.windows(line.len()).filter(|window| window == line).count()
    };
    // What the second job leaves in the spool is written after everything of the first is safe there.
    let mut written = 0;
    for _ in 0..2 {
        assert_eq!(daemon.run(script, &[]).code, Some(0));
        daemon.wait_until_idle();
        assert!(wait_until(host::patience(Duration::from_secs(20)), || receipts() > written), "{}", daemon.said());
        written = receipts();
    }
    daemon.signal(Signal::KILL);
    daemon.wait();
    let first = daemon.logs().into_iter().map(|(_, log)| log).min_by_key(|log| log.ended().text("ts").to_owned());
    let first = first.expect("two jobs have a log each");
    receiver.come_back();
    daemon.launch();
    let times = || {
        let kept = kept.lock().expect("no holder panicked");
        let bodies = kept.iter().flat_map(|received| received.body.split(|&byte| byte == b'\n'));
        let texts = bodies.filter(|text| !text.is_empty());
        let all: Vec<Value> = texts.map(|text| serde_json::from_slice(text).expect("a line is JSON")).collect();
        let unchained = |line: &Line| {
            let mut line = line.0.clone();
            line["prev"] = Value::from("");
            line
        };
        let wanted = first.lines().iter().map(unchained);
        wanted.map(|wanted| all.iter().filter(|line| **line == wanted).count()).collect::<Vec<_>>()
    };
    let is_there = || times().iter().all(|&times| times > 0);
    assert!(
        wait_until_every(Duration::from_millis(100), host::patience(Duration::from_secs(30)), is_there),
        "{}",
        daemon.said()
    );
    assert!(times().iter().all(|&times| times == 1), "{:?}", times());
    assert!(first.lines().len() > 40, "a job that did something");
}

#[test]
fn what_a_job_does_after_its_daemon_its_keeper_sends() {
    needs!();
    for (signal, state) in [(Signal::TERM, "handed-over"), (Signal::KILL, "taken-over")] {
        let (receiver, kept) = Receiver::keeping();
        let sinks = format!("sinks:\n  - {{ name: soc, type: webhook, url: \"{}\" }}\n", receiver.url());
        let mut daemon = Daemon::start(binary::agent(ACT), &[&closing("9")], &sinks);
        let script = "start >/dev/null && echo ready; read -r _; (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; read -r _";
        let mut job = daemon.worker(script, &[]).stdin(Stdio::piped()).spawn().expect("a shell can be started");
        let mut ready = String::new();
        BufReader::new(job.stdout.take().expect("it is piped")).read_line(&mut ready).expect("it speaks text");
        assert_eq!(ready, "ready\n", "{}", daemon.said());
        let mut orders = job.stdin.take().expect("it is piped");
        daemon.signal(signal);
        daemon.wait();
        if signal == Signal::KILL {
            daemon.launch();
        }
        orders.write_all(b"\n").expect("somebody reads it");
        let has = |key: &str, value: &str| lines(&kept).iter().any(|line| line.0[key] == value);
        let comes = |key: &str, value: &str| {
            let patience = host::patience(Duration::from_secs(20));
            assert!(wait_until(patience, || has(key, value)), "{key} {value} after {signal:?}: {}", daemon.said());
        };
        comes("state", state);
        comes("id", "egress-denied");
        drop(orders);
        job.wait().expect("it is ours");
        comes("state", "ended");
        if signal == Signal::TERM {
            comes("kind", "receipt");
        }
        let jobs: BTreeSet<String> =
            lines(&kept).iter().filter_map(|line| Some(line.0["job"].as_str()?.to_owned())).collect();
        assert_eq!(jobs.len(), 1, "the job has one name: {jobs:?}");
        let gone = || daemon.keeper().is_none();
        assert!(wait_until(host::patience(Duration::from_secs(20)), gone), "the keeper goes with its job");
    }
}

#[test]
fn a_job_that_waits_for_a_sink_that_is_required_keeps_nobody_else_waiting() {
    needs!();
    let (started, is_open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (starts, open) = (started.clone(), is_open.clone());
    // Takes the first job's start, and the second's only when it is let.
    let receiver = Receiver::start(move |_, received| {
        let mut lines = received.body.split(|byte| *byte == b'\n');
        let is_start = |line: &[u8]| serde_json::from_slice::<Value>(line).is_ok_and(|line| line["state"] == "started");
        if lines.any(is_start) && starts.fetch_add(1, Ordering::Relaxed) > 0 {
            wait_until(host::patience(Duration::from_mins(1)), || open.load(Ordering::Relaxed));
        }
        Reply::status(204)
    });
    let sinks = format!(
        "sinks:\n  - {{ name: soc, type: webhook, url: \"{}\", only: all, required: true, timeout: 60s, batch: {{ wait: 0s }} }}\n",
        receiver.url()
    );
    let daemon = Daemon::start(binary::agent(ACT), &[&closing("9")], &sinks);
    let begin = || {
        let mut worker = daemon.worker("start >/dev/null && echo ready; read -r _", &[]);
        let mut job = worker.stdin(Stdio::piped()).spawn().expect("a shell can be started");
        let out = BufReader::new(job.stdout.take().expect("it is piped"));
        (job, out)
    };
    let ready = |out: &mut BufReader<std::process::ChildStdout>| {
        let mut line = String::new();
        out.read_line(&mut line).expect("it speaks text");
        assert_eq!(line, "ready\n", "{}", daemon.said());
    };
    let (mut first, mut out) = begin();
    ready(&mut out);
    let (mut second, mut out) = begin();
    let waits = || started.load(Ordering::Relaxed) == 2;
    assert!(wait_until(host::patience(Duration::from_secs(20)), waits), "{}", daemon.said());
    // The first is listed, and ends, while the second has not begun.
    let listed = daemon.answer(&["list"])["jobs"].clone();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    drop(first.stdin.take());
    first.wait().expect("it is ours");
    daemon.wait_until_idle();
    is_open.store(true, Ordering::Relaxed);
    ready(&mut out);
    assert_eq!(daemon.answer(&["status"])["jobs"], 1);
    drop(second.stdin.take());
    second.wait().expect("it is ours");
    daemon.wait_until_idle();
}

/// Jobs at once, of which a keeper has a thread for each sink's outbox, and one for each log and resolver.
const JOBS: usize = 25;

#[test]
fn a_daemon_with_many_jobs_and_sinks_hands_all_of_them_on() {
    needs!();
    let folder = tempfile::tempdir().expect("a folder for files");
    let sink = |name| format!("  - {{ name: {name}, type: file, path: {} }}\n", folder.path().join(name).display());
    let sinks = format!("sinks:\n{}", ["one", "two", "three"].map(sink).concat());
    let mut daemon = Daemon::start(binary::agent(ACT), &[&closing("9")], &sinks);
    let script = "start >/dev/null && echo ready; read -r _; \
                  (exec 3<>/dev/tcp/127.0.0.1/9) 2>&1 | grep -o 'not permitted' || echo not refused";
    let line = |out: &mut BufReader<std::process::ChildStdout>| {
        let mut line = String::new();
        out.read_line(&mut line).expect("it speaks text");
        line
    };
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        let mut job = daemon.worker(script, &[]).stdin(Stdio::piped()).spawn().expect("a shell can be started");
        let mut out = BufReader::new(job.stdout.take().expect("it is piped"));
        assert_eq!(line(&mut out), "ready\n", "{}", daemon.said());
        jobs.push((job, out));
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0), "{}", daemon.said());
    for (job, out) in &mut jobs {
        job.stdin.take().expect("it is piped").write_all(b"\n").expect("the job lives");
        assert_eq!(line(out), "not permitted\n");
        job.wait().expect("it is ours");
    }
    let patience = host::patience(Duration::from_mins(2));
    assert!(wait_until(patience, || daemon.keeper().is_none()), "the keeper goes with its last job");
    let receipts = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"kind\":\"receipt\"")).count()
    };
    assert_eq!(["one", "two", "three"].map(receipts), [JOBS; 3]);
}
