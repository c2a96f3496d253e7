//! The end of a job: what is left is ended, the last records come in, the account is closed, and what was made goes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::child;
use super::run::{Armed, Outcome, RunError, SLOT, io_error};
use crate::job::Job;
use crate::kernel::{Kernel, LoadError};
use crate::notice::{Account, Content, JobEnded, RuleUse};

/// How long the last records may take to arrive after the job has ended.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

impl Armed {
    /// Ends what is left, waits for the last records, closes the account.
    pub(super) fn settle(mut self, status: Option<ExitStatus>) -> Result<Outcome, RunError> {
        self.take_in();
        let left = self.kernel.members(SLOT)?;
        self.cgroup.kill()?;
        let kernel = &mut self.kernel;
        // Those that left the cgroup; a map that can't be read is told by the next call.
        child::end_processes(|| kernel.members(SLOT).unwrap_or_default()).map_err(io_error("end what is left"))?;
        let deadline = Instant::now() + SETTLE_WITHIN;
        loop {
            self.take_reports();
            while self.flow.take_in(&mut self.kernel, u64::MAX) {}
            let account = self.flow.book.account(&self.kernel.counters()?, 0);
            if account.received == account.submitted() || Instant::now() >= deadline {
                break;
            }
            self.kernel.wait_readable(Duration::from_millis(1));
        }
        let (rules, dropped_packets) = rule_uses(&mut self.kernel, &self.job)?;
        let Self { mut kernel, cgroup, job, mut flow, blocking, disarmed, .. } = self;
        flow.flush();
        // Named only now: one may have been about to become another program when the command ended.
        let leftovers = left.into_iter().map(|key| {
            let name = flow.pipeline.processes().get(key).map_or("?", |process| process.name());
            format!("{name} (pid {})", key.tgid)
        });
        let leftovers = leftovers.collect();
        let (account, losses) = flow.settle_losses(&mut kernel)?;
        for loss in losses {
            flow.announce(Some(&job), Content::Loss(loss));
        }
        let state = flow.pipeline.end_job(SLOT);
        let ended = JobEnded {
            exit_code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            leftovers,
            occurrences: state.map(|state| state.occurrences().into_iter().collect()).unwrap_or_default(),
            unreadable_dns: flow.pipeline.unreadable_dns(),
            rules,
            dropped_packets,
            account: account.clone(),
        };
        flow.announce(Some(&job), Content::JobEnded(ended));
        flow.send();
        // The hooks go first, then the folder by which a successor would look for them.
        drop(kernel);
        cgroup.remove()?;
        drop(blocking);
        let (summary, notices_dropped) = flow.finish();
        Ok(Outcome { status, disarmed, summary, account: Account { notices_dropped, ..account } })
    }
}

/// What each rule decided, and how many packets no verdict covered.
fn rule_uses(kernel: &mut Kernel, job: &Job) -> Result<(Vec<RuleUse>, u64), LoadError> {
    let counts = kernel.rule_counts(SLOT)?;
    let dropped = counts.iter().map(|count| count.dropped).sum();
    let used = job.rule_ids.iter().zip(&counts).filter(|(_, count)| count.allowed + count.blocked > 0);
    let decided =
        used.map(|(rule, count)| RuleUse { rule: rule.clone(), allowed: count.allowed, blocked: count.blocked });
    Ok((decided.collect(), dropped))
}
