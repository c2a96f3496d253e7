//! The keeper of a job whose agent is gone: takes its pins over without a gap, answers its DNS again, goes on with its log,
//! and looks after it until its last process has ended.

mod desk;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener as Listener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::MissedTickBehavior;

use super::account::Bookkeeper;
use super::at_work::AtWork;
use super::block::Force;
use super::flow::{Flow, LOG, now_ns};
use super::guarding;
use super::handover::Handover;
use super::platform::Platform;
use super::run::{RunError, TICK, io_error};
use super::sealing::{Seal, Sealing};
use super::signals::{self, Arrived};
use super::state::Held;
use super::station::{Hold, Station};
use super::succession::{Testament, Word};
use super::watched::secret_files;
use crate::config::Combined;
use crate::job::{Job, Scope};
use crate::kernel::cgroup::{Hierarchy, JobCgroup};
use crate::kernel::procfs::Snapshot;
use crate::kernel::{Kernel, PinRoot};
use crate::notice::Account;
use crate::policy::Mode;
use crate::redact::Redactor;
use crate::report::summary::Summary;
use crate::rules::RuleTable;
use crate::sink::Outbox;
use crate::sink::json_lines::JsonLines;
use crate::sink::wire::Encoder;

use desk::Memories;
pub use desk::{Clerk, Kept};

/// What the keeper says when it has the job.
pub(super) const HAS_IT: &str = "kept";

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
    /// Answers what the next daemon asks about the job.
    pub clerk: Clerk,
}

/// Keeps a job to its end. Says on standard output whether it has it; an error is that it hasn't.
pub fn keep(options: KeepOptions) -> Result<(), String> {
    // Not a member of the session that started it, which may be about to end.
    let _ = rustix::process::setsid();
    let clerk = options.clerk;
    let handover = Handover::receive().unwrap_or_else(|reason| {
        tracing::warn!("{}: {reason}", options.name);
        None
    });
    let kept = take(options, handover);
    let word = kept.as_ref().map_or_else(|reason| reason.replace('\n', " "), |_| HAS_IT.to_owned());
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{word}");
    let _ = out.flush();
    let Keeping { mut station, listener, memories } = kept?;
    let signals = signals::receive().map_err(|error| error.to_string())?;
    station.settle_in().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("can't start the event loop: {error}"))?;
    let keeping = Keeping { station, listener, memories };
    runtime.block_on(look_after(keeping, signals, clerk)).map_err(|error| error.to_string())
}

/// What a keeper has.
struct Keeping {
    station: Station,
    listener: Option<Listener>,
    memories: Memories,
}

/// Looks after jobs that another agent started, until nothing of them is left. A signal ends the keeper and not the jobs: their
/// rules stay in force.
async fn look_after(keeping: Keeping, mut signals: UnboundedReceiver<Arrived>, clerk: Clerk) -> Result<(), RunError> {
    let Keeping { mut station, listener, mut memories } = keeping;
    let listener = listener.map(UnixListener::from_std).transpose().map_err(io_error("listen for the next daemon"))?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    while !station.jobs.is_empty() {
        tokio::select! {
            biased;
            Some(_) = signals.recv() => {
                // Whoever ends it means that, and its program may be gone.
                drop(station.leave());
                return Ok(());
            }
            Ok(stream) = desk::next(listener.as_ref()) => {
                desk::hear(stream, Kept { station: &mut station, memories: &mut memories }, clerk).await;
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
    station.take_down();
    Ok(())
}

/// Takes the jobs over. Until all of it has succeeded nothing is held that would take rules or processes away when dropped.
fn take(options: KeepOptions, handover: Option<Handover>) -> Result<Keeping, String> {
    let KeepOptions { runtime, name, encoder, redactor, clerk: _ } = options;
    let held = Held::take(&runtime, &name).map_err(|error| format!("somebody else has it: {error}"))?;
    let inherited = match inherit(&runtime, &name, &held, Means { encoder, redactor, handover: handover.as_ref() }) {
        Ok(inherited) => inherited,
        Err(reason) => {
            // Its folder is for another try.
            held.keep();
            return Err(reason);
        }
    };
    let Inherited { kernel, hierarchy, jobs, platform, flow, root, asked } = inherited;
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
            memories.read(job.slot, log.clone(), last_seq);
        }
        let taken = AtWork { job, cgroup, blocking, engine, stand, began_ns, disarmed, announced, log, seal, recorded };
        at_work.insert(taken.job.slot, taken);
    }
    let listener = desk::open(&held)
        .inspect_err(|error| tracing::warn!("{name}: nobody can ask its keeper about it: {error}"))
        .ok();
    let left = Hold::taken_over(held, pins, asked);
    let mut station = Station::taken_over(kernel, flow, hierarchy, at_work, platform, runtime, left);
    station.catch_up(handover.is_some());
    Ok(Keeping { station, listener, memories })
}

/// A job as the agent before left it.
struct Taken {
    job: Arc<Job>,
    force: Option<Force>,
    cgroup: PathBuf,
    log: Option<PathBuf>,
    /// Number of its log's last line.
    last_seq: u64,
    /// What signs the log, where its key was handed over.
    seal: Option<Seal>,
    recorded: Combined,
}

/// What a keeper goes on with.
struct Means<'a> {
    encoder: Encoder,
    redactor: Redactor,
    handover: Option<&'a Handover>,
}

struct Inherited {
    kernel: Kernel,
    hierarchy: Hierarchy,
    jobs: Vec<Taken>,
    platform: Option<Platform>,
    flow: Flow,
    root: PinRoot,
    asked: Option<PathBuf>,
}

fn inherit(runtime: &Path, name: &str, held: &Held, means: Means<'_>) -> Result<Inherited, String> {
    let Means { encoder, redactor, handover } = means;
    let left = Testament::read(held)?;
    let key = handover.map(Handover::key).transpose()?;
    let root = PinRoot::existing(left.pins.as_deref(), runtime).ok_or("its pins are gone")?;
    let slots: Vec<(u32, bool)> =
        left.jobs.iter().map(|word| (word.slot, word.mode == Mode::Block.to_string())).collect();
    let mut kernel = Kernel::take_over(&root.job(name), &slots).map_err(|error| error.to_string())?;
    kernel.add_agent(std::process::id()).map_err(|error| error.to_string())?;
    let hierarchy = Hierarchy::find().map_err(|error| error.to_string())?;
    let scope = if left.holds_runner { Scope::Runner } else { Scope::Job };
    let mut platform = None;
    let mut flow = Flow::new(handover.map_or_else(Bookkeeper::default, Handover::book), None);
    let programs: Vec<&'static str> = kernel.skipped_runs().into_keys().collect();
    let mut jobs = Vec::new();
    for word in left.jobs {
        let policy = word.policy()?;
        let secret_files = secret_files(&policy);
        let is_blocked = policy.mode == Mode::Block;
        let rule_ids = if is_blocked {
            RuleTable::new(word.slot, &policy).map_err(|error| error.to_string())?.ids().to_vec()
        } else {
            Vec::new()
        };
        let Word { slot, id, command, cgroup, log, policy: recorded, .. } = word;
        let share = handover.and_then(|handover| handover.jobs.get(&slot));
        let redactor = redactor.clone().and(share.map(|share| share.secrets.clone()).unwrap_or_default());
        let job = Arc::new(Job { slot, id, command, policy, redactor, scope, secret_files, rule_ids });
        if scope == Scope::Runner {
            let mut again = Platform::of(&job.policy.platform, &hierarchy);
            again.arrange(&mut kernel).map_err(|error| error.to_string())?;
            platform = Some(again);
        }
        let on = match scope {
            Scope::Job => std::fs::metadata(&cgroup).map_err(|error| format!("its cgroup is gone: {error}"))?.ino(),
            Scope::Runner => 0,
        };
        let force = if is_blocked {
            Some(Force::take_over(&mut kernel, &job, on).map_err(|error| error.to_string())?)
        } else {
            None
        };
        let (mut outboxes, mut last_seq, mut seal, mut altered) = (Vec::new(), 0, None, None);
        if let Some(path) = &log {
            // Without its log the job would be looked after and nobody could know.
            let (mut file, seq) = JsonLines::go_on(path, encoder)
                .map_err(|error| format!("can't go on with the log {}: {error}", path.display()))?;
            last_seq = seq;
            if let (Some(share), Some(key)) = (share, &key) {
                match file.recount(&share.log.written()) {
                    Ok(()) => {
                        let (identity, trust) = (share.identity.clone(), share.trust.clone());
                        let sealing = Sealing { identity, trust, ..Sealing::beside(path, key.clone(), encoder) };
                        file = file.signed(sealing.ledger.clone());
                        seal = Some(Seal::new(sealing));
                    }
                    Err(error) => {
                        altered = Some(format!("the log that the agent before left can't be signed: {error}"));
                    }
                }
            }
            outboxes.push(Outbox::start(LOG, file, |_| true).map_err(|error| error.to_string())?);
        }
        flow.start_job(job.clone(), outboxes, Account::default());
        flow.pipeline.go_on_after(slot, last_seq);
        if let Some(share) = share {
            let (beginning, so_far) = share.accounts(&programs);
            flow.resume_account(slot, beginning, &so_far);
            flow.pipeline.go_on_with(slot, share.found(), share.unreadable_dns);
        }
        if let Some(detail) = altered {
            flow.changed(&job, "tampered", detail);
        }
        jobs.push(Taken { job, force, cgroup, log, last_seq, seal, recorded });
    }
    Ok(Inherited { kernel, hierarchy, jobs, platform, flow, root, asked: left.pins })
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
            let (state, why) = if is_handed_over {
                ("handed-over", "the agent before was asked to end, and handed over its key and what it knew")
            } else {
                ("taken-over", "the agent before is gone")
            };
            let detail = format!("{why}; {} processes of the job run on, under the same rules", members.len());
            flow.changed(&at_work.job, state, detail);
        }
        if is_handed_over {
            flow.take_all(kernel);
        } else {
            flow.inherit_account(kernel, now_ns());
        }
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
