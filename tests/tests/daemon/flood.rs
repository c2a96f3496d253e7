//! A job that does more than the daemon can take in, for as long as it likes: whoever asks is answered all the same.

use std::process::Stdio;
use std::time::{Duration, Instant};

use end_to_end::{Daemon, host, needs, wait_until};
use rustix::process::Signal;

use crate::{ACT, CLOSED, daemon};

/// How long an answer may take: the loop of a daemon that waits for the flood's end has none at all.
const ROUND: Duration = Duration::from_mins(1);

/// A job that attempts connects on every processor until its input ends.
struct Flood(std::process::Child);

impl Flood {
    fn begin(daemon: &Daemon) -> Self {
        let floods = "for _ in $(seq $(($(nproc) * 2))); do \"$ACT\" net flood 127.0.0.1 9 & done";
        let script = format!("start >/dev/null || exit 9; {floods}; read -r _; kill $(jobs -p)");
        let mut worker = daemon.worker(&script, &[("ACT", ACT)]);
        worker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let flood = Self(worker.spawn().expect("a shell can be started"));
        let is_full = || daemon.logs_written().iter().any(|log| log.metadata().is_ok_and(|log| log.len() > 1 << 20));
        assert!(wait_until(host::patience(Duration::from_secs(20)), is_full), "{}", daemon.said());
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Does it, and fails if it takes too long.
fn in_time<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = act();
    let (took, may) = (began.elapsed(), host::patience(ROUND));
    assert!(took < may, "{what} took {took:?}");
    done
}

#[test]
fn a_job_that_floods_keeps_nobody_waiting_who_asks_for_accounts_or_ends_the_daemon() {
    needs!();
    let mut daemon = daemon(&[CLOSED], "");
    let flood = Flood::begin(&daemon);
    let log = daemon.logs_written().remove(0);
    let id = log.file_stem().and_then(|name| name.to_str()).expect("test paths are text");
    let deadline = host::patience(ROUND).as_secs().to_string();
    let ask = |words: &[&str]| daemon.answer(&[words, &["--deadline", &deadline]].concat());
    let stopped = in_time("job stop", || ask(&["stop", "--job", id, "--only-tell"]));
    assert!(stopped["counts"]["seen"].as_u64().is_some_and(|seen| seen > 1000), "{stopped}");
    let figures = in_time("job metrics", || ask(&["metrics"]));
    assert!(figures["metrics"].as_str().is_some_and(|text| text.contains("runner_agent_jobs_running 1")), "{figures}");
    in_time("the daemon's end", || {
        daemon.signal(Signal::TERM);
        daemon.wait()
    });
    assert!(daemon.keeper().is_some(), "the job goes on: {}", daemon.said());
    drop(flood);
    let patience = host::patience(Duration::from_mins(1));
    assert!(wait_until(patience, || daemon.keeper().is_none()), "the keeper goes with its job");
}
