//! Rights that are withheld from a blocked job, whoever started its processes.
//!
//! Hook: `security_capable(cred, ns, cap, opts)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Sees: each time that the kernel asks whether a process of the job has a capability in the machine's own user namespace.
//! Misses: capabilities in user namespaces of the job's own, which are worth nothing outside. Processes of the runner, where all of it
//! is in scope, lose none.
//!
//! Loaded by a daemon alone: a command of `run` begins without what it would refuse.
//!
//! It tells nothing, as the kernel tells nothing of a capability that was never there: the kernel asks for many that it can do without.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::WITHHOLDABLE;
use runner_agent_common::map::task_flag;

use crate::guard::{self, PASS, REFUSE};
use crate::kernel::{argument, offset, read};
use crate::task;

/// The kernel is about to say whether a process has a capability.
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    // The number of a capability is below 64; the kernel asks for others of them all the time.
    let capability = 1_u64 << (argument(&ctx, 2) & 63);
    if WITHHOLDABLE & capability == 0 || read::<u32>(argument(&ctx, 1) + offset!(user_namespace_level)) != 0 {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    if member.flags & task_flag::RUNNERS == 0 && guard::rules_of(member.job).withholds & capability != 0 {
        REFUSE
    } else {
        PASS
    }
}
