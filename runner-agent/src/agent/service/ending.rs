//! The end of a job: announced by whoever says so, over when its worker has ended.

use super::moving::has_ended;
use super::{Begun, Ended, Service};
use crate::agent::run::RunError;
use crate::event::Finding;
use crate::kernel::cgroup::Hierarchy;
use crate::notice::Account;
use crate::report::summary::Summary;

impl Service {
    /// Hands what came of a job so far to `tell`, and notes by whom its end was announced, if it was. Its rules stay in force until
    /// its worker has ended.
    pub fn announce_end<T>(
        &mut self,
        id: &str,
        by: Option<u32>,
        tell: impl FnOnce(&Begun, &Summary, &Account, &dyn Fn(&Finding) -> u64) -> T,
    ) -> Result<Option<T>, RunError> {
        let Some(slot) = self.slot(id) else { return Ok(None) };
        self.station.take_in();
        let account = self.station.account_so_far(slot)?;
        let (Some(session), Some(row)) = (self.sessions.get(&slot), self.station.flow.row(slot)) else {
            return Ok(None);
        };
        let pipeline = &self.station.flow.pipeline;
        let told = tell(&session.begun, &row.summary, &account, &|found| pipeline.occurrences_of(slot, found));
        if let Some(by) = by {
            self.station.announce_end(slot, by);
        }
        Ok(Some(told))
    }

    /// Jobs whose worker has ended, and that nothing is left of or is to be.
    pub(super) fn over(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for (slot, session) in &self.sessions {
            let is_alive = || self.station.jobs.get(slot).is_some_and(|at_work| at_work.cgroup.is_alive());
            if has_ended(&session.ended) && (self.options.ends_leftovers || !is_alive()) {
                found.push(*slot);
            }
        }
        found
    }

    pub(super) fn end(&mut self, slot: u32) -> Result<Option<Ended>, RunError> {
        let Some(session) = self.sessions.remove(&slot) else { return Ok(None) };
        if !self.station.is_announced(slot)
            && let Some(at_work) = self.station.jobs.get(&slot)
        {
            let job = at_work.job.clone();
            let detail = "the worker ended and nobody had announced the job's end".to_owned();
            self.station.flow.changed(&job, "unannounced-end", detail);
        }
        let outcome = self.station.end(slot, None)?;
        self.past.end(&outcome);
        Ok(Some(Ended { begun: session.begun, outcome }))
    }

    /// The daemon ends. Jobs whose end was announced are let go of; others stay as they are, under their rules, with a keeper.
    pub fn leave(mut self) -> Result<Vec<Ended>, RunError> {
        self.station.take_in();
        let mut ended = Vec::new();
        let own = Hierarchy::find()?.own;
        let announced = self.sessions.keys().copied().filter(|slot| self.station.is_announced(*slot));
        for slot in announced.collect::<Vec<_>>() {
            self.release(slot, &own.to_string_lossy())?;
            ended.extend(self.end(slot)?);
        }
        if self.sessions.is_empty() {
            self.station.take_down();
        } else if let Some(left) = self.station.leave() {
            left.to_keeper();
        }
        Ok(ended)
    }
}
