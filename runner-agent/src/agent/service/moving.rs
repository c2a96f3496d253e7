//! Which processes are a job's: taken into its cgroup when it begins, let go when the daemon ends.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Service;
use crate::agent::run::{RunError, io_error};
use crate::agent::station::Station;
use crate::kernel::procfs;

impl Service {
    /// Takes a worker and its descendants into their job. One that is born meanwhile is found the next time round.
    pub(super) fn take(&mut self, slot: u32, worker: u32) -> Result<(), RunError> {
        const ROUNDS: usize = 64;
        let Some(at_work) = self.station.jobs.get(&slot) else { return Ok(()) };
        for _ in 0..ROUNDS {
            let inside: HashSet<u32> = at_work.cgroup.processes().into_iter().collect();
            let outside: Vec<u32> = family(worker).into_iter().filter(|pid| !inside.contains(pid)).collect();
            if outside.is_empty() {
                return Ok(());
            }
            for pid in outside {
                at_work.cgroup.take(pid)?;
            }
        }
        Err(io_error("take in the worker's processes")(std::io::Error::other(
            "new ones are started faster than they can be moved",
        )))
    }

    /// Lets everything of a job go to another cgroup, and out of the job. What is born meanwhile goes the next time round.
    pub(super) fn release(&mut self, slot: u32, cgroup: &str) -> Result<(), RunError> {
        const ROUNDS: usize = 64;
        let to = self.station.hierarchy.mount.join(cgroup.trim_start_matches('/'));
        let Station { jobs, kernel, .. } = &mut self.station;
        let Some(at_work) = jobs.get(&slot) else { return Ok(()) };
        for _ in 0..ROUNDS {
            // First: whoever leaves a job's cgroup and belongs to it has fled.
            kernel.let_go(slot)?;
            let inside = at_work.cgroup.processes();
            if inside.is_empty() {
                break;
            }
            at_work.cgroup.release(&inside, &to)?;
        }
        Ok(())
    }
}

/// A process and its descendants, parents first; but for the daemon's own session, which may have been started by a step: a
/// daemon that is held to a job's rules can't look after it.
fn family(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, parent) in procfs::parents() {
        children.entry(parent).or_default().push(pid);
    }
    let own = rustix::process::getsid(None).ok();
    let session = |pid: u32| {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        rustix::process::getsid(Some(pid)).ok()
    };
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let more = children.remove(pid).unwrap_or_default();
        found.extend(more.into_iter().filter(|pid| session(*pid) != own));
        next += 1;
    }
    found
}

pub(super) fn pidfd(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

pub(super) fn has_ended(process: &OwnedFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|ready| ready > 0)
}
