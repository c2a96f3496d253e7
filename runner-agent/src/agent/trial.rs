//! The agent's arming without a job: everything that `run` does before its command starts, tried and taken back.

use std::path::Path;

use super::block::Prepared;
use super::run::{RunError, SLOT};
use super::self_check;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::watch::WatchKeys;
use crate::kernel::{Kernel, LoadError, LoadOptions, Room};
use crate::policy::{Mode, Policy};

/// Loads every probe, attaches them to a cgroup made for this, runs the self-check there, and removes it all. Returns
/// the probes' names with the instructions that the verifier went through for each, where the kernel tells.
///
/// `scratch` is an existing directory; the check makes one of its own in it.
pub fn try_to_arm(options: &LoadOptions, scratch: &Path) -> Result<Vec<(String, Option<u32>)>, LoadError> {
    let hierarchy = Hierarchy::find()?;
    let mut kernel = Kernel::load(options, hierarchy.job_level(), Room::default(), None)?;
    let probes = kernel.complexity();
    kernel.watch(&canary())?;
    kernel.attach_tracepoints(None)?;
    self_check::run(&mut kernel, &hierarchy, scratch, None)?;
    Ok(probes)
}

/// The same for a job that is blocked: rules, pins, resolver, and the check that what is forbidden is refused. What was
/// pinned and mounted for it is gone when this returns; jobs of other agents are left alone.
pub fn try_to_block(options: &LoadOptions, scratch: &Path, runtime: &Path) -> Result<(), RunError> {
    let hierarchy = Hierarchy::find()?;
    let name = format!("runner-agent-trial-{}", std::process::id());
    let policy = Policy { mode: Mode::Block, ..Policy::default() };
    let prepared = Prepared::new(&policy, SLOT, &name, runtime, None)?;
    let pins = prepared.pins.folder().to_owned();
    let mut kernel = Kernel::load(options, hierarchy.job_level(), prepared.room(), Some(&pins))?;
    kernel.watch(&canary())?;
    kernel.attach_tracepoints(Some(&pins))?;
    let cgroup = hierarchy.create_job(&name)?;
    let blocking = prepared.arm(&mut kernel, &cgroup, &policy.egress, |kernel, closed, egress| {
        self_check::run(kernel, &hierarchy, scratch, Some((closed, egress))).map(drop)
    })?;
    // As at a job's end: the hooks go first, then the folder by which a successor would look for them.
    drop(kernel);
    cgroup.remove()?;
    drop(blocking);
    Ok(())
}

fn canary() -> WatchKeys {
    let mut keys = WatchKeys::default();
    keys.name(self_check::CANARY);
    keys
}
