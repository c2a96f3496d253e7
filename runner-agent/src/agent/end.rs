//! The end of a job: what is left is ended, the last records come in, the account is closed, and what was made goes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::at_work::AtWork;
use super::child;
use super::flow::{Flow, now_ns};
use super::run::{Outcome, RunError, io_error};
use super::sealing::Over;
use super::station::Station;
use crate::event::ProcessKey;
use crate::job::Job;
use crate::kernel::cgroup::JobCgroup;
use crate::kernel::{Kernel, LoadError};
use crate::notice::{Account, Content, JobEnded, RuleUse};
use crate::sink::courier::News;

/// How long the last records may take to arrive after the job has ended.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

impl Station {
    /// Ends what is left of a job, waits for the last records, closes its account, and takes away what was made for it. An error is that
    /// the job hasn't ended: it is as it was, under its rules. What can't be taken away of one that has is told in its log.
    pub(super) fn end(&mut self, slot: u32, status: Option<ExitStatus>) -> Result<Outcome, RunError> {
        self.take_in();
        let left = self.kernel.members(slot)?;
        let Some(at_work) = self.jobs.get(&slot) else { return Err(no_job(slot)) };
        let runners = self.kernel.runners(slot, at_work.began_ns)?;
        at_work.cgroup.kill()?;
        let kernel = &mut self.kernel;
        // Those that left the cgroup; a map that can't be read is told by the next call.
        child::end_processes(|| kernel.members(slot).unwrap_or_default()).map_err(io_error("end what is left"))?;
        let ended_ns = now_ns();
        let whole = self.settle(slot)?;
        let Some(AtWork { job, cgroup, disarmed, mut stand, log, seal, began_ns, .. }) = self.jobs.remove(&slot) else {
            return Err(no_job(slot));
        };
        for detail in stand.look() {
            self.tell_tampered(&job, detail);
        }
        let (rules, dropped_packets) = rule_uses(&mut self.kernel, &job).unwrap_or_else(|error| {
            self.not_cleared(&job, &error.into());
            (Vec::new(), 0)
        });
        // Named only now: one may have been about to become another program when the command ended.
        let named = |keys: Vec<ProcessKey>, flow: &Flow| {
            let name = |key: ProcessKey| {
                let name = flow.pipeline.processes().get(key).map_or("?", |process| process.name());
                format!("{name} (pid {})", key.tgid)
            };
            keys.into_iter().map(name).collect::<Vec<_>>()
        };
        let (leftovers, left_on_runner) = (named(left, &self.flow), named(runners, &self.flow));
        for News { state, detail, .. } in self.flow.sink_news(slot) {
            self.flow.changed(&job, state, detail);
        }
        let (account, losses) = self.flow.settle_losses(slot, &whole);
        for loss in losses {
            self.flow.announce(&job, Content::Loss(loss));
        }
        let ended = JobEnded {
            exit_code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            leftovers,
            left_on_runner,
            occurrences: self.flow.pipeline.occurrences(slot),
            unreadable_dns: self.flow.pipeline.unreadable_dns(slot),
            rules,
            dropped_packets,
            account: account.clone(),
        };
        self.flow.announce(&job, Content::JobEnded(ended));
        self.flow.send();
        for error in self.take_away(slot, cgroup) {
            self.not_cleared(&job, &error);
        }
        if self.proves_reset {
            match self.reset(slot) {
                Ok(detail) => self.flow.changed(&job, "reset", detail),
                Err(error) => self.not_cleared(&job, &error),
            }
        }
        self.flow.send();
        let over = Over { job, log, seal, began_ns, ended_ns };
        Ok(Outcome { status, ..self.seal(over, disarmed, account) })
    }

    /// Takes away what was made for a job that has ended, whatever of that fails. Returns what did.
    fn take_away(&mut self, slot: u32, cgroup: JobCgroup) -> Vec<RunError> {
        // The hooks go first, then the cgroup by which a successor would look for the job.
        let hooks = self.kernel.remove_job(slot);
        // Whoever isn't the job's and was held to its policy runs on, and belongs to nobody.
        let others = self.kernel.let_go(slot);
        let cgroup = cgroup.remove();
        let testament = self.bequeath();
        let guarded = self.guard_testament();
        let done = [hooks.map_err(RunError::from), others.map_err(RunError::from), cgroup.map_err(RunError::from)];
        done.into_iter().chain([testament, guarded]).filter_map(Result::err).collect()
    }

    /// Tells that something of a job that has ended is left, which costs no other job anything.
    fn not_cleared(&mut self, job: &Job, error: &RunError) {
        tracing::error!("{}: {error}", job.id);
        self.flow.changed(job, "not-cleared", error.to_string());
    }

    /// What is left of a job that has ended, for people: what the next one could have found.
    fn reset(&mut self, slot: u32) -> Result<String, RunError> {
        let left = self.kernel.entries_of(slot)?;
        if left.is_empty() {
            return Ok(
                "nothing is left of the job in the kernel's maps, its cgroup is gone, and no process of it runs"
                    .to_owned(),
            );
        }
        let left: Vec<String> = left.iter().map(|(map, entries)| format!("{map} {entries}")).collect();
        Ok(format!("entries of the job are left in the kernel's maps: {}", left.join(", ")))
    }

    /// Takes in the last records of a job whose processes have ended. Returns the account of everything.
    fn settle(&mut self, slot: u32) -> Result<Account, RunError> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let is_alone = self.jobs.keys().all(|other| *other == slot);
        loop {
            self.take_reports();
            // What comes late in time stands behind what others are doing now.
            let until_ns = if is_alone { u64::MAX } else { now_ns() };
            self.flow.catch_up(&mut self.kernel, until_ns);
            let whole = self.flow.whole_account(&mut self.kernel)?;
            if whole.difference() == 0 || Instant::now() >= deadline {
                self.flow.flush();
                return Ok(whole);
            }
            self.kernel.wait_readable(Duration::from_millis(1));
        }
    }
}

fn no_job(slot: u32) -> RunError {
    io_error("end the job")(std::io::Error::other(format!("there is none in slot {slot}")))
}

/// What each rule decided, and how many packets no verdict covered.
fn rule_uses(kernel: &mut Kernel, job: &Job) -> Result<(Vec<RuleUse>, u64), LoadError> {
    let counts = kernel.rule_counts(job.slot)?;
    let dropped = counts.iter().map(|count| count.dropped).sum();
    let used = job.rule_ids.iter().zip(&counts).filter(|(_, count)| count.allowed + count.blocked > 0);
    let decided =
        used.map(|(rule, count)| RuleUse { rule: rule.clone(), allowed: count.allowed, blocked: count.blocked });
    Ok((decided.collect(), dropped))
}
