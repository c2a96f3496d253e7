//! The station: the kernel side as one agent has it, and the jobs that it looks after. `run` has one job; the daemon has
//! many, one after the other and side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::account::Bookkeeper;
use super::at_work::AtWork;
use super::flow::Flow;
use super::guarding;
use super::handover::{Handover, Share};
use super::launch::protect_from_oom;
use super::platform::Platform;
use super::pulse::{Found, Pulse};
use super::run::{RunError, io_error};
use super::self_check;
use super::state::Held;
use super::succession::{Left, Testament, Word, settle_orphans};
use crate::job::Scope;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::load::object_hash;
use crate::kernel::watch::WatchKeys;
use crate::kernel::{Kernel, LoadError, LoadOptions, PinRoot, Pins, Room, Tier, hooks};
use crate::notice::{Account, AgentState, Content};
use crate::policy::Service;
use crate::receipt::HookTaken;
use crate::record_file::Recorder;

/// How an agent sets itself up, before it has a job.
pub(super) struct StationOptions<'a> {
    /// Its name: of the folders in which it leaves what must outlive it.
    pub(super) name: String,
    /// How to load the probes.
    pub(super) load: LoadOptions,
    /// How much room the maps need.
    pub(super) room: Room,
    /// Whether links and maps are to outlive it.
    pub(super) outlives: bool,
    /// Where all of the machine is held to a job's policy, and not the job alone: the services that it doesn't hold for.
    pub(super) runner: Option<&'a [Service]>,
    /// Where to put the file that the self-check opens.
    pub(super) scratch: PathBuf,
    /// Where to keep what must outlive it.
    pub(super) runtime: PathBuf,
    /// Where to pin; `None` for the system's BPF file system, or one below `runtime`.
    pub(super) pins: Option<PathBuf>,
    /// The configuration with the sinks of the jobs that another agent left, if there are sinks.
    pub(super) sinks: Option<PathBuf>,
    /// Folder of what waits for them.
    pub(super) spool: Option<&'a Path>,
    /// Where raw records go, if anywhere.
    pub(super) recorder: Option<Recorder>,
    /// When it was started.
    pub(super) started: Instant,
}

/// Stands for the slot of a job where what is guarded is the agent's and changes with its jobs.
const TESTAMENT: u32 = u32::MAX - 1;

/// What outlives the agent.
pub(super) struct Hold {
    pub(super) held: Held,
    pub(super) pins: Pins,
    /// The folder for pins that was asked for.
    asked: Option<PathBuf>,
}

impl Hold {
    /// What a predecessor left.
    pub(super) fn taken_over(held: Held, pins: Pins, asked: Option<PathBuf>) -> Self {
        Self { held, pins, asked }
    }
}

/// An agent that is set up: probes loaded and attached.
pub(super) struct Station {
    pub(super) kernel: Kernel,
    pub(super) flow: Flow,
    pub(super) hierarchy: Hierarchy,
    pub(super) jobs: BTreeMap<u32, AtWork>,
    pub(super) platform: Option<Platform>,
    pub(super) pulse: Pulse,
    pub(super) runtime: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) hold: Option<Hold>,
    /// The configuration with the sinks, for whoever goes on with the jobs.
    sinks: Option<PathBuf>,
    /// What became of the hooks when another agent took them.
    pub(super) hooks_before: Vec<HookTaken>,
    /// Whether it is told at each job's end what is left of it.
    pub(super) proves_reset: bool,
    /// What the agent's score for the out-of-memory killer was.
    pub(super) oom_score: i32,
    started: Instant,
    /// When its threads were looked at.
    pub(super) threads_looked: Instant,
    /// What is said of being ready in the row of each job, once it is.
    ready: Option<Content>,
}

impl Station {
    /// Loads the probes and attaches what watches the whole machine. Nothing is a job yet, so nothing is recorded.
    pub(super) fn raise(options: StationOptions<'_>) -> Result<Self, RunError> {
        let StationOptions { name, load, room, outlives, runner, scratch, runtime, pins, .. } = options;
        let StationOptions { sinks, spool, recorder, started, .. } = options;
        settle_orphans(&runtime, pins.as_deref(), sinks.as_deref());
        PinRoot::clear_parted(&runtime);
        let hierarchy = Hierarchy::find()?;
        let hold = if outlives {
            let held = Held::create(&runtime, &name).map_err(io_error("make the job's folder"))?;
            let claimed = PinRoot::claim(pins.as_deref(), &runtime, &name)?;
            Some(Hold { held, pins: claimed, asked: pins })
        } else {
            None
        };
        let folder = hold.as_ref().map(|hold| hold.pins.folder());
        let mut kernel = Kernel::load(&load, hierarchy.job_level(), room, folder)?;
        let mut canary = WatchKeys::default();
        canary.name(self_check::CANARY);
        kernel.watch(0, &canary)?;
        // Before anything hangs on a hook: what is exempt must never have been taken in.
        let platform = match runner {
            None => None,
            Some(services) => {
                let mut platform = Platform::of(services, &hierarchy);
                platform.arrange(&mut kernel)?;
                Some(platform)
            }
        };
        kernel.attach(folder)?;
        kernel.add_agent(std::process::id())?;
        let mut station = Self {
            flow: Flow::new(Bookkeeper::default(), recorder),
            kernel,
            hierarchy,
            jobs: BTreeMap::new(),
            platform,
            pulse: Pulse::default(),
            runtime,
            scratch,
            hold,
            sinks,
            hooks_before: Vec::new(),
            proves_reset: false,
            oom_score: 0,
            started,
            threads_looked: started,
            ready: None,
        };
        station.guard_footing(spool)?;
        Ok(station)
    }

    /// A station whose probes another agent has loaded.
    pub(super) fn taken_over(
        kernel: Kernel,
        flow: Flow,
        hierarchy: Hierarchy,
        jobs: BTreeMap<u32, AtWork>,
        platform: Option<Platform>,
        runtime: PathBuf,
        hold: Hold,
    ) -> Self {
        let scratch = std::env::temp_dir();
        let started = Instant::now();
        let (hold, sinks, proves_reset, oom_score, ready) = (Some(hold), None, false, 0, None);
        Self {
            kernel,
            flow,
            hierarchy,
            jobs,
            platform,
            pulse: Pulse::default(),
            runtime,
            scratch,
            hold,
            sinks,
            hooks_before: Vec::new(),
            proves_reset,
            oom_score,
            started,
            threads_looked: started,
            ready,
        }
    }

    /// Guards what the agent stands on.
    fn guard_footing(&mut self, spool: Option<&Path>) -> Result<(), RunError> {
        let folder = self.hold.as_ref().map(|hold| hold.pins.folder());
        self.kernel.guard_files(0, &guarding::footing(&self.runtime, folder))?;
        Ok(self.kernel.guard_files(0, &guarding::settings(self.sinks.as_deref().into_iter(), spool))?)
    }

    /// Guards the files that were written for a successor since: they are others each time.
    pub(super) fn guard_testament(&mut self) -> Result<(), RunError> {
        let Some(hold) = &self.hold else { return Ok(()) };
        let files = hold.held.files();
        Ok(self.kernel.guard_files_anew(TESTAMENT, &guarding::contents(files.iter().map(PathBuf::as_path)))?)
    }

    /// Every thread of the agent is there by now: they and the agent are out of reach for jobs, if what was loaded runs.
    pub(super) fn settle_in(&mut self) -> Result<(), RunError> {
        self.kernel.add_own_threads()?;
        self.pulse = Pulse::of(&mut self.kernel)?;
        if self.kernel.is_pulse_hooked() && !self.pulse.is_there() {
            return Err(LoadError::Disarmed(Found::Gone.text().to_owned()).into());
        }
        self.oom_score = protect_from_oom();
        Ok(())
    }

    /// What is said of being ready: that of the first time.
    pub(super) fn readiness(&mut self) -> Content {
        let Self { ready, started, kernel, .. } = self;
        ready.get_or_insert_with(|| readiness(*started, kernel)).clone()
    }

    /// Each hook of the tracing tier, and what became of it when it was taken.
    pub(super) fn hooks(&self) -> Vec<HookTaken> {
        let states = self.kernel.hooks();
        let state = |state: &hooks::HookState| {
            let taken = state.taken.as_ref().map(|way| hooks::word(*way).to_owned());
            (state.hook.program.to_owned(), taken.map_err(Clone::clone))
        };
        if states.is_empty() { self.hooks_before.clone() } else { states.iter().map(state).collect() }
    }

    /// The scope of the station's jobs.
    pub(super) fn scope(&self) -> Scope {
        if self.platform.is_some() { Scope::Runner } else { Scope::Job }
    }

    /// Writes down what a successor must know of the jobs that there are.
    pub(super) fn bequeath(&mut self) -> Result<(), RunError> {
        let Some(hold) = &self.hold else { return Ok(()) };
        let jobs = self.jobs.values().map(|at_work| Word {
            identity: at_work.sealing().and_then(|sealing| sealing.identity.clone()),
            trust: at_work.sealing().and_then(|sealing| sealing.trust.clone()),
            slot: at_work.job.slot,
            id: at_work.job.id.clone(),
            command: at_work.job.command.clone(),
            mode: at_work.job.policy.mode.to_string(),
            cgroup: at_work.cgroup.path().to_owned(),
            log: at_work.log.clone(),
            policy: at_work.recorded.clone(),
            policy_sha256: at_work.job.policy.origin.sha256.clone(),
        });
        let testament = Testament {
            kernel_side: object_hash().to_owned(),
            holds_runner: self.scope() == Scope::Runner,
            pins: hold.asked.clone(),
            jobs: jobs.collect(),
        };
        testament.write(&hold.held).map_err(io_error("write down what a successor must know"))?;
        let written = hold.held.files();
        self.jobs.values_mut().for_each(|at_work| at_work.stand.renew(&written));
        Ok(())
    }

    /// Lets go of everything and leaves it in force, for a successor. What was told is signed first: the key may go with this agent.
    /// Says where what outlives it is found, if anything does, and what is to be handed over besides.
    pub(super) fn leave(mut self) -> Option<Left> {
        for blocking in self.jobs.values_mut().filter_map(|at_work| at_work.blocking.as_mut()) {
            blocking.resolver.stop();
        }
        let slots: Vec<u32> = self.jobs.keys().copied().collect();
        let accounts: BTreeMap<u32, Account> =
            slots.into_iter().filter_map(|slot| Some((slot, self.account_so_far(slot).ok()?))).collect();
        // Last, so that nothing of what was taken from the rings waits for what is not read any more.
        self.take_reports();
        self.flow.take_all(&mut self.kernel);
        self.flow.flush();
        // Once more, because it may have failed at the end of a job.
        if let Err(error) = self.bequeath().and_then(|()| self.guard_testament()) {
            tracing::warn!("a successor knows the jobs as they were before: {error}");
        }
        let hooks = self.hooks();
        let Self { mut flow, jobs, hold, runtime, sinks, .. } = self;
        for at_work in jobs.values().filter(|at_work| at_work.seal.is_some()) {
            flow.announce(&at_work.job, Content::Checkpoint(None));
        }
        flow.send();
        let mut handover = None;
        for (slot, at_work) in jobs {
            let notices_dropped = flow.close_log(slot);
            if let Some(sealing) = at_work.sealing() {
                flow.tell_signed(&at_work.job, sealing.ledger.take_signed());
                if let (Some(account), Some(row)) = (accounts.get(&slot), flow.row(slot)) {
                    let so_far = Account { notices_dropped, ..account.clone() };
                    let share = Share::of(&at_work, sealing, row, &flow.pipeline, &so_far);
                    let of_all = || Handover::new(sealing.ledger.key(), &flow.book, hooks.clone());
                    handover.get_or_insert_with(of_all).jobs.insert(slot, share);
                }
            }
            flow.end_job(slot);
            at_work.cgroup.leave();
        }
        flow.finish();
        let Hold { held, pins, .. } = hold?;
        let name = held.name().to_owned();
        pins.keep();
        held.keep();
        Some(Left { runtime, name, handover, sinks })
    }

    /// Takes everything down. The hooks go first, then the folders by which a successor would look for them.
    pub(super) fn take_down(self) {
        let Self { kernel, flow, hold, runtime, .. } = self;
        flow.finish();
        let needs_folder = hold.is_none() && kernel.tier() == Tier::Tracing;
        let parting = if needs_folder { PinRoot::at_parting(&runtime) } else { None };
        kernel.part(parting.as_ref().map(Pins::folder));
        drop(parting);
        drop(hold);
    }
}

fn readiness(started: Instant, kernel: &Kernel) -> Content {
    Content::Agent(AgentState::Ready {
        ready_ms: started.elapsed().as_secs_f64() * 1000.0,
        tier: kernel.tier().name(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION"),
    })
}
