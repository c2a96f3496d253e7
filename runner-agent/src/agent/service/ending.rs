//! The end of a job: announced by whoever says so, over when its worker has ended.

use std::time::{Duration, Instant};

use super::moving::has_ended;
use super::{Begun, Ended, Service};
use crate::agent::run::RunError;
use crate::event::Finding;
use crate::kernel::cgroup::Hierarchy;
use crate::notice::Account;
use crate::report::summary::Summary;

/// How long to wait before a job that could not be ended is ended again.
pub(super) const END_AGAIN: Duration = Duration::from_secs(10);

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
            let is_over = match session.again {
                None => {
                    session.beginning.is_none()
                        && has_ended(&session.ended)
                        && (self.options.ends_leftovers || !is_alive())
                }
                Some(again) => Instant::now() >= again && !is_alive(),
            };
            if is_over {
                found.push(*slot);
            }
        }
        found
    }

    /// Ends a job. One that can't be ended stays with its rules, which is told in its log, and is tried again.
    pub(super) fn end(&mut self, slot: u32) -> Option<Ended> {
        let session = self.sessions.get(&slot)?;
        let is_first = session.again.is_none();
        let job = self.station.jobs.get(&slot)?.job.clone();
        if is_first && !self.station.is_announced(slot) {
            let detail = "the worker ended and nobody had announced the job's end".to_owned();
            self.station.flow.changed(&job, "unannounced-end", detail);
        }
        match self.station.end(slot, None) {
            Ok(outcome) => {
                self.past.end(&outcome);
                Some(Ended { begun: self.sessions.remove(&slot)?.begun, outcome })
            }
            Err(error) => {
                self.sessions.get_mut(&slot)?.again = Some(Instant::now() + END_AGAIN);
                if is_first {
                    tracing::error!("{} can't be ended, and is tried again: {error}", job.id);
                    self.station.flow.changed(&job, "not-ended", error.to_string());
                    self.station.flow.send();
                }
                None
            }
        }
    }

    /// The daemon ends, for whatever reason. Jobs whose end was announced are let go of; others stay as they are, under their rules,
    /// with a keeper, and so do those that can't be let go of.
    pub fn leave(mut self) -> Vec<Ended> {
        self.station.take_in();
        self.give_up_all();
        let mut ended = Vec::new();
        let own = Hierarchy::find().map_or_else(|_| self.station.hierarchy.own.clone(), |found| found.own);
        let announced = self.sessions.keys().copied().filter(|slot| self.station.is_announced(*slot));
        for slot in announced.collect::<Vec<_>>() {
            match self.release(slot, &own.to_string_lossy()) {
                Ok(()) => ended.extend(self.end(slot)),
                Err(error) => tracing::error!("a job that is over can't be let go of: {error}"),
            }
        }
        if self.station.jobs.is_empty() {
            self.station.take_down();
        } else if let Some(left) = self.station.leave() {
            left.to_keeper();
        }
        ended
    }
}
