//! The courier of one sink: keeps in the spool what it is handed, and takes it to the receiver from there.
//!
//! Three threads, so that nothing waits for what it need not. The keeper alone writes the spool, many items a commit. Each
//! lane has a thread that sends: an alert goes from memory while it is being written, and is sent again from the spool if
//! the agent dies before it was taken; telemetry is read back from the spool in batches, so memory has none of it.

mod keeper;
mod lane;
mod standing;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::Database;
use tokio::sync::{Notify, watch};

use super::PRIORITY;
use super::receiver::Receiver;
use super::settings::Settings;
use super::spool::{Item, Lane, Spool, waiting};
pub use standing::Standing;

/// Bytes that wait for the keeper; the outbox in front of it has the rest. A slow disk takes a tenth of a second for a commit,
/// and alerts must not wait for that.
const MOST_UNWRITTEN: u64 = 8 << 20;

/// Bytes of alerts that are sent from memory; what is more comes from the spool.
const FRESH: u64 = 1 << 20;

/// How long what was under way is waited for after the deadline.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Failures in a row after which a sink is said to fail.
const FAILING: u32 = 3;

/// How often at most that is said.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// News that are kept for jobs that have not heard them.
const MOST_NEWS: usize = 32;

/// Items that are handed over together.
type Handful = Vec<(Lane, Item)>;

/// A courier at work.
pub struct Courier {
    shared: Arc<Shared>,
    /// Numbers are given out and handed on under one lock, so that the spool has them in order.
    keeper: Mutex<Option<Sender<Handful>>>,
    thread: Mutex<Option<JoinHandle<Spool>>>,
    /// What others left has numbers up to this.
    first: u64,
    path: PathBuf,
}

/// What is lost on the way to a receiver, of all jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Dropped, because more waited than may.
    pub dropped: u64,
    /// Refused by the receiver.
    pub refused: u64,
}

/// Something about a sink that a job's log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Their number, from 1.
    pub number: u64,
    /// `sink-failing`, `sink-recovered`, `sink-disabled`, `sink-refused`.
    pub state: &'static str,
    /// What, for people.
    pub detail: String,
}

/// How a courier ended.
pub struct Finished {
    /// Items that this process handed over and that are still there.
    pub left: usize,
    /// Where it waits for the next agent.
    pub spool: PathBuf,
    /// Why it could not be delivered.
    pub why: Option<String>,
    database: Arc<Database>,
    first: u64,
}

impl Finished {
    /// Everything that is left, alerts first, a little at a time: there may be more than fits in memory.
    pub fn each(&self, mut take: impl FnMut(&Item) -> std::io::Result<()>) -> std::io::Result<()> {
        const AT_ONCE: usize = 1 << 20;
        for lane in Lane::ALL {
            let mut after = self.first;
            loop {
                let items = waiting(&self.database, lane, after, usize::MAX, AT_ONCE).map_err(std::io::Error::other)?;
                let Some(last) = items.last() else { break };
                after = last.number;
                items.iter().try_for_each(&mut take)?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Work,
    /// Everything is to go now.
    Drain,
    Stop,
}

struct Shared {
    settings: Settings,
    database: Arc<Database>,
    state: Mutex<State>,
    /// Something changed that lanes look at, by lane.
    wake: [Notify; 2],
    phase: watch::Sender<Phase>,
    /// Something was delivered, or a thread has ended.
    progress: Condvar,
    delivered: Mutex<Vec<(Lane, u64)>>,
    dropped: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    last: u64,
    /// By lane: the last number given out, the last that was written or given up, the last that is done.
    issued: [u64; 2],
    committed: [u64; 2],
    done: [u64; 2],
    /// Bytes that wait for the keeper.
    unwritten: u64,
    /// Telemetry in the spool.
    telemetry: u64,
    /// Alerts go from memory, as none waits in the spool.
    direct: bool,
    fresh: VecDeque<Item>,
    fresh_bytes: u64,
    /// The receiver asked to be left alone until then.
    not_before: Option<Instant>,
    failures: u32,
    why: Option<String>,
    is_told: bool,
    told_at: Option<Instant>,
    is_gone: bool,
    news: Vec<News>,
    lanes: usize,
}

impl Courier {
    /// Opens the spool in a folder and starts; what another agent left there goes first.
    pub fn start(settings: Settings, folder: &Path) -> Result<Self, String> {
        let spool = Spool::open(folder, settings.name, settings.bounds)
            .map_err(|error| format!("can't keep what the sink {} is to deliver: {error}", settings.name))?;
        let (first, path) = (spool.last(), spool.path().to_owned());
        let mut state = State {
            last: first,
            issued: [first; 2],
            committed: [first; 2],
            telemetry: spool.bytes(Lane::Telemetry),
            direct: spool.bytes(Lane::Alerts) == 0,
            lanes: Lane::ALL.len(),
            ..State::default()
        };
        for lane in Lane::ALL.into_iter().filter(|lane| spool.bytes(*lane) == 0) {
            state.done[lane as usize] = first;
        }
        let shared = Arc::new(Shared {
            database: spool.database(),
            state: Mutex::new(state),
            wake: [Notify::new(), Notify::new()],
            phase: watch::Sender::new(Phase::Work),
            progress: Condvar::new(),
            delivered: Mutex::default(),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            settings,
        });
        let name = shared.settings.name;
        for lane in Lane::ALL {
            let receiver = Receiver::new(&shared.settings).map_err(|error| format!("the sink {name}: {error}"))?;
            let of_thread = shared.clone();
            spawn(name, move || lane::run(&of_thread, lane, receiver))?;
        }
        let (sender, handfuls) = channel();
        let of_thread = shared.clone();
        let thread = spawn(name, move || keeper::run(spool, &handfuls, &of_thread))?;
        Ok(Self { shared, keeper: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), first, path })
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Hands items over, in their order. Waits while the disk doesn't keep up.
    pub fn put(&self, items: Vec<(Lane, String, Arc<[u8]>)>) {
        let keeper = locked(&self.keeper);
        let mut numbered = Vec::with_capacity(items.len());
        {
            let mut state = self.shared.state();
            for (lane, id, bytes) in items {
                state.last += 1;
                let item = Item { number: state.last, id, bytes };
                state.issued[lane as usize] = item.number;
                state.unwritten += item.weight();
                if lane == Lane::Alerts && state.direct {
                    state.keep_fresh(&item);
                }
                numbered.push((lane, item));
            }
        }
        self.shared.wake[Lane::Alerts as usize].notify_one();
        let count = numbered.len() as u64;
        if keeper.as_ref().is_none_or(|keeper| keeper.send(numbered).is_err()) {
            self.shared.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
        // After it was handed over, so that what is in the handful is on its way already.
        let state = self.shared.state();
        drop(self.shared.progress.wait_while(state, |state| state.unwritten > MOST_UNWRITTEN));
    }

    /// What was lost so far.
    pub fn lost(&self) -> Lost {
        self.shared.lost()
    }

    /// What is new since a number.
    pub fn news(&self, after: u64) -> Vec<News> {
        self.shared.state().news.iter().filter(|news| news.number > after).cloned().collect()
    }

    /// Number of the last news.
    pub fn last_news(&self) -> u64 {
        self.shared.state().news.last().map_or(0, |news| news.number)
    }

    /// From here on nothing waits for company, and what waits after failures waits less.
    pub fn hurry(&self) {
        self.shared.phase.send_replace(Phase::Drain);
        self.shared.wake.iter().for_each(Notify::notify_one);
    }

    /// Waits until everything was delivered, or the time is up, or the receiver wants nothing any more; then stops.
    pub fn finish(&self, until: Instant) -> Option<Finished> {
        self.hurry();
        let is_done = |state: &mut State| state.is_gone || state.done == state.issued;
        self.shared.wait(until, |state| !is_done(state));
        self.shared.phase.send_replace(Phase::Stop);
        // A thread that asks for a name can't be told to stop, and holds nothing up.
        self.shared.wait(Instant::now() + LAST_MOMENT, |state| state.lanes > 0);
        drop(locked(&self.keeper).take());
        let thread = locked(&self.thread).take()?;
        let Ok(spool) = thread.join() else {
            tracing::error!("the keeper of the sink {} panicked", self.settings().name);
            return None;
        };
        spool.close();
        let why = self.shared.state().why.clone();
        let (spool, database) = (self.path.clone(), self.shared.database.clone());
        let mut finished = Finished { left: 0, spool, why, database, first: self.first };
        let mut left = 0;
        let counted = finished.each(|_| {
            left += 1;
            Ok(())
        });
        if let Err(error) = counted {
            tracing::error!("can't read {}: {error}", self.path.display());
        }
        finished.left = left;
        Some(finished)
    }
}

impl State {
    fn keep_fresh(&mut self, item: &Item) {
        self.fresh_bytes += item.weight();
        if self.fresh_bytes <= FRESH {
            self.fresh.push_back(item.clone());
        } else {
            self.direct = false;
            self.fresh = VecDeque::new();
            self.fresh_bytes = 0;
        }
    }

    fn tell(&mut self, state: &'static str, detail: String) {
        let number = self.news.last().map_or(1, |news| news.number + 1);
        if self.news.len() == MOST_NEWS {
            self.news.remove(0);
        }
        self.news.push(News { number, state, detail });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn lost(&self) -> Lost {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Lost { dropped: of(&self.dropped), refused: of(&self.refused) }
    }

    fn is_hurried(&self) -> bool {
        *self.phase.borrow() != Phase::Work
    }

    /// Waits as long as something holds, until a moment at most.
    fn wait(&self, until: Instant, holds: impl FnMut(&mut State) -> bool) {
        let left = until.saturating_duration_since(Instant::now());
        drop(self.progress.wait_timeout_while(self.state(), left, holds));
    }
}

/// A panic in another thread leaves nothing half done here: each lock covers plain assignments.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, String> {
    let with_priority = move || {
        // As for every sink: a job with a process for every processor would leave it a fraction of one.
        let _ = rustix::process::setpriority_process(None, PRIORITY);
        work()
    };
    std::thread::Builder::new()
        .name(format!("sink-{name}"))
        .spawn(with_priority)
        .map_err(|error| format!("can't start a thread for the sink {name}: {error}"))
}
