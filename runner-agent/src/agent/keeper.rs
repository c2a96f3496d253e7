//! The keeper of a job whose agent is gone: takes its pins over without a gap, answers its DNS again, goes on with its log,
//! and looks after it until its last process has ended.

mod desk;
mod inheritance;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixListener as Listener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::MissedTickBehavior;

use super::at_work::AtWork;
use super::flow::now_ns;
use super::guarding;
use super::run::{RunError, TICK, TICK_WITH_SINKS, io_error};
use super::signals::{self, Arrived};
use super::state::Held;
use super::station::{Hold, Station};
use crate::kernel::cgroup::JobCgroup;
use crate::kernel::procfs::Snapshot;
use crate::redact::Redactor;
use crate::report::summary::Summary;
use crate::sink::Deliveries;
use crate::sink::wire::Encoder;

use desk::Memories;
pub use desk::{Clerk, Kept};
use inheritance::{Inherited, Means, Taken, inherit};

/// What the keeper says when it is out of the jobs' reach: before that nothing is handed to it.
pub(super) const GUARDED: &str = "guarded";

/// What the keeper says when it has the job.
pub(super) const HAS_IT: &str = "kept";

/// What is said of that, and what is not handed over.
const HANDED_OVER: &str = "the agent before was asked to end, and handed over its key and what it knew, but not which processes hold \
                           secrets nor which addresses names stood for";

/// How often the keeper looks whether anything of the job is left.
const LOOK: Duration = Duration::from_millis(200);

/// What a keeper is told.
pub struct KeepOptions {
    /// Where agents keep what must outlive them.
    pub runtime: PathBuf,
    /// Name of the job there.
    pub name: String,
    /// For the log.
    pub encoder: Encoder,
    /// Takes out secrets.
    pub redactor: Redactor,
    /// Starts who else is sent what the jobs do, or says why nobody is.
    pub deliveries: Box<dyn FnOnce() -> Result<Deliveries, String>>,
    /// Answers what the next daemon asks about the job.
    pub clerk: Clerk,
}

/// Keeps a job to its end. Says on standard output whether it has it; an error is that it hasn't.
pub fn keep(options: KeepOptions) -> Result<(), String> {
    // Not a member of the session that started it, which may be about to end.
    let _ = rustix::process::setsid();
    let clerk = options.clerk;
    let ready = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok::<_, std::io::Error>((runtime?, signals::receive()?))
    };
    // Before there are jobs, which would go with this process.
    let kept = ready().map_err(|error| error.to_string()).and_then(|ready| Ok((ready, take(options)?.settled()?)));
    say(&kept.as_ref().map_or_else(|reason| reason.replace('\n', " "), |_| HAS_IT.to_owned()));
    let ((runtime, signals), keeping) = kept?;
    let rest = keeping.deliveries.clone();
    let ended = runtime.block_on(look_after(keeping, signals, clerk));
    // What can't be delivered by then stays in the spool, from which the next agent sends it.
    drop(rest.drain(None));
    ended.map_err(|error| error.to_string())
}

/// Tells whoever started it.
fn say(word: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{word}");
    let _ = out.flush();
}

/// What a keeper has.
struct Keeping {
    station: Station,
    listener: Option<Listener>,
    memories: Memories,
    deliveries: Deliveries,
}

impl Keeping {
    /// Every thread of it is out of the jobs' reach; else the jobs are left as they were found.
    fn settled(mut self) -> Result<Self, String> {
        match self.station.settle_in() {
            Ok(()) => Ok(self),
            Err(error) => {
                drop(self.station.leave());
                Err(error.to_string())
            }
        }
    }
}

/// Looks after jobs that another agent started, until nothing of them is left. What ends the keeper before that, a signal or an error,
/// leaves the jobs as they are: their rules stay in force.
async fn look_after(mut keeping: Keeping, signals: UnboundedReceiver<Arrived>, clerk: Clerk) -> Result<(), RunError> {
    let kept = attend(&mut keeping, signals, clerk).await;
    let station = keeping.station;
    if station.jobs.is_empty() {
        station.take_down();
    } else {
        // Not to another keeper: whoever ends this one means that, and its program may be gone.
        drop(station.leave());
    }
    kept
}

async fn attend(keeping: &mut Keeping, mut signals: UnboundedReceiver<Arrived>, clerk: Clerk) -> Result<(), RunError> {
    let Keeping { station, listener, memories, deliveries } = keeping;
    let listener = listener.take().map(UnixListener::from_std).transpose();
    let listener = listener.map_err(io_error("listen for the next daemon"))?;
    let mut tick = tokio::time::interval(if deliveries.is_empty() { TICK } else { TICK_WITH_SINKS });
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    while !station.jobs.is_empty() {
        tokio::select! {
            biased;
            Some(_) = signals.recv() => return Ok(()),
            Ok(stream) = desk::next(listener.as_ref()) => {
                desk::hear(stream, Kept { station: &mut *station, memories: &mut *memories }, clerk).await;
            }
            _ = tick.tick() => {}
        }
        station.take_in();
        station.look_after()?;
        station.tell_who_went_on();
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            station.tell_losses()?;
            station.checkpoints();
            let ended = station.jobs.values().filter(|at_work| !at_work.cgroup.is_alive());
            for slot in ended.map(|at_work| at_work.job.slot).collect::<Vec<_>>() {
                station.recall(slot, memories.of(slot));
                station.end(slot, None)?;
            }
        }
    }
    Ok(())
}

/// Takes the jobs over. Until all of it has succeeded nothing is held that would take rules or processes away when dropped.
fn take(options: KeepOptions) -> Result<Keeping, String> {
    let KeepOptions { runtime, name, encoder, redactor, deliveries, clerk: _ } = options;
    let held = Held::take(&runtime, &name).map_err(|error| format!("somebody else has it: {error}"))?;
    let inherited = match inherit(&runtime, &name, &held, Means { encoder, redactor, deliveries }) {
        Ok(inherited) => inherited,
        Err(reason) => {
            // Its folder is for another try.
            held.keep();
            return Err(reason);
        }
    };
    let Inherited { kernel, hierarchy, jobs, platform, flow, root, asked, handover, deliveries, no_sinks } = inherited;
    let cgroups: Result<Vec<JobCgroup>, _> = jobs.iter().map(|job| JobCgroup::adopt(&job.cgroup)).collect();
    let (Ok(cgroups), Some(pins)) = (cgroups, root.take_over(&name)) else {
        held.keep();
        return Err("its cgroup or its pins have just gone".to_owned());
    };
    let (mut at_work, mut memories) = (BTreeMap::new(), Memories::default());
    for (Taken { job, force, log, last_seq, seal, recorded, cgroup: _ }, cgroup) in jobs.into_iter().zip(cgroups) {
        let stand = guarding::stand(&job.policy, Some(&held), log.as_deref());
        let blocking = force.map(|force| force.held(&cgroup));
        let share = handover.as_ref().and_then(|handover| handover.jobs.get(&job.slot));
        // Where nothing was handed over, nobody knows any more of what began before whether that was while the job ran.
        let began_ns = share.map_or_else(now_ns, |share| share.began_ns);
        let disarmed = share.and_then(|share| share.disarmed.clone());
        // The gate to a container engine went with the agent before, and what the job had made through it is forgotten.
        let (engine, announced) = (None, None);
        if let Some(log) = &log {
            memories.read(
                job.slot,
                log.clone(),
                last_seq,
                share.map(|share| share.subjects.clone()).unwrap_or_default(),
            );
        }
        let taken = AtWork { job, cgroup, blocking, engine, stand, began_ns, disarmed, announced, log, seal, recorded };
        at_work.insert(taken.job.slot, taken);
    }
    let listener = desk::open(&held)
        .inspect_err(|error| tracing::warn!("{name}: nobody can ask its keeper about it: {error}"))
        .ok();
    let left = Hold::taken_over(held, pins, asked);
    let mut station = Station::taken_over(kernel, flow, hierarchy, at_work, platform, runtime, left);
    station.hooks_before = handover.as_ref().map(|handover| handover.hooks.clone()).unwrap_or_default();
    station.catch_up(handover.is_some());
    if let Some(reason) = no_sinks {
        for at_work in station.jobs.values() {
            let detail = format!("what is told from here on goes to no sink: {reason}");
            station.flow.changed(&at_work.job, "sink-failing", detail);
        }
        station.flow.send();
    }
    Ok(Keeping { station, listener, memories, deliveries })
}

impl Station {
    /// Takes in what has waited on the rings, and what runs. Where the agent before has handed over what it knew, its account goes on;
    /// else this one counts from here.
    fn catch_up(&mut self, is_handed_over: bool) {
        let Self { kernel, flow, jobs, .. } = self;
        for (&slot, at_work) in jobs.iter() {
            let members = kernel.members(slot).unwrap_or_default();
            for key in &members {
                if let Some(snapshot) = Snapshot::read(key.tgid).filter(|snapshot| snapshot.is(*key)) {
                    flow.pipeline.snapshot(slot, *key, None, snapshot.program);
                }
            }
            let (state, why) =
                if is_handed_over { ("handed-over", HANDED_OVER) } else { ("taken-over", "the agent before is gone") };
            let detail = format!("{why}; {} processes of the job run on, under the same rules", members.len());
            flow.changed(&at_work.job, state, detail);
        }
        // An account that can't be read is told of with the first loss that is looked for.
        let _ = flow.whole_account(kernel);
    }

    /// Puts what a job did before it was handed over into what its receipt states; without that there is none.
    fn recall(&mut self, slot: u32, before: Result<Arc<Summary>, String>) {
        let Some(at_work) = self.jobs.get_mut(&slot).filter(|at_work| at_work.seal.is_some()) else { return };
        match before {
            Ok(before) => self.flow.recall(slot, Summary::clone(&before)),
            Err(reason) => {
                at_work.seal = None;
                self.flow.changed(&at_work.job, "tampered", format!("the job has no receipt: {reason}"));
            }
        }
    }
}
