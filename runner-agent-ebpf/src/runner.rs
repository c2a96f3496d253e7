//! The whole runner as scope: who is held to a job's policy without being the job's, and who isn't.
//!
//! The hooks then hang on the root of the hierarchy, so that a process is judged in whatever cgroup it is. Every process that
//! is no job's, no agent's, no service of the platform's and not the kernel's own is taken in as the runner's.

use runner_agent_common::guard::agent;
use runner_agent_common::runner::ServiceKey;

use crate::kernel::{Address, offset, pointer, read};
use crate::maps::{AGENTS, GUARDS, PLATFORM, RUNNER, SERVICES};
use crate::task;

/// Slot of the job that the whole runner is held to the policy of; 0 where jobs alone are looked at.
#[inline(always)]
pub fn slot() -> u32 {
    // SAFETY: a plain load from a static; volatile because user space replaces the value before loading.
    unsafe { core::ptr::read_volatile(&raw const RUNNER) }
}

/// The same for the process that runs and is no job's: 0 where nothing holds for it. A function of its own, because all probes
/// ask, and few have room on their stack for this.
#[inline(never)]
pub fn slot_of(current: Address) -> u32 {
    let mm = pointer(current, offset!(task_mm));
    // The kernel's own threads have no memory of their own. Before the slot has a job, and between two, nobody is held to anything.
    if mm == 0 || !has_job() || is_agents(read(current + offset!(task_tgid))) {
        return 0;
    }
    let inode = pointer(pointer(mm, offset!(mm_exe_file)), offset!(file_inode));
    let service = ServiceKey {
        cgroup: task::current_cgroup(),
        inode: read(inode + offset!(inode_ino)),
        device: read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev)),
        reserved: 0,
    };
    // SAFETY: only whether the key exists is asked.
    if unsafe { SERVICES.get(service) }.is_some() { 0 } else { slot() }
}

/// Whether there is a job in the runner's slot. What it may not touch is the first thing that is written of a job.
#[inline(always)]
fn has_job() -> bool {
    // SAFETY: only whether the key exists is asked.
    unsafe { GUARDS.get(slot()) }.is_some()
}

/// Whether a process is the agent's own.
#[inline(always)]
pub fn is_agents(tgid: u32) -> bool {
    // SAFETY: the value is copied at once.
    unsafe { AGENTS.get(tgid) }.copied().unwrap_or_default() == agent::PROCESS
}

/// The slot for a packet of a socket that was made in this cgroup, and that no call has been judged for: 0 for those of the
/// platform. It is its cgroup's alone, because a packet has no program.
#[inline(always)]
pub fn slot_of_packet(cgroup: u64) -> u32 {
    let slot = slot();
    // SAFETY: only whether the key exists is asked.
    if slot == 0 || unsafe { PLATFORM.get(cgroup) }.is_some() { 0 } else { slot }
}
