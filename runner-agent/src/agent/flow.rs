//! From the rings to the outboxes: put in order, decoded, told by the pipeline, offered to every sink.

use std::sync::Arc;

use runner_agent_common::record::flag;

use super::account::Bookkeeper;
use super::child;
use crate::decode::{Record, decode};
use crate::job::Job;
use crate::kernel::procfs::Snapshot;
use crate::kernel::{Kernel, LoadError};
use crate::notice::{Account, Content, Loss, Notice};
use crate::order::Order;
use crate::pipeline::{Measure, Pipeline, Resolved};
use crate::record_file::Recorder;
use crate::report::summary::Summary;
use crate::sink::{Outbox, SinkLoss};

/// Name of the sink that has to have everything.
pub const LOG: &str = "log";

/// The way of a record, from ring to outbox.
pub(super) struct Flow {
    order: Order,
    pub(super) pipeline: Pipeline,
    pub(super) book: Bookkeeper,
    summary: Summary,
    outboxes: Vec<Outbox>,
    recorder: Option<Recorder>,
    notices: Vec<Notice>,
    /// What the resolver had to tell and found no room for: lines that the log lacks.
    pub(super) reports_lost: u64,
}

impl Flow {
    /// Nothing has happened yet.
    pub(super) fn new(pipeline: Pipeline, book: Bookkeeper, outboxes: Vec<Outbox>, recorder: Option<Recorder>) -> Self {
        let (order, summary, notices) = (Order::default(), Summary::default(), Vec::new());
        Self { order, pipeline, book, summary, outboxes, recorder, notices, reports_lost: 0 }
    }

    /// Takes what waits on the rings and passes on what happened up to `until_ns`. True when there is more to take.
    pub(super) fn take_in(&mut self, kernel: &mut Kernel, until_ns: u64) -> bool {
        let Self { order, pipeline, book, recorder, notices, .. } = self;
        let complete_until = kernel.drain(|bytes| {
            book.received += 1;
            if let Some(recorder) = recorder.as_mut() {
                recorder.record(bytes);
            }
            order.push(bytes);
        });
        let until_ns = complete_until.map_or(until_ns, |complete| complete.min(until_ns));
        if let Some(recorder) = recorder.as_mut() {
            recorder.round(until_ns);
        }
        order.release(until_ns, |bytes| match decode(bytes) {
            Ok(record) => {
                book.decoded += 1;
                introduce(&record, pipeline);
                pipeline.handle(&record, notices);
            }
            Err(error) => {
                book.refused += 1;
                tracing::error!("a record was refused: {error}");
            }
        });
        pipeline.tick(until_ns, notices);
        for measure in self.pipeline.take_measures() {
            carry_out(measure, kernel);
        }
        self.send();
        complete_until.is_some()
    }

    /// Takes in what has waited since the agent before ended, and counts from there: what that agent had taken from the
    /// rings stands in its own account.
    pub(super) fn inherit_account(&mut self, kernel: &mut Kernel, now_ns: u64) {
        const ROUNDS: usize = 64;
        let submitted = |kernel: &mut Kernel, book: &Bookkeeper| {
            kernel.counters().map_or(0, |counters| book.account(&counters, 0).submitted())
        };
        for _ in 0..ROUNDS {
            let before = submitted(kernel, &self.book);
            while self.take_in(kernel, now_ns) {}
            let after = submitted(kernel, &self.book);
            // Nothing came in between, so nothing is under way.
            if before == after {
                let taken = self.book.received;
                self.book.received = after;
                self.book.decoded += after.saturating_sub(taken);
                return;
            }
        }
    }

    /// Passes on what still waits for something that will not come.
    pub(super) fn flush(&mut self) {
        self.pipeline.tick(u64::MAX, &mut self.notices);
        self.send();
    }

    /// Takes in what the job's resolver answered.
    pub(super) fn resolved(&mut self, slot: u32, answered: &Resolved) {
        self.pipeline.resolved(slot, answered, &mut self.notices);
    }

    /// Tells something that no record tells.
    pub(super) fn announce(&mut self, job: Option<&Arc<Job>>, content: Content) {
        self.pipeline.announce(now_ns(), job.map(|job| job.id.clone()), content, &mut self.notices);
    }

    /// Offers what was told to every sink.
    pub(super) fn send(&mut self) {
        for notice in self.notices.drain(..) {
            self.summary.observe(&notice);
            for outbox in &self.outboxes {
                outbox.offer(&notice);
            }
        }
    }

    /// The account of records so far, and the losses in it that were not told yet.
    pub(super) fn settle_losses(&mut self, kernel: &mut Kernel) -> Result<(Account, Vec<Loss>), LoadError> {
        let mut sinks: Vec<SinkLoss> = self.outboxes.iter().map(Outbox::loss).collect();
        let account = self.book.account(&kernel.counters()?, missing_in_log(&sinks) + self.reports_lost);
        sinks.push(SinkLoss { sink: "resolver", dropped: self.reports_lost, failed: 0 });
        let losses = self.book.news(&account, &sinks);
        Ok((account, losses))
    }

    /// Waits for the sinks. Returns the summary, and how many notices the log lacks.
    pub(super) fn finish(self) -> (Summary, u64) {
        if let Some(recorder) = self.recorder {
            recorder.finish();
        }
        let sinks: Vec<SinkLoss> = self.outboxes.into_iter().map(Outbox::finish).collect();
        (self.summary, missing_in_log(&sinks) + self.reports_lost)
    }
}

fn missing_in_log(sinks: &[SinkLoss]) -> u64 {
    sinks.iter().filter(|loss| loss.sink == LOG).map(|loss| loss.dropped + loss.failed).sum()
}

/// Does what the pipeline found to be necessary.
fn carry_out(measure: Measure, kernel: &mut Kernel) {
    match measure {
        Measure::MarkHolder(key) => {
            if let Err(error) = kernel.holds_secret(key) {
                tracing::error!("{error}");
            }
        }
        Measure::End(key) => {
            if child::end_process(key) {
                tracing::warn!("pid {} left its job's cgroup and was ended", key.tgid);
            }
        }
    }
}

/// A process that the job did not give birth to is introduced by `/proc`, and so are its ancestors.
fn introduce(record: &Record, pipeline: &mut Pipeline) {
    let Record::Fork(fork) = record else { return };
    if fork.header.flags & flag::ADOPTED == 0 {
        return;
    }
    for key in [fork.header.process, fork.parent] {
        let Some(snapshot) = Snapshot::read(key.tgid).filter(|snapshot| snapshot.is(key)) else { continue };
        let mut lineage = vec![(key, snapshot)];
        // What is above the agent is the runner's own, and no part of the job's story.
        let agent = std::process::id();
        while let Some(parent) =
            lineage.last().filter(|(key, _)| key.tgid != agent).and_then(|(_, child)| Snapshot::read(child.parent))
        {
            // The exact key of the parent is known from the record; of those above only what /proc tells.
            let key = if parent.is(fork.parent) { fork.parent } else { parent.rough_key() };
            lineage.push((key, parent));
        }
        let mut above = None;
        for (key, snapshot) in lineage.into_iter().rev() {
            pipeline.snapshot(key, above, snapshot.program);
            above = Some(key);
        }
    }
}

/// Nanoseconds since boot, the probes' clock.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
