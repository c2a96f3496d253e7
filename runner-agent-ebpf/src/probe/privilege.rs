//! Ways to another user's rights, and to a daemon that has them.
//!
//! Hooks: `security_bprm_check(bprm)`, `security_unix_stream_connect(sock, other, newsk)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Where there are none, the tracepoints `sched_process_exec` and `sys_exit` tell when it has happened.
//! Sees: set-user-ID programs that user space has named (sudo, su, pkexec and their like) being started, and connects to the
//! sockets of container engines, of the service manager and of message buses. Misses: what a daemon is asked for over a socket that
//! was let through; without the hook also what failed, and connects by a 32-bit call or through io_uring.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::{guarded, operation};

use crate::guard::{self, Attempt, PASS};
use crate::kernel::{Address, any, argument, file_on, offset, pointer, read};
use crate::maps::Scratch;
use crate::task::{self, Member};

const AF_UNIX: u16 = 1;

/// A program is about to be run.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let file = pointer(argument(&ctx, 0), offset!(binprm_file));
    if gives_rights(file) {
        guard::answer_at(&member, &Attempt::new(operation::PRIVILEGE, 0), file + offset!(file_path))
    } else {
        PASS
    }
}

/// A program runs, the walk to which has been made: told where no hook saw that it was about to.
#[inline(always)]
pub(super) fn runs(member: &Member, exe: Address, scratch: &mut Scratch) {
    if guard::is_told_afterwards(operation::PRIVILEGE) && gives_rights(exe) {
        guard::tell_walked(member, &Attempt::over(operation::PRIVILEGE, 0), scratch);
    }
}

/// Whether a file is a program that gives its caller another user's rights.
#[inline(always)]
fn gives_rights(file: Address) -> bool {
    guard::guarded(pointer(file, offset!(file_inode))) & guarded::PRIVILEGE != 0
}

/// A Unix socket is about to be connected to another.
#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let daemon = argument(&ctx, 1);
    let operation = any(served_at(daemon));
    if operation == 0 {
        PASS
    } else {
        guard::answer_at(&member, &Attempt::new(operation, 0), daemon + offset!(unix_sock_path))
    }
}

/// A socket was connected, by a descriptor: told where no hook saw that it was about to be. What is at its other end has the
/// path of who listens.
#[inline(never)]
pub(super) fn connected(member: &Member, descriptor: u64) {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let file = file_on(member.task, descriptor);
    if read::<u16>(pointer(file, offset!(file_inode)) + offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return;
    }
    let own = pointer(pointer(file, offset!(file_private_data)), offset!(socket_sk));
    if read::<u16>(own + offset!(sock_family)) != AF_UNIX {
        return;
    }
    let daemon = pointer(own, offset!(unix_sock_peer));
    let operation = any(served_at(daemon));
    if operation != 0 {
        guard::answer_at(member, &Attempt::over(operation, 0), daemon + offset!(unix_sock_path));
    }
}

/// What a connect to a Unix socket would be an attempt at; 0 for nothing.
#[inline(always)]
fn served_at(socket: Address) -> u16 {
    let dentry = pointer(socket + offset!(unix_sock_path), offset!(path_dentry));
    // Abstract names have no file.
    if dentry == 0 {
        return 0;
    }
    let bits = guard::guarded(pointer(dentry, offset!(dentry_inode)));
    if bits & guarded::ENGINE != 0 {
        operation::ENGINE
    } else if bits & guarded::SERVICES != 0 {
        operation::SERVICES
    } else {
        0
    }
}
