//! A daemon with `scope: runner`: each of its jobs holds the machine, one after the other.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin};

use end_to_end::{Daemon, binary, host, wait_until};
use rustix::process::Signal;

use crate::{ACT, Outsider, Stage, WITHIN, connect_of};

/// A job's policy, which says nothing: the floor holds.
const ANY: &str = "version: 1\nname: any\nmode: audit\n";

/// A job that goes on until its input is closed.
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
}

impl Worker {
    /// Begins a job.
    fn begin(daemon: &Daemon) -> Self {
        let mut command = daemon.worker("start >/dev/null && echo armed; read -r _; stop >/dev/null; true", &[]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("a shell can be started");
        let input = child.stdin.take();
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut said).expect("it speaks text");
        assert_eq!(said, "armed\n", "{}", daemon.said());
        Self { child, input }
    }

    /// Ends it.
    fn end(mut self) {
        writeln!(self.input.take().expect("once")).expect("it reads");
        self.child.wait().expect("it is ours");
    }
}

/// A daemon whose floor closes the stage's listener in mode `block`.
fn daemon(stage: &Stage) -> Daemon {
    let floor = stage.folder.path().join("floor.yml");
    fs::write(&floor, stage.policy("floor", "block")).expect("a policy can be written");
    let more = format!("scope: runner\nfloor: {}\n", floor.display());
    Daemon::start(binary::agent(ACT), &[ANY], &more)
}

#[test]
fn a_job_holds_the_runner_and_its_end_lets_everybody_go() {
    needs_guest!();
    let stage = Stage::set();
    let mut elsewhere = Outsider::start(Path::new("/bin/bash"), stage.elsewhere.path(), None);
    let mut service = Outsider::start(&stage.service, stage.platform.path(), None);
    let daemon = daemon(&stage);
    assert_eq!(elsewhere.tries(stage.closed()), "reached", "without a job nobody is held");

    for round in 1..=2 {
        let worker = Worker::begin(&daemon);
        assert_eq!(elsewhere.tries(stage.closed()), "refused", "in round {round}");
        assert_eq!(service.tries(stage.closed()), "reached", "in round {round}");
        worker.end();
        daemon.wait_until_idle();
        assert_eq!(elsewhere.tries(stage.closed()), "reached", "after round {round}");
        assert_eq!(daemon.logs().len(), round);
    }
    for (path, log) in daemon.logs() {
        let line = connect_of(&log, &elsewhere);
        assert_eq!((line.text("scope"), line.text("verdict")), ("runner", "blocked"), "{}", path.display());
        assert!(log.of("connect").all(|line| *line.at("/process/pid") != service.pid()), "who is exempt is not told");
        let reset = log.of("agent").find(|line| line.text("state") == "reset").expect("its end is proven");
        assert!(reset.text("detail").starts_with("nothing is left"), "{}", reset.text("detail"));
    }
}

#[test]
fn a_second_job_at_once_is_refused_with_the_reason() {
    needs_guest!();
    let stage = Stage::set();
    let daemon = daemon(&stage);
    let worker = Worker::begin(&daemon);
    let second = daemon.run("start", &[]);
    assert_ne!(second.code, Some(0));
    assert!(second.stderr.contains("`scope: runner`"), "{second:?}");
    worker.end();
    daemon.wait_until_idle();
}

#[test]
fn a_daemon_that_is_killed_leaves_the_runner_held_until_the_jobs_end() {
    needs_guest!();
    let stage = Stage::set();
    let mut elsewhere = Outsider::start(Path::new("/bin/bash"), stage.elsewhere.path(), None);
    let mut service = Outsider::start(&stage.service, stage.platform.path(), None);
    let mut daemon = daemon(&stage);
    let worker = Worker::begin(&daemon);
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert_eq!(elsewhere.tries(stage.closed()), "refused");
    assert_eq!(service.tries(stage.closed()), "reached");
    daemon.launch();
    assert_eq!(elsewhere.tries(stage.closed()), "refused");
    worker.end();
    let is_let_go = || elsewhere.tries(stage.closed()) == "reached";
    assert!(wait_until(host::patience(WITHIN), is_let_go), "the keeper sees the job's end: {}", daemon.said());
}
