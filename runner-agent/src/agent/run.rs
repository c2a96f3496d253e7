//! `run`: one command as one job.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::time::MissedTickBehavior;

use super::block::Blocking;
use super::flow::{Flow, now_ns};
use super::launch::Confinement;
use super::resolving::Told;
use super::signals::Arrived;
use super::{child, signals};
use crate::config::Recorded;
use crate::job::Job;
use crate::kernel::cgroup::JobCgroup;
use crate::kernel::{Kernel, LoadError, LoadOptions};
use crate::notice::{Account, AgentState, Content, JobStarted};
use crate::policy::Policy;
use crate::record_file::Recorder;
use crate::redact::Redactor;
use crate::report::summary::Summary;
use crate::sink::Outbox;

/// How often the rings are drained when nothing fills them.
const TICK: Duration = Duration::from_millis(5);

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
    /// Where raw records go, if anywhere.
    pub recorder: Option<Recorder>,
    /// When the agent was started.
    pub started: Instant,
    /// Where to put the file that the self-check opens.
    pub scratch: PathBuf,
    /// Where to keep what must outlive the agent.
    pub runtime: PathBuf,
    /// The log, for a successor to go on with.
    pub log: Option<PathBuf>,
    /// What the policy was made of, for a successor to load it again.
    pub recorded: Recorded,
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
    let armed = Armed::arm(options)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io_error("start the event loop"))?;
    runtime.block_on(armed.run(signals)).map_err(|error| RunError::Started(Box::new(error)))
}

/// Everything that can wake the loop.
enum Input {
    RingReady,
    Tick,
    Signal(Arrived),
    Ended(ExitStatus),
}

/// Probes attached and checked, the job's cgroup made, nothing started yet.
pub(super) struct Armed {
    pub(super) kernel: Kernel,
    pub(super) cgroup: JobCgroup,
    pub(super) job: Arc<Job>,
    pub(super) command: Vec<OsString>,
    pub(super) flow: Flow,
    /// What refuses, where the job is blocked.
    pub(super) blocking: Option<Blocking>,
    /// Why the job had to be ended before its end.
    pub(super) disarmed: Option<String>,
}

impl Armed {
    async fn run(mut self, mut signals: tokio::sync::mpsc::UnboundedReceiver<Arrived>) -> Result<Outcome, RunError> {
        let [critical, bulk] = self.kernel.descriptors().map_err(io_error("share the rings' descriptors"))?;
        let (critical, bulk) = (readiness(critical)?, readiness(bulk)?);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked_for_losses = Instant::now();
        let mut child = child::launcher(
            self.cgroup.path(),
            &self.command,
            self.blocking.as_ref().map_or_else(Confinement::default, Blocking::confinement),
        )
        .spawn()
        .map_err(io_error("start the launcher"))?;
        // The job may have a process for every processor; the rings are emptied first. The command was started before, so that
        // it does not inherit this. Without privileges it is not granted.
        let _ = rustix::process::setpriority_process(None, crate::sink::PRIORITY);
        let status = loop {
            let input = tokio::select! {
                biased;
                status = child.wait() => Input::Ended(status.map_err(io_error("wait for the command"))?),
                Some(signal) = signals.recv() => Input::Signal(signal),
                ready = critical.readable() => { ready.map_err(io_error("poll the ring"))?.clear_ready(); Input::RingReady }
                ready = bulk.readable() => { ready.map_err(io_error("poll the ring"))?.clear_ready(); Input::RingReady }
                _ = tick.tick() => Input::Tick,
            };
            match input {
                Input::RingReady | Input::Tick => self.take_in(),
                Input::Signal(arrived) => pass_on(arrived, &child),
                Input::Ended(status) => break status,
            }
            self.look_after()?;
            if looked_for_losses.elapsed() >= LOOK_FOR_LOSSES {
                looked_for_losses = Instant::now();
                self.tell_losses()?;
            }
        };
        self.settle(Some(status))
    }

    /// Looks after a job that another agent started, until nothing of it is left. A signal ends the keeper and not the job:
    /// its rules stay in force.
    pub(super) async fn keep(
        mut self,
        mut signals: tokio::sync::mpsc::UnboundedReceiver<Arrived>,
        look: Duration,
    ) -> Result<(), RunError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some(_) = signals.recv() => {
                    let Self { cgroup, blocking, mut flow, .. } = self;
                    flow.send();
                    flow.finish();
                    cgroup.leave();
                    if let Some(blocking) = blocking { blocking.leave(); }
                    return Ok(());
                }
                _ = tick.tick() => {}
            }
            self.take_in();
            self.look_after()?;
            if looked.elapsed() >= look {
                looked = Instant::now();
                self.tell_losses()?;
                if !self.cgroup.is_alive() {
                    break;
                }
            }
        }
        self.settle(None).map(drop)
    }

    /// Takes in what there is; under a flood only so much that signals and the command's end are seen too.
    pub(super) fn take_in(&mut self) {
        const ROUNDS: usize = 64;
        for _ in 0..ROUNDS {
            self.take_reports();
            if !self.flow.take_in(&mut self.kernel, now_ns()) {
                return;
            }
        }
    }

    /// What the resolver has to tell stands after the records of what was done before the question, and before those of what
    /// was done with its answer.
    pub(super) fn take_reports(&mut self) {
        let Some(blocking) = &mut self.blocking else { return };
        self.flow.reports_lost = blocking.resolver.lost();
        while let Some(told) = blocking.next_report() {
            match told {
                Told::Resolved(resolved) => {
                    self.flow.take_in(&mut self.kernel, resolved.at_ns);
                    self.flow.resolved(SLOT, &resolved);
                }
                Told::Changed { state, detail } => {
                    self.flow.announce(Some(&self.job), Content::Agent(AgentState::Changed { state, detail }));
                }
            }
        }
        self.flow.send();
    }

    /// Sees to it that blocking is in force. When that can't be put right, the job is ended.
    fn look_after(&mut self) -> Result<(), RunError> {
        let Some(blocking) = &mut self.blocking else { return Ok(()) };
        let repaired = match self.disarmed {
            Some(_) => return Ok(()),
            None => blocking.look_after(&mut self.kernel, now_ns()),
        };
        let (state, details) = match repaired {
            Ok(repairs) => ("repaired", repairs.what),
            Err(error) => {
                self.disarmed = Some(error.to_string());
                self.cgroup.kill()?;
                ("disarmed", vec![error.to_string()])
            }
        };
        for detail in details {
            self.flow.announce(Some(&self.job), Content::Agent(AgentState::Changed { state, detail }));
        }
        self.flow.send();
        Ok(())
    }

    fn tell_losses(&mut self) -> Result<(), RunError> {
        let (_, losses) = self.flow.settle_losses(&mut self.kernel)?;
        for loss in losses {
            self.flow.announce(Some(&self.job), Content::Loss(loss));
        }
        self.flow.send();
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

pub(super) fn ready(started: Instant) -> Content {
    Content::Agent(AgentState::Ready {
        ready_ms: started.elapsed().as_secs_f64() * 1000.0,
        tier: "tracepoint",
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

pub(super) fn started(job: &Job, cgroup: &JobCgroup) -> Content {
    let policy = &job.policy;
    let files = policy.origin.files.iter().map(|file| file.display().to_string());
    Content::JobStarted(JobStarted {
        command: job.command.clone(),
        policy: policy.name.clone(),
        policy_sha256: policy.origin.sha256.clone(),
        policy_files: files.chain(policy.origin.labels.iter().cloned()).collect(),
        mode: policy.mode,
        cgroup: cgroup.path().display().to_string(),
    })
}
