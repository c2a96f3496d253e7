//! Starts the launcher, and ends what a job leaves behind.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use runner_agent_common::record::ProcessKey;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::launch;
use crate::kernel::procfs::Snapshot;

/// This program's own file, wherever it was started from and even if it was replaced since.
pub(super) const OWN_PROGRAM: &str = "/proc/self/exe";

/// A launcher for the command, in the cgroup, not started yet.
pub(super) fn launcher(
    cgroup: &Path,
    command: &[OsString],
    confinement: launch::Confinement,
) -> tokio::process::Command {
    let mut launcher = tokio::process::Command::new(OWN_PROGRAM);
    launcher.arg0("runner-agent").args(launch::arguments(cgroup, command, confinement));
    launcher
}

/// How long ended processes may take to go.
const GO_WITHIN: Duration = Duration::from_secs(5);

/// Ends processes by identity: each is opened first and compared after, so that no other process can be hit by a pid
/// that came back. Returns those that were still there.
pub(super) fn end_processes(mut members: impl FnMut() -> Vec<ProcessKey>) -> io::Result<Vec<ProcessKey>> {
    let deadline = Instant::now() + GO_WITHIN;
    let mut ended = Vec::new();
    loop {
        let mut is_any_left = false;
        for key in members() {
            let Some(process) = open(key)? else { continue };
            is_any_left = true;
            if pidfd_send_signal(&process, Signal::KILL).is_ok() && !ended.contains(&key) {
                ended.push(key);
            }
            // Readable when the process has ended.
            let mut poll = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
            let timeout = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            rustix::event::poll(&mut poll, Some(&timeout))?;
        }
        // An entry without a process is of one whose end the probes missed, and nothing is to be ended there.
        if !is_any_left {
            return Ok(ended);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "processes of the job don't end"));
        }
    }
}

/// Ends one process by identity; false when it is gone already.
pub(super) fn end_process(key: ProcessKey) -> bool {
    open(key).ok().flatten().is_some_and(|process| pidfd_send_signal(&process, Signal::KILL).is_ok())
}

/// A process, if it is still there and the one that is meant.
fn open(key: ProcessKey) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(key.tgid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Snapshot::read(key.tgid).is_some_and(|snapshot| snapshot.is(key)).then_some(process)),
        // The number is free, or that of another process's thread.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
