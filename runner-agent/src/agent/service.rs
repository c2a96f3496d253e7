//! The daemon's jobs: begun for a worker that runs already, followed until it has ended, proven to be gone.
//!
//! A job's worker is the process whose descendants run its steps. It is recorded when the job begins, and what it is moves into
//! the job's cgroup; a job ends when its worker has, whatever anybody says before. That a job's end was announced is noted: then
//! its result is asked for, and what it does from there on is a finding.

mod beginning;
mod elsewhere;
mod ending;
mod figures;
mod moving;
mod slots;
mod words;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_agent_common::record::ProcessKey;

use super::arm::{JobOptions, Proof};
use super::block::{Closed, Prepared};
use super::guarding;
use super::run::{RunError, TICK_WITH_SINKS, io_error};
use super::station::{Station, StationOptions};
use super::watched::watch_keys;
use crate::config::Combined;
use crate::kernel::{LoadOptions, Room};
use crate::ledger::{KeyError, SigningKey};
use crate::policy::{Mode, Policy, Service as PlatformService};
use crate::redact::Redactor;
use crate::sink::Deliveries;
use crate::sink::wire::Encoder;
use beginning::Beginning;
pub use elsewhere::Elsewhere;
use ending::END_AGAIN;
pub use figures::{Figures, Past};
pub use words::{BeginError, Begun, Ended, JobRequest, Standing};

/// How the daemon sets itself up.
pub struct ServiceOptions {
    /// How to load the probes.
    pub load: LoadOptions,
    /// The policies that there are: the kernel side gets room for as many jobs like the largest.
    pub policies: Vec<Policy>,
    /// Jobs at once; one where the whole runner is in scope.
    pub jobs: u32,
    /// The services that no job's policy holds for, where all of the machine is held to it.
    pub runner: Option<Vec<PlatformService>>,
    /// Whether what a job leaves behind is ended with it.
    pub ends_leftovers: bool,
    /// The configuration that it goes by.
    pub configuration: PathBuf,
    /// Folder of the policies.
    pub policies_folder: PathBuf,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// Where to keep what must outlive the daemon.
    pub runtime: PathBuf,
    /// Where to pin.
    pub pins: Option<PathBuf>,
    /// For the logs.
    pub encoder: Encoder,
    /// Who else is sent what jobs do.
    pub deliveries: Deliveries,
    /// When the daemon was started.
    pub started: Instant,
}

/// How often the rings are drained where nobody waits for alerts.
const TICK: Duration = Duration::from_millis(10);

/// Room that each job's policy may take beyond what the known ones do: rules, files of programs, secret paths.
const SPARE: Room = Room {
    entries: 4096,
    exes: 256,
    rules: 256,
    secret_paths: 1024,
    carries: true,
    refuses_reads: false,
    takes_workers: true,
    audits: true,
};

/// Slot of the job that the whole runner is held to the policy of: the only one that there is then.
const RUNNERS_SLOT: u32 = 1;

struct Session {
    begun: Begun,
    worker: ProcessKey,
    /// Readable when the worker has ended.
    ended: OwnedFd,
    /// Where it hasn't begun yet.
    beginning: Option<Beginning>,
    /// When to try again to end the job, where that failed.
    again: Option<Instant>,
}

/// The daemon's jobs, and the station that looks after them.
pub struct Service {
    station: Station,
    sessions: BTreeMap<u32, Session>,
    last_slot: u32,
    past: Past,
    options: Kept,
}

struct Kept {
    jobs: u32,
    ends_leftovers: bool,
    logs: PathBuf,
    encoder: Encoder,
    /// Signs the logs of all jobs, from the daemon's start to its end.
    key: Arc<SigningKey>,
    deliveries: Deliveries,
}

impl Service {
    /// Loads the probes, and proves with a job of its own that they see what they should and refuse what they must.
    pub fn raise(options: ServiceOptions) -> Result<Self, RunError> {
        let ServiceOptions { load, policies, jobs, runner, logs, runtime, pins, started, .. } = options;
        let ServiceOptions { ends_leftovers, encoder, deliveries, configuration, policies_folder, .. } = options;
        let no_key = |error: KeyError| io_error("make a key")(std::io::Error::other(error.to_string()));
        let key = Arc::new(SigningKey::generate().map_err(no_key)?);
        let room = room(&policies, jobs)?;
        let name = format!("runner-agent-daemon-{}", std::process::id());
        let closed = Closed::listen()?;
        let mut station = Station::raise(StationOptions {
            name: name.clone(),
            load: LoadOptions { runner: if runner.is_some() { RUNNERS_SLOT } else { 0 }, ..load },
            room: closed.room(room),
            outlives: true,
            runner: runner.as_deref(),
            scratch: runtime.clone(),
            runtime,
            pins,
            sinks: deliveries.configuration().map(Path::to_owned),
            spool: deliveries.spool(),
            recorder: None,
            started,
        })?;
        // What holds for the next job, and what is left of the last one, are no job's to change.
        let written = policies.iter().flat_map(|policy| &policy.origin.files).chain([&configuration]);
        let settings = guarding::settings(written.map(PathBuf::as_path), [&*policies_folder, &*logs]);
        station.kernel.guard_files(0, &settings)?;
        // What most jobs will have watched is watched all the time: it is most of what a beginning writes.
        for policy in &policies {
            station.kernel.watch(0, &watch_keys(policy).names_alone())?;
        }
        let slot = jobs + 1;
        let policy = Policy { mode: Mode::Block, ..Policy::default() };
        let prepared = Some(Prepared::new(&policy, slot)?);
        station.begin(JobOptions {
            slot,
            id: "proof".into(),
            name: format!("{name}-proof"),
            command: Vec::new(),
            policy,
            recorded: Combined::default(),
            prepared,
            proof: Some(Proof(Some(closed))),
            redactor: Redactor::default(),
            outboxes: Vec::new(),
            log: None,
            sealing: None,
        })?;
        station.end(slot, None)?;
        station.settle_in()?;
        station.proves_reset = true;
        let options = Kept { jobs, ends_leftovers, logs, encoder, key, deliveries };
        Ok(Self { station, sessions: BTreeMap::new(), last_slot: 0, past: Past::default(), options })
    }

    /// Waits for what can wake the daemon, for as long as it is needed.
    pub fn rings(&self) -> Result<impl AsyncFn() -> Result<(), RunError> + use<>, RunError> {
        let rings = super::run::Rings::of(&self.station.kernel)?;
        Ok(async move || rings.ready().await)
    }

    /// Name of the tier.
    pub fn tier(&self) -> &'static str {
        self.station.kernel.tier().name()
    }

    /// How often the rings are to be drained while there are jobs, when nothing fills them.
    pub fn tick(&self) -> Duration {
        if self.options.deliveries.is_empty() { TICK } else { TICK_WITH_SINKS }
    }

    /// Whether there is a job.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What the job began with that a process belongs to.
    pub fn begun_of(&self, pid: u32) -> Option<&Begun> {
        let slot = self.slot_of(pid)?;
        self.sessions.get(&slot).map(|session| &session.begun)
    }

    /// The job that a process belongs to.
    pub fn job_of(&self, pid: u32) -> Option<Arc<str>> {
        let slot = self.slot_of(pid)?;
        self.sessions.get(&slot).map(|session| session.begun.id.clone())
    }

    /// How the jobs stand.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        let begun = self.sessions.iter().filter(|(_, session)| session.beginning.is_none());
        begun.map(|(slot, session)| Standing {
            begun: &session.begun,
            is_announced: self.station.is_announced(*slot),
            processes: self.station.jobs.get(slot).map_or(0, |at_work| at_work.cgroup.processes().len()),
            worker: Some(session.worker.tgid),
        })
    }

    /// Entries in the kernel side's maps.
    pub fn entries(&mut self) -> Result<BTreeMap<&'static str, usize>, RunError> {
        Ok(self.station.kernel.entries()?)
    }

    /// Passes records on.
    pub fn take_in(&mut self) {
        self.station.take_in();
    }

    /// Sees to it that everything is in force, has jobs begin whose time has come, and ends those whose workers have ended.
    pub fn look_after(&mut self) -> Result<Vec<Ended>, RunError> {
        self.station.look_after()?;
        self.station.tell_who_went_on();
        self.set_out_all();
        let mut ended = Vec::new();
        for slot in self.over() {
            ended.extend(self.end(slot));
        }
        Ok(ended)
    }

    /// Tells each job of losses since the last time, and has its log signed when it is time.
    pub fn tell_losses(&mut self) -> Result<(), RunError> {
        self.station.tell_losses()?;
        self.station.checkpoints();
        Ok(())
    }
}

/// Room for as many jobs like the largest of these, and some for policies that aren't among them.
fn room(policies: &[Policy], jobs: u32) -> Result<Room, RunError> {
    let mut largest = SPARE;
    for policy in policies {
        let room = Prepared::new(policy, 1)?.room();
        largest = Room {
            entries: largest.entries.max(room.entries + SPARE.entries),
            exes: largest.exes.max(room.exes + SPARE.exes),
            rules: largest.rules.max(room.rules + SPARE.rules),
            secret_paths: largest.secret_paths.max(room.secret_paths + SPARE.secret_paths),
            refuses_reads: largest.refuses_reads || room.refuses_reads,
            ..largest
        };
    }
    Ok(largest.times(jobs))
}
