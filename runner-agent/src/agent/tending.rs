//! What is done while jobs run: records and reports are passed on, the resolver follows a job to other networks, services are
//! found again, what the agent stands on is looked at, losses are told.

use super::flow::{Flow, now_ns, until_taken};
use super::gating;
use super::resolving::Told;
use super::run::RunError;
use super::station::Station;
use crate::job::Job;
use crate::kernel::Kernel;
use crate::notice::Content;
use crate::sink::courier::News;

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
        let Self { kernel, flow, jobs, .. } = self;
        if let Some(platform) = &mut self.platform {
            for key in platform.look_after(kernel)? {
                flow.pipeline.released(key, now_ns());
            }
        }
        for at_work in jobs.values_mut() {
            for detail in at_work.stand.look_after() {
                tell_tampered(flow, &at_work.job, detail);
            }
            let Some(blocking) = &mut at_work.blocking else { continue };
            if at_work.disarmed.is_some() {
                continue;
            }
            let (state, details) = match blocking.look_after(kernel, now_ns()) {
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
