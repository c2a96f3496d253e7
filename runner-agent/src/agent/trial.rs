//! Arming without a job, for `doctor`: the same calls as for a job, nothing left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use super::arm::{JobOptions, Proof};
use super::block::{Closed, Prepared};
use super::run::{RunError, SLOT};
use super::self_check;
use super::station::{Station, StationOptions};
use crate::config::Combined;
use crate::job::Scope;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::hooks::HookState;
use crate::kernel::watch::WatchKeys;
use crate::kernel::{Kernel, LoadError, LoadOptions, Room, Tier};
use crate::policy::{Mode, Policy};
use crate::redact::Redactor;

/// What arming brought.
#[derive(Debug)]
pub struct Trial {
    /// The probes' names with the instructions that the verifier went through for each, where the kernel tells.
    pub probes: Vec<(String, Option<u32>)>,
    /// The tier.
    pub tier: Tier,
    /// Why it is not the tracing tier.
    pub no_tracing: Option<String>,
    /// The hooks of the tracing tier, and what became of each; none where the tier is another.
    pub hooks: Vec<HookState>,
    /// Programs of which runs are left out where the kernel preempts one in its midst.
    pub interruptible: Vec<&'static str>,
}

/// What arming for mode `block` brought.
#[derive(Debug)]
pub struct BlockTrial {
    /// As in [`Trial::probes`]: programs of a blocked job decide, and are longer than those that only tell.
    pub probes: Vec<(String, Option<u32>)>,
    /// How long it took to load them.
    pub loaded_in: Duration,
}

/// Loads every probe, those that only some policies need included, attaches them to a cgroup made for this, runs the self-check
/// there, and removes it all.
///
/// `scratch` is an existing directory; the check makes one of its own in it.
pub fn try_to_arm(options: &LoadOptions, scratch: &Path) -> Result<Trial, LoadError> {
    let hierarchy = Hierarchy::find()?;
    let room = Room { refuses_reads: true, takes_workers: true, ..Room::default() };
    let mut kernel = Kernel::load(options, hierarchy.job_level(), room, None)?;
    kernel.watch(0, &canary())?;
    kernel.attach(None)?;
    self_check::run(&mut kernel, &hierarchy, scratch, None, Scope::Job)?;
    Ok(Trial {
        probes: kernel.complexity(),
        tier: kernel.tier(),
        no_tracing: kernel.no_tracing().map(str::to_owned),
        hooks: kernel.hooks().to_vec(),
        interruptible: kernel.interruptible(),
    })
}

/// The same for a job that is blocked: rules, pins, resolver, and the check that what is forbidden is refused. What was
/// pinned and mounted for it is gone when this returns; jobs of other agents are left alone.
pub fn try_to_block(options: &LoadOptions, scratch: &Path, runtime: &Path) -> Result<BlockTrial, RunError> {
    let name = format!("runner-agent-trial-{}", std::process::id());
    let policy = Policy { mode: Mode::Block, ..Policy::default() };
    let (prepared, closed) = (Prepared::new(&policy, SLOT)?, Closed::listen()?);
    let mut station = Station::raise(StationOptions {
        name: name.clone(),
        load: options.clone(),
        room: closed.room(prepared.room()),
        outlives: true,
        runner: None,
        scratch: scratch.to_owned(),
        runtime: runtime.to_owned(),
        pins: None,
        sinks: None,
        spool: None,
        recorder: None,
        started: Instant::now(),
    })?;
    station.begin(JobOptions {
        slot: SLOT,
        id: name.as_str().into(),
        name,
        command: Vec::new(),
        policy,
        recorded: Combined::default(),
        prepared: Some(prepared),
        proof: Some(Proof(Some(closed))),
        redactor: Redactor::default(),
        outboxes: Vec::new(),
        log: None,
        sealing: None,
    })?;
    station.end(SLOT, None)?;
    let (probes, loaded_in) = (station.kernel.complexity(), station.kernel.verified_in());
    station.take_down();
    Ok(BlockTrial { probes, loaded_in })
}

fn canary() -> WatchKeys {
    let mut keys = WatchKeys::default();
    keys.name(self_check::CANARY);
    keys
}
