//! The agent's arming without a job: everything that `run` does before its command starts, tried and taken back.

use std::path::Path;

use super::self_check;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::watch::WatchKeys;
use crate::kernel::{Kernel, LoadError, LoadOptions, Room};

/// Loads every probe, attaches them to a cgroup made for this, runs the self-check there, and removes it all. Returns
/// the probes' names with the instructions that the verifier went through for each, where the kernel tells.
///
/// `scratch` is an existing directory; the check makes one of its own in it.
pub fn try_to_arm(options: &LoadOptions, scratch: &Path) -> Result<Vec<(String, Option<u32>)>, LoadError> {
    let hierarchy = Hierarchy::find()?;
    let mut kernel = Kernel::load(options, hierarchy.job_level(), Room::default(), None)?;
    let probes = kernel.complexity();
    let mut keys = WatchKeys::default();
    keys.name(self_check::CANARY);
    kernel.watch(&keys)?;
    kernel.attach_tracepoints(None)?;
    self_check::run(&mut kernel, &hierarchy, scratch, None)?;
    Ok(probes)
}
