//! Ways to keep the agent waiting.
//!
//! Hooks: `security_file_lock(file, cmd)`, `security_path_notify(path, mask, obj_type)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Sees: flock(2), fcntl(2)'s locks and leases; fanotify_mark(2) for events that wait for an answer, whatever they are about: a mark
//! may stand for a whole file system. Misses: nothing that is known.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::{guarded, operation, priority};

use crate::guard::{self, Attempt, PASS};
use crate::kernel::{Address, argument, offset, pointer};
use crate::task;

/// What a lock keeps from whom, from asm-generic/fcntl.h.
pub(super) mod lock {
    /// Others from locking it for themselves alone.
    pub const SHARED: u64 = 0;
    /// Others from locking it; a lease, from opening it.
    pub const ALONE: u64 = 1;
    /// Nobody from anything.
    pub const NONE: u64 = 2;
}

/// `FS_OPEN_PERM`, `FS_ACCESS_PERM`, `FS_OPEN_EXEC_PERM` and, since 6.14, `FS_PRE_ACCESS`, from linux/fsnotify_backend.h:
/// whoever causes such an event waits until it is answered. To fanotify_mark(2) they are the same bits.
const WAIT_FOR_ANSWER: u64 = 0x17_0000;

/// A file is about to be locked, unlocked or leased.
#[lsm(hook = "file_lock")]
pub fn file_lock(ctx: LsmContext) -> i32 {
    let file = argument(&ctx, 0);
    if !is_agents(file, argument(&ctx, 1) & 0xffff_ffff) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    guard::answer_at(&member, &Attempt::new(operation::PRIORITY, priority::WAIT), file + offset!(file_path))
}

/// Events of a file, a mount or a file system are about to be watched.
#[lsm(hook = "path_notify")]
pub fn path_notify(ctx: LsmContext) -> i32 {
    if !waits(argument(&ctx, 1)) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    guard::answer_at(&member, &Attempt::new(operation::PRIORITY, priority::WAIT), argument(&ctx, 0))
}

/// Whether the agent or its successor would wait for this lock: for any on what lies in its folders, and for one that shuts all
/// others out on what it reads.
#[inline(always)]
pub(super) fn is_agents(file: Address, lock: u64) -> bool {
    if lock == lock::NONE {
        return false;
    }
    let dentry = pointer(file + offset!(file_path), offset!(path_dentry));
    let folder = pointer(pointer(dentry, offset!(dentry_parent)), offset!(dentry_inode));
    let is_alone = lock != lock::SHARED;
    guard::guarded(folder) & guarded::ENTRIES != 0
        || (is_alone && guard::guarded(pointer(file, offset!(file_inode))) & guarded::CONTENT != 0)
}

/// Whether whoever causes one of these events waits for an answer.
#[inline(always)]
pub(super) fn waits(events: u64) -> bool {
    events & WAIT_FOR_ANSWER != 0
}
