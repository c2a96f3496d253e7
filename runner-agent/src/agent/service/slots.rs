//! The slots of jobs: which is free, and which job a process or a name means.

use super::{BeginError, Service};
use crate::job::Scope;

impl Service {
    /// The slots are gone round, so that what comes late of one job never looks like another's.
    pub(super) fn free_slot(&self) -> Option<u32> {
        let jobs = self.options.jobs;
        (1..=jobs).map(|step| (self.last_slot + step - 1) % jobs + 1).find(|slot| !self.sessions.contains_key(slot))
    }

    /// Why none is free.
    pub(super) fn no_slot(&self) -> BeginError {
        match self.sessions.values().next() {
            Some(session) if self.station.scope() == Scope::Runner => BeginError::Held(session.begun.id.clone()),
            _ => BeginError::Full(self.sessions.len()),
        }
    }

    pub(super) fn slot_of(&self, pid: u32) -> Option<u32> {
        let path = self.cgroup_of(pid)?;
        let found = self.station.jobs.values().find(|at_work| path.starts_with(at_work.cgroup.path()));
        found.map(|at_work| at_work.job.slot)
    }

    pub(super) fn slot(&self, id: &str) -> Option<u32> {
        self.sessions.iter().find(|(_, session)| &*session.begun.id == id).map(|(slot, _)| *slot)
    }
}
