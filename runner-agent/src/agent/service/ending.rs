//! The end of a job: announced by whoever says so, over when its worker has ended.

use super::moving::has_ended;
use super::{Begun, Ended, Service};
use crate::agent::run::RunError;
use crate::event::Finding;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::procfs::Snapshot;
use crate::notice::Account;
use crate::report::summary::Summary;
use crate::text::base_name;

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
        let whole = self.station.flow.whole_account(&mut self.station.kernel)?;
        let (account, _) = self.station.flow.settle_losses(slot, &whole);
        let (Some(session), Some(row), Some(at_work)) =
            (self.sessions.get_mut(&slot), self.station.flow.row(slot), self.station.jobs.get(&slot))
        else {
            return Ok(None);
        };
        let pipeline = &self.station.flow.pipeline;
        let told = tell(&session.begun, &row.summary, &account, &|found| pipeline.occurrences_of(slot, found));
        let Some(asker) = by else { return Ok(Some(told)) };
        session.execs_then = row.summary.execs();
        let is_first = !std::mem::replace(&mut session.is_announced, true);
        let state = if is_first { "end-announced" } else { "end-announced-again" };
        let by = Snapshot::read(asker).map_or_else(
            || format!("pid {asker}"),
            |asker| format!("{} (pid {})", base_name(&asker.program.exe), asker.pid),
        );
        let job = at_work.job.clone();
        self.station.flow.changed(
            &job,
            state,
            format!("{by} said that the job has ended; it is followed until its worker has"),
        );
        self.station.flow.send();
        Ok(Some(told))
    }

    pub(super) fn tell_who_went_on(&mut self) {
        let Self { station, sessions, .. } = self;
        for (slot, session) in sessions.iter_mut().filter(|(_, session)| session.is_announced && !session.went_on_told)
        {
            let (Some(row), Some(at_work)) = (station.flow.row(*slot), station.jobs.get(slot)) else { continue };
            if row.summary.execs() > session.execs_then {
                session.went_on_told = true;
                let job = at_work.job.clone();
                let detail =
                    "programs were started after the job's end was announced; what was reported then is not all";
                station.flow.changed(&job, "went-on", detail.to_owned());
                station.flow.send();
            }
        }
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
        if !session.is_announced
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

    /// The daemon ends. Jobs whose end was announced are let go of; others stay as they are, under their rules, for a successor.
    pub fn leave(mut self) -> Result<Vec<Ended>, RunError> {
        self.station.take_in();
        let mut ended = Vec::new();
        let announced = self.sessions.iter().filter(|(_, session)| session.is_announced);
        let own = Hierarchy::find()?.own;
        for slot in announced.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            self.release(slot, &own.to_string_lossy())?;
            ended.extend(self.end(slot)?);
        }
        if self.sessions.is_empty() {
            self.station.take_down();
        } else {
            self.station.leave();
        }
        Ok(ended)
    }
}
