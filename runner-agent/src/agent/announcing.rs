//! A job's end before it has come: by whom it was announced, and that the job went on after that. The same for the agent that began
//! the job and for the one that keeps it.

use super::run::RunError;
use super::station::Station;
use crate::kernel::procfs::Snapshot;
use crate::notice::{Account, Content};
use crate::text::base_name;

/// That a job's end was announced.
pub(super) struct Announced {
    /// Programs started by then.
    execs_then: u64,
    went_on_told: bool,
}

impl Station {
    /// The account of a job so far, with everything taken in.
    pub(super) fn account_so_far(&mut self, slot: u32) -> Result<Account, RunError> {
        let whole = self.flow.whole_account(&mut self.kernel)?;
        let (account, losses) = self.flow.settle_losses(slot, &whole);
        if let Some(at_work) = self.jobs.get(&slot) {
            for loss in losses {
                self.flow.announce(&at_work.job, Content::Loss(loss));
            }
        }
        Ok(account)
    }

    /// Whether a job's end was announced.
    pub(super) fn is_announced(&self, slot: u32) -> bool {
        self.jobs.get(&slot).is_some_and(|at_work| at_work.announced.is_some())
    }

    /// Notes that a process said so. Its rules stay in force until it is over.
    pub(super) fn announce_end(&mut self, slot: u32, by: u32) {
        // What went on since the last time, before that is counted from anew.
        self.tell_who_went_on();
        let (Some(row), Some(at_work)) = (self.flow.row(slot), self.jobs.get_mut(&slot)) else { return };
        let execs_then = row.summary.execs();
        let is_first = at_work.announced.is_none();
        at_work.announced.get_or_insert(Announced { execs_then, went_on_told: false }).execs_then = execs_then;
        let state = if is_first { "end-announced" } else { "end-announced-again" };
        let by = Snapshot::read(by)
            .map_or_else(|| format!("pid {by}"), |by| format!("{} (pid {})", base_name(&by.program.exe), by.pid));
        let detail = format!("{by} said that the job has ended; it is followed until its worker has");
        self.flow.changed(&at_work.job, state, detail);
        self.flow.send();
    }

    /// Tells of jobs that started programs after that.
    pub(super) fn tell_who_went_on(&mut self) {
        let Self { flow, jobs, .. } = self;
        for (slot, at_work) in jobs {
            let (Some(announced), Some(row)) = (&mut at_work.announced, flow.row(*slot)) else { continue };
            if !announced.went_on_told && row.summary.execs() > announced.execs_then {
                announced.went_on_told = true;
                let detail =
                    "programs were started after the job's end was announced; what was reported then is not all";
                flow.changed(&at_work.job, "went-on", detail.to_owned());
                flow.send();
            }
        }
    }

    /// Tells in a job's log that somebody asked for what is not his to ask for.
    pub(super) fn refused(&mut self, slot: u32, detail: &str) {
        if let Some(at_work) = self.jobs.get(&slot) {
            self.flow.changed(&at_work.job, "control-refused", detail.to_owned());
            self.flow.send();
        }
    }
}
