//! What is done while jobs run: records and reports are passed on, the resolver follows a job to other networks, services are
//! found again, what the agent stands on is looked at, losses are told.

use std::time::{Duration, Instant};

use super::flow::{Flow, now_ns, until_taken};
use super::pulse::Found;
use super::resolving::Told;
use super::run::RunError;
use super::station::Station;
use super::{gating, guarding};
use crate::job::Job;
use crate::kernel::{Kernel, LoadError};
use crate::notice::Content;
use crate::sink::courier::News;

/// How often the agent's own threads are looked at.
const LOOK_AT_THREADS: Duration = Duration::from_secs(1);

impl Station {
    /// Takes in what there is by now; what comes meanwhile waits, so that signals, questions and a command's end are seen under a flood
    /// too.
    pub(super) fn take_in(&mut self) {
        until_taken(now_ns(), || {
            self.take_reports();
            let complete_until = self.flow.take_in(&mut self.kernel, now_ns());
            self.join_networks();
            complete_until
        });
    }

    /// What the resolver has to tell stands after the records of what was done before the question, and before those of what
    /// was done with its answer.
    pub(super) fn take_reports(&mut self) {
        let Self { kernel, flow, jobs, .. } = self;
        for (&slot, at_work) in jobs {
            // Only those that wait by now, and only what was done before them: a job can ask faster than this goes.
            let reports = at_work.engine.as_mut().map_or(0, |gate| gate.reports().len());
            let complete = taken_off(flow, kernel, reports);
            for _ in 0..reports {
                let Some(asked) = at_work.engine.as_mut().and_then(|gate| gate.reports().try_recv().ok()) else {
                    break;
                };
                flow.pass_on(kernel, complete.min(asked.at_ns));
                flow.engine_asked(slot, gating::asked(asked));
            }
            let Some(blocking) = &mut at_work.blocking else { continue };
            flow.set_reports_lost(slot, blocking.resolver.lost());
            let reports = blocking.resolver.reports().len();
            let complete = taken_off(flow, kernel, reports);
            for _ in 0..reports {
                let Some(told) = blocking.next_report() else { break };
                match told {
                    Told::Resolved(resolved) => {
                        flow.pass_on(kernel, complete.min(resolved.at_ns));
                        flow.resolved(slot, &resolved);
                    }
                    Told::Changed { state, detail } => flow.changed(&at_work.job, state, detail),
                }
            }
        }
        flow.send();
    }

    /// Has the resolver answer wherever processes of a job ask: each network namespace has a loopback of its own.
    fn join_networks(&mut self) {
        let moved = self.flow.take_moved();
        if let (Some(platform), false) = (&mut self.platform, moved.is_empty()) {
            platform.has_started();
        }
        for (slot, pid) in moved {
            if let Some(blocking) = self.jobs.get_mut(&slot).and_then(|at_work| at_work.blocking.as_mut()) {
                blocking.answer_in_network_of(pid);
            }
        }
    }

    /// Sees to it that everything is in force. A job for which that can't be put right is ended.
    pub(super) fn look_after(&mut self) -> Result<(), RunError> {
        self.look_at_threads();
        let Self { kernel, flow, jobs, pulse, .. } = self;
        if let Some(platform) = &mut self.platform {
            for key in platform.look_after(kernel)? {
                flow.pipeline.released(key, now_ns());
            }
        }
        let is_due = pulse.is_due();
        let stopped = if is_due { pulse.look(kernel)? } else { None };
        for at_work in jobs.values_mut() {
            for detail in at_work.stand.look_after() {
                tell_tampered(flow, &at_work.job, detail);
            }
            if is_due && at_work.cgroup.step_out() {
                tell_tampered(
                    flow,
                    &at_work.job,
                    "the agent was pulled into the job's cgroup, and has left it".to_owned(),
                );
            }
            if let Some(found) = stopped {
                tell_tampered(flow, &at_work.job, found.text().to_owned());
            }
            let Some(blocking) = &mut at_work.blocking else {
                if guarding::repair(kernel, at_work.job.slot, guarding::rules(&at_work.job.policy))? {
                    tell_tampered(flow, &at_work.job, guarding::REPAIRED.to_owned());
                }
                continue;
            };
            if at_work.disarmed.is_some() {
                continue;
            }
            let looked = match stopped {
                Some(Found::Gone) => Err(LoadError::Disarmed(Found::Gone.text().to_owned())),
                _ => blocking.look_after(kernel, now_ns()),
            };
            let (state, details) = match looked {
                Ok(repairs) => ("repaired", repairs.what),
                Err(error) => {
                    at_work.disarmed = Some(error.to_string());
                    // One that doesn't end at once has been told to all the same.
                    let unended = at_work.cgroup.kill().err();
                    ("disarmed", [error].into_iter().chain(unended).map(|error| error.to_string()).collect())
                }
            };
            for detail in details {
                flow.changed(&at_work.job, state, detail);
            }
        }
        flow.send();
        Ok(())
    }

    /// Threads come and go: those of jobs' sinks, and those for what would keep the others waiting.
    fn look_at_threads(&mut self) {
        if self.threads_looked.elapsed() < LOOK_AT_THREADS {
            return;
        }
        self.threads_looked = Instant::now();
        if let Err(error) = self.kernel.add_own_threads() {
            tracing::error!("threads of the agent can be reached by jobs unseen: {error}");
        }
    }

    /// Tells of what was found to be other than it was left.
    pub(super) fn tell_tampered(&mut self, job: &Job, detail: String) {
        tell_tampered(&mut self.flow, job, detail);
    }

    /// Tells each job of losses since the last time, and of its sinks.
    pub(super) fn tell_losses(&mut self) -> Result<(), RunError> {
        let counters = self.kernel.counters()?;
        let whole = self.flow.account(&counters, &self.kernel);
        for at_work in self.jobs.values() {
            let (_, losses) = self.flow.settle_losses(at_work.job.slot, &whole);
            for loss in losses {
                self.flow.announce(&at_work.job, Content::Loss(loss));
            }
            for News { state, detail, .. } in self.flow.sink_news(at_work.job.slot) {
                self.flow.changed(&at_work.job, state, detail);
            }
        }
        self.flow.send();
        Ok(())
    }
}

/// Takes off the rings what stands before that many reports. Returns until when everything was.
fn taken_off(flow: &mut Flow, kernel: &mut Kernel, reports: usize) -> u64 {
    let complete_until = if reports > 0 { flow.take_off(kernel) } else { None };
    complete_until.unwrap_or(u64::MAX)
}

fn tell_tampered(flow: &mut Flow, job: &Job, detail: String) {
    tracing::warn!("tampered with: {detail}");
    flow.changed(job, "tampered", detail);
    flow.send();
}
