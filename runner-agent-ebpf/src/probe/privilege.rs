//! Ways to another user's rights, and to a daemon that has them.
//!
//! Hooks: `security_bprm_check(bprm)`, `security_unix_stream_connect(sock, other, newsk)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Sees: set-user-ID programs that user space has named (sudo, su, pkexec and their like) being started, and connects to the
//! sockets of container engines. Misses: what an engine is asked for over a socket that was let through.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::{guarded, operation};

use crate::guard::{self, Attempt, PASS};
use crate::kernel::{argument, offset, pointer};
use crate::task;

/// A program is about to be run.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let file = pointer(argument(&ctx, 0), offset!(binprm_file));
    if guard::guarded(pointer(file, offset!(file_inode))) & guarded::PRIVILEGE == 0 {
        return PASS;
    }
    guard::answer_at(&member, &Attempt::new(operation::PRIVILEGE, 0), file + offset!(file_path))
}

/// A Unix socket is about to be connected to another.
#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let place = argument(&ctx, 1) + offset!(unix_sock_path);
    let dentry = pointer(place, offset!(path_dentry));
    // Abstract names have no file.
    if dentry == 0 || guard::guarded(pointer(dentry, offset!(dentry_inode))) & guarded::ENGINE == 0 {
        return PASS;
    }
    guard::answer_at(&member, &Attempt::new(operation::ENGINE, 0), place)
}
