//! The queue in front of a sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::PRIORITY;
use super::courier::{Courier, Lost, News};
use crate::notice::{Content, Notice};

/// Bytes that wait at most, by [`Notice::weight`]; several full rings fit, because on a busy machine the writer may get no
/// processor for a second.
const CAPACITY: usize = 32 << 20;

/// Notices that a sink is handed at once.
const BATCH: usize = 512;

/// A sink: takes batches in its own thread.
pub trait Sink: Send + 'static {
    /// Delivers a batch. An error loses the batch, which is counted and told once.
    fn deliver(&mut self, batch: &[Notice]) -> std::io::Result<()>;
}

/// The queue in front of a sink. Offering never waits.
pub struct Outbox {
    name: &'static str,
    sender: Option<Sender<Notice>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    wants: fn(&Notice) -> bool,
    beyond: Option<Beyond>,
}

/// What is behind the thread, for a sink that sends to somebody else: it is there for all jobs.
struct Beyond {
    courier: Arc<Courier>,
    /// What was lost before this job.
    before: Lost,
    heard: u64,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// A sink that a job may not begin without, and that hasn't taken its start yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Name of the sink.
    pub sink: &'static str,
    /// How long it may take.
    pub within: Duration,
    /// What it said.
    pub complaint: Option<String>,
}

/// Notices that a sink did not get, or could not deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkLoss {
    /// Name of the sink.
    pub sink: &'static str,
    /// Notices that found the queue full.
    pub dropped: u64,
    /// Notices that the sink failed to deliver.
    pub failed: u64,
    /// Notices that were dropped from the spool, because more waited for the receiver than may, or for too long.
    pub expired: u64,
    /// Notices that the receiver refused.
    pub refused: u64,
}

impl SinkLoss {
    /// No loss of this sink.
    pub fn none(sink: &'static str) -> Self {
        Self { sink, dropped: 0, failed: 0, expired: 0, refused: 0 }
    }
}

impl Outbox {
    /// Starts the sink's thread. `wants` says which notices it takes.
    pub fn start(name: &'static str, mut sink: impl Sink, wants: fn(&Notice) -> bool) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name(format!("sink-{name}")).spawn(move || {
            // A job with a process for every processor would leave the log a fraction of one, and the queue would fill.
            // On Linux this is about the calling thread alone; without privileges it is not granted, and not needed.
            let _ = rustix::process::setpriority_process(None, PRIORITY);
            deliver_all(name, &receiver, &mut sink, &of_thread);
        })?;
        Ok(Self { name, sender: Some(sender), thread: Some(thread), shared, wants, beyond: None })
    }

    /// The same for a sink behind which a courier is.
    pub(super) fn to_courier(courier: Arc<Courier>, sink: impl Sink) -> std::io::Result<Self> {
        let settings = courier.settings();
        let mut outbox = Self::start(settings.name, sink, settings.only.wants())?;
        let (before, heard) = (courier.lost(), courier.last_news());
        outbox.beyond = Some(Beyond { courier, before, heard });
        Ok(outbox)
    }

    /// What the job's log should tell of the sink since this was asked last.
    pub fn news(&mut self) -> Vec<News> {
        let Some(beyond) = &mut self.beyond else { return Vec::new() };
        let news = beyond.courier.news(beyond.heard);
        beyond.heard = news.last().map_or(beyond.heard, |last| last.number);
        news
    }

    /// Queues a notice, or counts it as dropped when the queue is full of events. Findings and what the agent says of
    /// itself always find room: a job can flood the queue with events, and these are bounded by themselves.
    pub fn offer(&self, notice: &Notice) {
        if !(self.wants)(notice) {
            return;
        }
        let weight = notice.weight();
        // Counted before it is sent: the thread takes it off again, and must not be first.
        let waiting = self.shared.waiting.fetch_add(weight, Ordering::Relaxed) + weight;
        let is_event = matches!(notice.content, Content::Event(_));
        let sent = (waiting <= CAPACITY || !is_event)
            && self.sender.as_ref().is_some_and(|sender| sender.send(notice.clone()).is_ok());
        if !sent {
            self.shared.waiting.fetch_sub(weight, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sink that a job may not begin without, as long as it hasn't taken what it was offered.
    pub fn awaits(&self) -> Option<Awaited> {
        let courier = &self.beyond.as_ref()?.courier;
        let settings = courier.settings();
        let is_idle = self.shared.waiting.load(Ordering::Acquire) == 0;
        let has_all = is_idle && courier.has_delivered_alerts();
        let awaited = || Awaited { sink: self.name, within: settings.timeout, complaint: courier.complaint() };
        (settings.required && !has_all).then(awaited)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What was lost so far.
    pub fn loss(&self) -> SinkLoss {
        let beyond = self.beyond.as_ref().map_or_else(Lost::default, |beyond| {
            let Lost { dropped, refused } = beyond.courier.lost();
            Lost {
                dropped: dropped.saturating_sub(beyond.before.dropped),
                refused: refused.saturating_sub(beyond.before.refused),
            }
        });
        SinkLoss {
            sink: self.name,
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            expired: beyond.dropped,
            refused: beyond.refused,
        }
    }

    /// Waits until everything queued is delivered, and ends the thread. Returns what was lost.
    pub fn finish(mut self) -> SinkLoss {
        self.end();
        self.loss()
    }

    fn end(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a sink's thread panicked; its log is incomplete");
        }
    }
}

/// What was told of a job is written, also where it ends by an error.
impl Drop for Outbox {
    fn drop(&mut self) {
        self.end();
    }
}

fn deliver_all(name: &str, receiver: &Receiver<Notice>, sink: &mut impl Sink, shared: &Shared) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut has_failed = false;
    while let Ok(first) = receiver.recv() {
        batch.push(first);
        batch.extend(receiver.try_iter().take(BATCH - 1));
        let weight = batch.iter().map(Notice::weight).sum();
        if let Err(error) = sink.deliver(&batch) {
            shared.failed.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if !std::mem::replace(&mut has_failed, true) {
                tracing::error!("can't write notices to the {name}: {error}; what is lost from here on is counted");
            }
        }
        // Only now: what is being delivered takes memory too.
        shared.waiting.fetch_sub(weight, Ordering::Release);
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Activity, Event};
    use crate::notice::Loss;

    fn notice(seq: u64) -> Notice {
        let event = Event { seq, at_ns: 0, process: None, is_runners: false, activity: Activity::IoUring };
        Notice { seq, at_ns: 0, slot: 1, job: None, content: Content::Event(event) }
    }

    /// Takes a batch only when it is let, and keeps the numbers.
    struct Gate {
        open: Receiver<()>,
        seen: Arc<std::sync::Mutex<Vec<u64>>>,
    }

    impl Sink for Gate {
        fn deliver(&mut self, batch: &[Notice]) -> std::io::Result<()> {
            // Closed for good means open.
            let _ = self.open.recv();
            self.seen.lock().unwrap().extend(batch.iter().map(|notice| notice.seq));
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_stands_still_costs_what_does_not_fit_and_nothing_else() {
        let (opener, open) = channel();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let outbox = Outbox::start("gate", Gate { open, seen: seen.clone() }, |_| true).unwrap();
        let fitting = (CAPACITY / notice(0).weight()) as u64;
        for seq in 0..fitting + 100 {
            outbox.offer(&notice(seq));
        }
        assert_eq!(outbox.loss(), SinkLoss { dropped: 100, ..SinkLoss::none("gate") });
        let loss = Content::Loss(Loss { place: "x", reason: "y", count: 1 });
        outbox.offer(&Notice { seq: fitting, content: loss, ..notice(0) });
        drop(opener);
        assert_eq!(outbox.finish().dropped, 100);
        assert!(seen.lock().unwrap().iter().copied().eq(0..=fitting), "in order, each once, and what is no event too");
    }

    #[test]
    fn an_outbox_that_goes_without_a_word_has_delivered_what_it_was_offered() {
        let (opener, open) = channel();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let outbox = Outbox::start("gate", Gate { open, seen: seen.clone() }, |_| true).unwrap();
        outbox.offer(&notice(1));
        drop(opener);
        drop(outbox);
        assert_eq!(*seen.lock().unwrap(), [1]);
    }

    #[test]
    fn what_a_sink_fails_to_deliver_is_counted() {
        struct Broken;
        impl Sink for Broken {
            fn deliver(&mut self, _: &[Notice]) -> std::io::Result<()> {
                Err(std::io::Error::other("broken"))
            }
        }
        let outbox = Outbox::start("broken", Broken, |_| true).unwrap();
        (0..5).for_each(|seq| outbox.offer(&notice(seq)));
        assert_eq!(outbox.finish(), SinkLoss { failed: 5, ..SinkLoss::none("broken") });
    }
}
