//! What goes wrong for one job or one client, and is nobody else's business.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use end_to_end::{Daemon, host, needs, wait_until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{CLOSED, TRY, daemon};

/// A job that tries once when it is told to, and then ends.
struct Job {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Job {
    fn begin(daemon: &Daemon) -> Self {
        let script = format!("{TRY} start >/dev/null || exit 9; echo ready; read -r _ && try told");
        let mut child = daemon.worker(&script, &[]).stdin(Stdio::piped()).spawn().expect("a shell can be started");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut job = Self { child, out };
        assert_eq!(job.line(), "ready\n", "{}", daemon.said());
        job
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it speaks text");
        line
    }

    fn tries(mut self) -> String {
        self.child.stdin.take().expect("it is piped").write_all(b"\n").expect("the job lives");
        let line = self.line();
        self.child.wait().expect("it is ours");
        line
    }
}

#[test]
fn what_can_not_be_cleared_away_of_one_job_is_told_and_costs_no_other_and_no_receipt() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let one = Job::begin(&daemon);
    let log = daemon.logs_written().remove(0);
    let other = Job::begin(&daemon);
    // The word for a successor can't be written any more, as on a full disk.
    let station = fs::read_dir(daemon.path("state/jobs")).expect("it has jobs").flatten().next().expect("a station");
    let in_its_way = station.path().join("job.json.new");
    fs::create_dir(&in_its_way).expect("nothing is there");
    assert_eq!(one.tries(), "told: refused\n");
    let is_alone = || daemon.answer(&["status"])["jobs"] == 1;
    assert!(wait_until(host::patience(Duration::from_secs(20)), is_alone), "{}", daemon.said());
    let receipt = log.with_file_name(format!("{}.receipt.json", log.file_name().expect("a file").display()));
    assert!(receipt.exists(), "{}", daemon.said());
    let logs = daemon.logs();
    let (_, ended) = logs.iter().find(|(path, _)| *path == log).expect("the log of the first");
    let told = ended.of("agent").find(|line| line.text("state") == "not-cleared").expect("it is told");
    assert!(told.text("detail").contains("write down what a successor must know"), "{told:?}");
    fs::remove_dir(&in_its_way).expect("it is ours");
    assert_eq!(other.tries(), "told: refused\n", "{}", daemon.said());
    daemon.wait_until_idle();
}

#[test]
fn a_daemon_without_a_descriptor_for_one_client_goes_on() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let job = Job::begin(&daemon);
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let leave_none = || {
        let open: Vec<u64> = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
            .expect("it runs")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let first_free = (0..1 << 20).find(|number| !open.contains(number));
        prlimit(pid, Resource::Nofile, Rlimit { current: first_free, maximum }).expect("it is ours")
    };
    let before = leave_none();
    let answers = || daemon.ask(&["status", "--deadline", "1"]).status.success();
    let is_told = || {
        // What was open for a moment is free again.
        leave_none();
        !answers() && daemon.said().contains("can't take in a client")
    };
    assert!(wait_until(host::patience(Duration::from_secs(20)), is_told), "{}", daemon.said());
    prlimit(pid, Resource::Nofile, before).expect("it is ours");
    assert!(wait_until(host::patience(Duration::from_secs(20)), answers), "{}", daemon.said());
    assert_eq!(job.tries(), "told: refused\n", "the job has nothing to do with that: {}", daemon.said());
    daemon.wait_until_idle();
}
