//! From the rings to the outboxes: put in order, decoded, told by the pipeline, offered to every sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use runner_agent_common::map::Counters;
use runner_agent_common::record::probe;

use super::account::{Bookkeeper, Told};
use super::introducing::{introduce, may_have_moved};
use super::measures::carry_out;
use crate::decode::decode;
use crate::job::Job;
use crate::kernel::procfs;
use crate::kernel::{Kernel, LoadError};
use crate::ledger::Signed;
use crate::notice::{Account, Content, Loss, Notice};
use crate::order::Order;
use crate::pipeline::{EngineAsked, Pipeline, Resolved};
use crate::record_file::Recorder;
use crate::report::summary::Summary;
use crate::sink::courier::News;
use crate::sink::outbox::Awaited;
use crate::sink::{Outbox, SinkLoss};

/// Name of the sink that has to have everything.
pub const LOG: &str = "log";

/// The way of a record, from ring to outbox.
pub(super) struct Flow {
    order: Order,
    pub(super) pipeline: Pipeline,
    pub(super) book: Bookkeeper,
    rows: BTreeMap<u32, Row>,
    recorder: Option<Recorder>,
    notices: Vec<Notice>,
    /// Processes that may have come to another network since they were asked for last, with the slots of their jobs.
    moved: Vec<(u32, u32)>,
}

/// What is told of one job: to whom, in sum, and what of it was lost.
pub(super) struct Row {
    outboxes: Vec<Outbox>,
    pub(super) summary: Summary,
    pub(super) told: Told,
    /// What the resolver had to tell and found no room for: lines that the log lacks.
    reports_lost: u64,
    /// Lines that the log lacks of what an agent before had to tell.
    missing_before: u64,
}

impl Row {
    fn sinks(&self) -> Vec<SinkLoss> {
        let outboxes = self.outboxes.iter().map(Outbox::loss);
        outboxes.chain([SinkLoss { dropped: self.reports_lost, ..SinkLoss::none("resolver") }]).collect()
    }

    fn missing_in_log(&self) -> u64 {
        missing_in_log(&self.sinks()) + self.reports_lost + self.missing_before
    }
}

impl Flow {
    /// Nothing has happened yet.
    pub(super) fn new(book: Bookkeeper, recorder: Option<Recorder>) -> Self {
        let (order, pipeline, notices, moved) = (Order::default(), Pipeline::default(), Vec::new(), Vec::new());
        Self { order, pipeline, book, rows: BTreeMap::new(), recorder, notices, moved }
    }

    /// From here on, what the job in that slot does is told there. Losses are told from the account at its beginning on.
    pub(super) fn start_job(&mut self, job: Arc<Job>, outboxes: Vec<Outbox>, since: Account) {
        let slot = job.slot;
        self.pipeline.start_job(job, &procfs::hosts("/etc/hosts".as_ref()));
        let (summary, told) = (Summary::default(), Told::since(since));
        self.rows.insert(slot, Row { outboxes, summary, told, reports_lost: 0, missing_before: 0 });
    }

    /// Goes on with a job's account where the agent before ended, which had told all losses in it.
    pub(super) fn resume_account(&mut self, slot: u32, beginning: Account, so_far: &Account) {
        if let Some(row) = self.rows.get_mut(&slot) {
            row.told = Told::resumed(beginning, so_far);
            row.missing_before = so_far.notices_dropped;
        }
    }

    /// Puts what a job did under an agent before into its summary.
    pub(super) fn recall(&mut self, slot: u32, before: Summary) {
        if let Some(row) = self.rows.get_mut(&slot) {
            row.summary = before.followed_by(&row.summary);
        }
    }

    /// The row of a job.
    pub(super) fn row(&self, slot: u32) -> Option<&Row> {
        self.rows.get(&slot)
    }

    /// What a job's resolver had to tell and found no room for, in all.
    pub(super) fn set_reports_lost(&mut self, slot: u32, lost: u64) {
        if let Some(row) = self.rows.get_mut(&slot) {
            row.reports_lost = lost;
        }
    }

    /// Records that came before there was a job.
    pub(super) fn begin_with(&mut self, records: Vec<Vec<u8>>) {
        for bytes in records {
            self.order.push(&bytes);
        }
    }

    /// Takes what waits on the rings and passes on what happened up to `until_ns`. Returns until when everything was taken off, if a
    /// ring has more.
    pub(super) fn take_in(&mut self, kernel: &mut Kernel, until_ns: u64) -> Option<u64> {
        let complete_until = self.take_off(kernel);
        self.pass_on(kernel, complete_until.map_or(until_ns, |complete| complete.min(until_ns)));
        complete_until
    }

    /// The same with all that there is by now. What comes meanwhile is not waited for: a job can fill a ring faster than it is emptied.
    pub(super) fn catch_up(&mut self, kernel: &mut Kernel, until_ns: u64) {
        let now = now_ns();
        until_taken(now, || self.take_in(kernel, until_ns));
    }

    /// The same, and passes on whatever came with it: nothing is taken in after that.
    pub(super) fn take_all(&mut self, kernel: &mut Kernel) {
        self.catch_up(kernel, u64::MAX);
        self.pass_on(kernel, u64::MAX);
    }

    /// Takes what waits on the rings, and puts it in order. Returns until when everything was taken off, if a ring has more.
    pub(super) fn take_off(&mut self, kernel: &mut Kernel) -> Option<u64> {
        let Self { order, book, recorder, .. } = self;
        kernel.drain(|bytes| {
            book.received += 1;
            if let Some(recorder) = recorder.as_mut() {
                recorder.record(bytes);
            }
            order.push(bytes);
        })
    }

    /// Passes on what was taken off and happened up to `until_ns`.
    pub(super) fn pass_on(&mut self, kernel: &mut Kernel, until_ns: u64) {
        let Self { order, pipeline, book, recorder, notices, moved, .. } = self;
        if let Some(recorder) = recorder.as_mut() {
            recorder.round(until_ns);
        }
        order.release(until_ns, |bytes| match decode(bytes) {
            Ok(record) => {
                book.decoded += 1;
                introduce(&record, pipeline);
                if may_have_moved(&record) {
                    moved.push((record.header().job, record.header().process.tgid));
                }
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

    /// Processes that may have come to another network since this was asked last, with the slots of their jobs.
    pub(super) fn take_moved(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.moved)
    }

    /// Takes in what the gate to a container engine was asked.
    pub(super) fn engine_asked(&mut self, slot: u32, asked: EngineAsked) {
        self.pipeline.engine_asked(slot, asked, &mut self.notices);
    }

    /// Tells something about a job that no record tells.
    pub(super) fn announce(&mut self, job: &Job, content: Content) {
        self.pipeline.announce(now_ns(), job.slot, Some(job.id.clone()), content, &mut self.notices);
    }

    /// Tells something about the agent in the row of a job.
    pub(super) fn announce_agent(&mut self, slot: u32, content: Content) {
        self.pipeline.announce(now_ns(), slot, None, content, &mut self.notices);
    }

    /// Tells that something about the agent itself has changed.
    pub(super) fn changed(&mut self, job: &Job, state: &'static str, detail: String) {
        self.pipeline.changed(now_ns(), job, state, detail, &mut self.notices);
    }

    /// Tells the sinks but the log of signatures that stand in it.
    pub(super) fn tell_signed(&self, job: &Job, signed: Vec<Signed>) {
        let Some(row) = self.rows.get(&job.slot) else { return };
        for Signed { seq, at_ns, checkpoint } in signed {
            let content = Content::Checkpoint(Some(checkpoint));
            let notice = Notice { seq, at_ns, slot: job.slot, job: Some(job.id.clone()), content };
            row.outboxes.iter().filter(|outbox| outbox.name() != LOG).for_each(|outbox| outbox.offer(&notice));
        }
    }

    /// Offers what was told to every sink of its job. What asks for a signature is for the log alone.
    pub(super) fn send(&mut self) {
        for notice in self.notices.drain(..) {
            let Some(row) = self.rows.get_mut(&notice.slot) else { continue };
            row.summary.observe(&notice);
            let is_for_log = matches!(notice.content, Content::Checkpoint(None));
            for outbox in row.outboxes.iter().filter(|outbox| !is_for_log || outbox.name() == LOG) {
                outbox.offer(&notice);
            }
        }
    }

    /// The account of all records since the agent began, as far as they were taken in.
    pub(super) fn account(&self, counters: &[Counters; probe::COUNT], kernel: &Kernel) -> Account {
        let account = self.book.account(counters, kernel.skipped_runs());
        // What waits for its turn is not missing.
        Account { decoded: account.decoded + self.order.waiting() as u64, ..account }
    }

    /// The same with all of them taken in, as far as they were submitted by then.
    pub(super) fn whole_account(&mut self, kernel: &mut Kernel) -> Result<Account, LoadError> {
        let before = kernel.counters()?;
        self.catch_up(kernel, now_ns());
        let after = submitted(&kernel.counters()?);
        self.book.inherit(submitted(&before), after);
        let mut account = self.account(&before, kernel);
        // What came in meanwhile is the next account's.
        let later = self.book.received.saturating_sub(account.submitted());
        if later <= after.saturating_sub(account.submitted()) {
            account.received -= later;
            account.decoded = account.decoded.saturating_sub(later);
        }
        Ok(account)
    }

    /// A job's share of an account of everything, and the losses in it that were not told yet.
    pub(super) fn settle_losses(&mut self, slot: u32, whole: &Account) -> (Account, Vec<Loss>) {
        let Some(row) = self.rows.get_mut(&slot) else { return (Account::default(), Vec::new()) };
        let account = Account { notices_dropped: row.missing_in_log(), ..whole.since(row.told.beginning()) };
        let losses = row.told.news(&account, &row.sinks());
        (account, losses)
    }

    /// A sink that the job may not begin without, and that hasn't taken what it was told.
    pub(super) fn awaits(&self, slot: u32) -> Option<Awaited> {
        self.rows.get(&slot)?.outboxes.iter().find_map(Outbox::awaits)
    }

    /// What is new about the sinks of a job: a state, and what it means, for people.
    pub(super) fn sink_news(&mut self, slot: u32) -> Vec<News> {
        let row = self.rows.get_mut(&slot);
        row.map(|row| row.outboxes.iter_mut().flat_map(Outbox::news).collect()).unwrap_or_default()
    }

    /// Waits until the log of a job has everything, and closes it. Returns how many notices it lacks. What is told of the job from
    /// here on is for the other sinks.
    pub(super) fn close_log(&mut self, slot: u32) -> u64 {
        let Some(row) = self.rows.get_mut(&slot) else { return 0 };
        let is_log = |outbox: &mut Outbox| outbox.name() == LOG;
        let sinks: Vec<SinkLoss> = row.outboxes.extract_if(.., is_log).map(Outbox::finish).collect();
        missing_in_log(&sinks) + row.reports_lost + row.missing_before
    }

    /// Forgets a job and waits for its sinks.
    pub(super) fn end_job(&mut self, slot: u32) -> Summary {
        self.pipeline.end_job(slot);
        self.close_log(slot);
        let Some(row) = self.rows.remove(&slot) else { return Summary::default() };
        for outbox in row.outboxes {
            outbox.finish();
        }
        row.summary
    }

    /// No job is left: the recording ends.
    pub(super) fn finish(self) {
        if let Some(recorder) = self.recorder {
            recorder.finish();
        }
    }
}

fn missing_in_log(sinks: &[SinkLoss]) -> u64 {
    sinks.iter().filter(|loss| loss.sink == LOG).map(|loss| loss.dropped + loss.failed).sum()
}

/// Takes off the rings until what was there at that time has been: `take` says until when everything was, if a ring has more.
pub(super) fn until_taken(now_ns: u64, mut take: impl FnMut() -> Option<u64>) {
    while take().is_some_and(|complete_until| complete_until < now_ns) {}
}

fn submitted(counters: &[Counters]) -> u64 {
    counters.iter().map(|counters| counters.submitted).sum()
}

/// Nanoseconds since boot, the probes' clock.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_records_are_taken_off_is_not_waited_for() {
        let mut complete = 100;
        let mut rounds = 0;
        until_taken(110, || {
            rounds += 1;
            complete += 4;
            // There is always more.
            Some(complete)
        });
        assert_eq!(rounds, 3, "until everything was taken off that was there at 110");
        until_taken(110, || None);
    }
}
