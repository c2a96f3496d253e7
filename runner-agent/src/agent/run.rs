//! `run`: one command as one job.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::time::MissedTickBehavior;

use super::arm::{JobOptions, Proof};
use super::block::{Closed, Prepared};
use super::flow::now_ns;
use super::sealing::Sealing;
use super::signals::Arrived;
use super::station::{Station, StationOptions};
use super::{child, gating, signals};
use crate::config::{Combined, Recorded};
use crate::identity::JobIdentity;
use crate::job::Scope;
use crate::kernel::{Kernel, LoadError, LoadOptions, Room, procfs};
use crate::notice::Account;
use crate::policy::{Mode, Policy, Trust};
use crate::record_file::Recorder;
use crate::redact::Redactor;
use crate::report::summary::Summary;
use crate::sink::wire::Encoder;
use crate::sink::wire::format::About;
use crate::sink::{Deliveries, Outbox};

/// How often the rings are drained when nothing fills them.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// The same where somebody waits for alerts: records alone don't wake the agent until a ring has filled to a part, so half of
/// this is what an alert waits at the median.
pub(super) const TICK_WITH_SINKS: Duration = Duration::from_millis(2);

/// How often losses are looked for.
const LOOK_FOR_LOSSES: Duration = Duration::from_millis(500);

/// Slot of the job: `run` has one.
pub(super) const SLOT: u32 = 1;

/// What to run, and how.
pub struct RunOptions {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// The policy.
    pub policy: Policy,
    /// How to load the probes.
    pub load: LoadOptions,
    /// Takes out secrets.
    pub redactor: Redactor,
    /// Where notices go.
    pub outboxes: Vec<Outbox>,
    /// And who else is sent them.
    pub deliveries: Deliveries,
    /// Clock and view of the agent, for these.
    pub encoder: Encoder,
    /// Which job it is, where a provider says so.
    pub identity: Option<JobIdentity>,
    /// Where raw records go, if anywhere.
    pub recorder: Option<Recorder>,
    /// When the agent was started.
    pub started: Instant,
    /// Who is held to the policy.
    pub scope: Scope,
    /// Where to put the file that the self-check opens.
    pub scratch: PathBuf,
    /// Where to keep what must outlive the agent.
    pub runtime: PathBuf,
    /// The log, for a successor to go on with.
    pub log: Option<PathBuf>,
    /// What the policy was made of, for a successor to load it again.
    pub recorded: Recorded,
    /// What signs the log, if anything does.
    pub sealing: Option<Sealing>,
    /// Where to pin links and maps; `None` for the system's BPF file system, or one below `runtime`.
    pub pins: Option<PathBuf>,
}

/// How a job went.
pub struct Outcome {
    /// How the command ended; a keeper never sees that.
    pub status: Option<ExitStatus>,
    /// Why the job had to be ended before its end.
    pub disarmed: Option<String>,
    /// What the job did.
    pub summary: Summary,
    /// The account of records.
    pub account: Account,
    /// Where its receipt was written.
    pub receipt: Option<PathBuf>,
}

/// Why the command could not be run as asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command was started, and the agent could not go on. The job was ended with it.
    #[error("the job was ended, because the agent could not go on: {0}")]
    Started(#[source] Box<RunError>),
    /// The probes.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The machine.
    #[error("can't {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        source: io::Error,
    },
}

pub(super) fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Io { what, source }
}

/// Arms, runs the command as a job, and settles.
pub fn run(options: RunOptions) -> Result<Outcome, RunError> {
    let signals = signals::receive().map_err(io_error("receive signals"))?;
    let command = options.command.clone();
    let tick = if options.deliveries.is_empty() { TICK } else { TICK_WITH_SINKS };
    let station = arm(options)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io_error("start the event loop"))?;
    runtime.block_on(run_armed(station, &command, signals, tick)).map_err(|error| RunError::Started(Box::new(error)))
}

/// A station with one job, of which nothing has started.
fn arm(options: RunOptions) -> Result<Station, RunError> {
    let name = format!("runner-agent-job-{}", std::process::id());
    let policy = options.policy;
    let (prepared, closed) = match policy.mode {
        Mode::Audit => (None, None),
        Mode::Block => (Some(Prepared::new(&policy, SLOT)?), Some(Closed::listen()?)),
    };
    let room = prepared.as_ref().map_or(Room::default(), Prepared::room);
    let holds_runner = options.scope == Scope::Runner;
    let mut station = Station::raise(StationOptions {
        name: name.clone(),
        load: LoadOptions { runner: if holds_runner { SLOT } else { 0 }, ..options.load },
        room: closed.as_ref().map_or(room, |closed| closed.room(room)),
        outlives: prepared.is_some(),
        runner: holds_runner.then_some(&policy.platform),
        scratch: options.scratch,
        runtime: options.runtime,
        pins: options.pins,
        sinks: options.deliveries.configuration().map(Path::to_owned),
        spool: options.deliveries.spool(),
        recorder: options.recorder,
        started: options.started,
    })?;
    let id: Arc<str> = format!("run-{}-{}", std::process::id(), now_ns()).into();
    let about = about(options.encoder, &id, options.identity, None, &policy);
    let mut outboxes = options.outboxes;
    outboxes.extend(options.deliveries.outboxes(&about).map_err(io_error("start a sink's thread"))?);
    let words = options.command.iter().map(|word| crate::text::from_bytes(word.as_encoded_bytes()));
    station.begin(JobOptions {
        slot: SLOT,
        id,
        name,
        command: words.collect(),
        policy,
        recorded: Combined::alone(options.recorded),
        prepared,
        proof: Some(Proof(closed)),
        redactor: options.redactor,
        outboxes,
        log: options.log,
        sealing: options.sealing,
    })?;
    station.settle_in()?;
    Ok(station)
}

/// What receivers are told of every notice of a job.
pub(super) fn about(
    encoder: Encoder,
    job: &Arc<str>,
    identity: Option<JobIdentity>,
    trust: Option<Trust>,
    policy: &Policy,
) -> About {
    About {
        encoder,
        job: job.clone(),
        host: procfs::host_name(),
        identity,
        trust,
        policy: policy.name.clone(),
        policy_sha256: policy.origin.sha256.clone(),
        mode: policy.mode,
    }
}

/// Everything that can wake the loop.
enum Input {
    RingReady,
    Tick,
    Signal(Arrived),
    Ended(ExitStatus),
}

async fn run_armed(
    mut station: Station,
    command: &[OsString],
    mut signals: tokio::sync::mpsc::UnboundedReceiver<Arrived>,
    tick: Duration,
) -> Result<Outcome, RunError> {
    let rings = Rings::of(&station.kernel)?;
    let mut tick = tokio::time::interval(tick);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked_for_losses = Instant::now();
    let mut child = launcher(&station, command)?.spawn().map_err(io_error("start the launcher"))?;
    // The job may have a process for every processor; the rings are emptied first. The command was started before, so that
    // it does not inherit this. Without privileges it is not granted.
    let _ = rustix::process::setpriority_process(None, crate::sink::PRIORITY);
    let status = loop {
        let input = tokio::select! {
            biased;
            status = child.wait() => Input::Ended(status.map_err(io_error("wait for the command"))?),
            Some(signal) = signals.recv() => Input::Signal(signal),
            ready = rings.ready() => { ready?; Input::RingReady }
            _ = tick.tick() => Input::Tick,
        };
        match input {
            Input::RingReady | Input::Tick => station.take_in(),
            Input::Signal(arrived) => pass_on(arrived, &child),
            Input::Ended(status) => break status,
        }
        station.look_after()?;
        if looked_for_losses.elapsed() >= LOOK_FOR_LOSSES {
            looked_for_losses = Instant::now();
            station.tell_losses()?;
            station.checkpoints();
        }
    };
    let outcome = station.end(SLOT, Some(status))?;
    station.take_down();
    Ok(outcome)
}

/// What starts the command in its job.
fn launcher(station: &Station, command: &[OsString]) -> Result<tokio::process::Command, RunError> {
    let gone = || io_error("start the launcher")(io::Error::other("the job has ended"));
    let at_work = station.jobs.get(&SLOT).ok_or_else(gone)?;
    let environment = at_work.engine.as_ref().map(gating::environment).unwrap_or_default();
    let mut launcher = child::launcher(at_work.cgroup.path(), command, at_work.confinement(station.oom_score));
    launcher.envs(environment);
    Ok(launcher)
}

/// The rings, waited for.
pub(super) struct Rings([AsyncFd<OwnedFd>; 2]);

impl Rings {
    pub(super) fn of(kernel: &Kernel) -> Result<Self, RunError> {
        let [critical, bulk] = kernel.descriptors().map_err(io_error("share the rings' descriptors"))?;
        Ok(Self([readiness(critical)?, readiness(bulk)?]))
    }

    /// Waits until one asks for attention.
    pub(super) async fn ready(&self) -> Result<(), RunError> {
        let [critical, bulk] = &self.0;
        let ready = tokio::select! {
            ready = critical.readable() => ready,
            ready = bulk.readable() => ready,
        };
        ready.map_err(io_error("poll the ring"))?.clear_ready();
        Ok(())
    }
}

/// Waits for a ring.
#[expect(deprecated, reason = "the new constructor is unsafe for types that don't own their descriptor; this one does")]
fn readiness(ring: OwnedFd) -> Result<AsyncFd<OwnedFd>, RunError> {
    AsyncFd::with_interest(ring, tokio::io::Interest::READABLE).map_err(io_error("wait for a ring"))
}

/// Signals from the terminal reached the command too; others were meant for it.
fn pass_on(arrived: Arrived, child: &tokio::process::Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let signal = rustix::process::Signal::from_named_raw(arrived.signal);
    if let (false, Some(pid), Some(signal)) = (arrived.from_terminal, pid, signal) {
        // Gone already: then its status is on the way.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
