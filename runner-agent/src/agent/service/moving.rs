//! Which processes are whose job's: taken into its cgroup when it begins, let go when the daemon ends.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Service;
use crate::agent::run::{RunError, io_error};
use crate::agent::station::Station;
use crate::kernel::procfs::{self, Kin, Snapshot};

impl Service {
    pub(super) fn cgroup_of(&self, pid: u32) -> Option<PathBuf> {
        let cgroup = Snapshot::read(pid)?.cgroup;
        Some(self.station.hierarchy.mount.join(cgroup.trim_start_matches('/')))
    }

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

/// A process and its descendants, parents first; but for the daemon, and for its session, which may have been started by a
/// step: a daemon that is held to a job's rules can't look after it.
fn family(root: u32) -> Vec<u32> {
    family_among(&procfs::processes(), root, std::process::id())
}

fn family_among(processes: &[(u32, Kin)], root: u32, own: u32) -> Vec<u32> {
    // Session 0 is any that is outside this PID namespace, and says nothing about who belongs together.
    let session = processes.iter().find(|(pid, _)| *pid == own).map(|(_, kin)| kin.session).filter(|&own| own != 0);
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, kin) in processes {
        if *pid != own && session != Some(kin.session) {
            children.entry(kin.parent).or_default().push(*pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let more = children.remove(pid).unwrap_or_default();
        found.extend(more);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, session: u32) -> (u32, Kin) {
        (pid, Kin { parent, group: session, session, start_ticks: 0 })
    }

    #[test]
    fn a_family_is_without_the_daemon_and_its_session() {
        let processes =
            [process(10, 1, 10), process(11, 10, 10), process(12, 11, 12), process(13, 12, 12), process(14, 11, 10)];
        assert_eq!(family_among(&processes, 10, 12), [10, 11, 14]);
    }

    #[test]
    fn a_session_outside_the_pid_namespace_makes_nobody_the_daemons() {
        let processes =
            [process(10, 1, 0), process(11, 10, 0), process(12, 11, 0), process(13, 12, 0), process(14, 11, 0)];
        assert_eq!(
            family_among(&processes, 10, 12),
            [10, 11, 14],
            "the daemon's children would be held with their parents"
        );
    }
}
