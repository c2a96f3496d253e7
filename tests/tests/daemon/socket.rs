//! A socket that is open before the daemon is there, as systemd does it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Child;
use std::time::Duration;

use end_to_end::{Daemon, binary, host, needs, wait_until};
use rustix::process::Signal;

use crate::{ACT, CLOSED, TRY};

fn opened(daemon: &Daemon) -> UnixListener {
    let path = daemon.path("socket");
    let listener = UnixListener::bind(&path).expect("nobody else has it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
    listener
}

/// How many ends the kernel has at the daemon's path: the one that listens, and one for each client in its queue, also for one
/// that has gone away.
fn ends(daemon: &Daemon) -> usize {
    let path = daemon.path("socket").display().to_string();
    let table = fs::read_to_string("/proc/net/unix").expect("the kernel's table of sockets");
    table.lines().filter(|line| line.ends_with(&path)).count()
}

/// A job that begins, tries and ends, and is in the queue.
fn queued(daemon: &Daemon, name: &str) -> Child {
    let before = ends(daemon);
    let script = format!("{TRY} start >/dev/null || exit 9; try {name}; stop >/dev/null");
    let worker = daemon.worker(&script, &[]).spawn().expect("a shell can be started");
    assert!(wait_until(host::patience(Duration::from_secs(10)), || ends(daemon) > before), "nobody waits");
    worker
}

fn said(worker: Child) -> String {
    let out = worker.wait_with_output().expect("it is ours");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).expect("text")
}

#[test]
fn who_comes_before_the_daemon_or_between_two_waits_for_it() {
    needs!();
    let mut daemon = Daemon::prepared(binary::agent(ACT), &[CLOSED], "");
    let listener = opened(&daemon);
    let handed = |daemon: &Daemon| daemon.command_handed(OwnedFd::from(listener.try_clone().expect("a second handle")));

    let gave_up = daemon.ask(&["start", "--deadline", "1"]);
    assert_eq!(gave_up.status.code(), Some(125), "{gave_up:?}");
    assert!(String::from_utf8_lossy(&gave_up.stderr).contains("didn't answer within 1 s"), "{gave_up:?}");
    let early = queued(&daemon, "early");
    let command = handed(&daemon);
    daemon.launch_as(command);
    assert_eq!(said(early), "early: refused\n");
    daemon.wait_until_idle();
    assert_eq!(daemon.logs_written().len(), 1, "who had given up has no job: {}", daemon.said());

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0), "{}", daemon.said());
    let between = queued(&daemon, "between");
    let command = handed(&daemon);
    daemon.launch_as(command);
    assert_eq!(said(between), "between: refused\n");
}

#[test]
fn what_is_no_such_socket_is_refused_in_words() {
    needs!();
    let daemon = Daemon::prepared(binary::agent(ACT), &[CLOSED], "");
    let plain: OwnedFd = fs::File::open(daemon.path("config.yml")).expect("it was written").into();
    let datagrams: OwnedFd = UnixDatagram::unbound().expect("a socket").into();
    let elsewhere: OwnedFd = UnixListener::bind(daemon.path("elsewhere")).expect("a socket").into();
    let (deaf, _) = std::os::unix::net::UnixStream::pair().expect("two ends");
    for (descriptor, told) in [
        (plain, "fd 3 is not a socket"),
        (datagrams, "fd 3 is not a valid unix stream socket"),
        (deaf.into(), "it doesn't listen"),
        (elsewhere, "/elsewhere; make `socket` in the configuration and ListenStream= in the unit the same path"),
    ] {
        let status = daemon.command_handed(descriptor).status().expect("it can be started");
        let said = daemon.said();
        assert_eq!(status.code(), Some(125), "{said}");
        assert!(said.contains("was handed over (LISTEN_FDS) is not the one for") && said.contains(told), "{said}");
    }
}
