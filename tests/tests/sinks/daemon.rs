//! Sinks of the daemon: each job's notices go out under its own name, while others begin and end.

use std::collections::BTreeSet;
use std::time::Duration;

use end_to_end::{Daemon, Receiver, binary, host, needs, wait_until};

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
