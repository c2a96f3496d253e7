//! An agent that is killed: what it had written down the next one sends.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use end_to_end::{Job, Received, Receiver, binary, host, needs, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use crate::{ACT, configured, lines, webhook};

/// Lines of the log after which the agent is killed: early, in the midst of things, and late.
const KILLED_AFTER: [usize; 4] = [8, 60, 301, 777];

/// What may be in the log and not yet in the spool when an agent dies: what comes during the commit that is under way, which on
/// a slow disk takes tens of milliseconds.
const UNDER_WAY: usize = 256;

#[test]
fn what_a_killed_agent_had_written_down_arrives_and_nothing_comes_twice_in_two_forms() {
    needs!();
    for killed_after in KILLED_AFTER {
        let (receiver, kept) = Receiver::keeping();
        let state = tempfile::tempdir().expect("a folder for the state");
        // Goes on for as long as its agent lives, and not much longer.
        let script = "echo $$ >pid; for i in {1..600}; do /bin/true; cat /dev/null; [ -e gone ] && exit; done";
        let running = agent(&["bash", "-c", script], &receiver, state.path()).start();
        let pid = running.pid();
        let log = running.home().join("job.jsonl");
        let written = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        assert!(
            wait_until(host::patience(Duration::from_mins(1)), || written() >= killed_after),
            "agent {pid} is slow"
        );
        running.signal(Signal::KILL);
        fs::write(log.with_file_name("gone"), "").expect("the job's home is ours");
        let (_, home) = running.end();
        // What still ran of it would get a keeper, which sends too.
        let shell = fs::read_to_string(home.path().join("pid")).expect("the job's shell wrote it");
        let is_over = || !std::path::Path::new("/proc").join(shell.trim()).exists();
        assert!(wait_until(host::patience(Duration::from_secs(20)), is_over), "the job goes on");
        let text = fs::read_to_string(home.path().join("job.jsonl")).expect("it had a log");
        let whole: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();

        let next = agent(&["true"], &receiver, state.path()).without_log().run();
        assert!(next.status.success(), "{}", next.stderr);
        assert!(!next.stderr.contains("undelivered"), "{}", next.stderr);

        // Each job counts from 1, and lines about the agent name no job: the requests' ids do.
        let first = whole.iter().find_map(|line| line["job"].as_str()).expect("a line names the job").to_owned();
        let arrived = numbers(&kept, &first);
        assert_eq!(arrived, (1..=arrived.len() as u64).collect::<Vec<_>>(), "no gap in what had been written down");
        let arrived = arrived.len();
        assert!(arrived + UNDER_WAY >= whole.len(), "{arrived} of {} arrived", whole.len());
        let told = format!("killed after {killed_after} lines: the log has {}, {arrived} arrived\n", whole.len());
        std::io::stderr().write_all(told.as_bytes()).expect("it can be told");
    }
}

/// The numbers of a job's notices that arrived, each once; fails where one came in two forms.
pub(crate) fn numbers(kept: &Arc<Mutex<Vec<Received>>>, job: &str) -> Vec<u64> {
    let mut alerts: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for received in &*kept.lock().expect("no holder panicked") {
        let number = received.header("webhook-id").strip_prefix(&format!("{job}-"));
        if let Some(seq) = number.and_then(|it| it.parse().ok()) {
            alerts.entry(seq).or_default().push(received.body.clone());
        }
    }
    assert!(alerts.values().all(|bodies| bodies.iter().all(|body| *body == bodies[0])), "one id, one body");
    let events = lines(kept).into_iter().filter(|line| line.0["job"] == job);
    let mut seqs: Vec<u64> = events.map(|line| line.number("seq")).chain(alerts.keys().copied()).collect();
    seqs.sort_unstable();
    let events_and_more = seqs.len();
    seqs.dedup();
    // An alert that names its job is in both lists; nothing else is.
    assert!(events_and_more - seqs.len() <= alerts.len(), "an event came in two forms");
    seqs
}

/// A job whose agent keeps its state in a folder that outlives the job's home.
fn agent(command: &[&str], receiver: &Receiver, state: &std::path::Path) -> Job {
    let job = Job::new(binary::agent(ACT), command);
    let key = job.path("key");
    configured(job, &webhook(receiver, ""), &key).option("--mode").option("block").option("--state").option(state)
}
