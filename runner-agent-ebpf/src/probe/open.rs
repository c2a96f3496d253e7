//! Files as the kernel opens, reads, maps and receives them: every way to a file ends here.
//!
//! Hooks: `security_file_open(file)`, `security_file_permission(file, mask)`, `security_mmap_file(file, prot, flags)`,
//! `security_file_receive(file)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Sees: opens by any system call, 32-bit ones and io_uring included, with the file that was found and not the path that was
//! passed; before they succeed, so that they can be refused. The other three only where a policy has reads refused: a
//! descriptor that somebody else has opened.
//! Misses: opens that fail before this (no such file, no permission), and `O_PATH`, which reads nothing.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::record::{NO_SYSCALL, flag};

use super::{process_access, reach};
use crate::doors;
use crate::file::{self, EXEC, READ};
use crate::guard::{PASS, REFUSE};
use crate::kernel::{Address, argument, offset, pointer, read};
use crate::secret;
use crate::task;
use crate::verdict as rules;
use crate::watch::watched;

/// `MAY_READ`.
const MAY_READ: u64 = 4;

/// A file is being opened.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let file = argument(&ctx, 0);
    let Some(member) = task::current_member() else { return PASS };
    let mode: u32 = read(file + offset!(file_mode));
    // Running a program is no read of it by the job.
    if mode & EXEC != 0 {
        return PASS;
    }
    if rules::may_block() && doors::opening(&member, file) {
        return REFUSE;
    }
    if reach::opening(&member, file, mode) != PASS {
        return REFUSE;
    }
    if mode & READ != 0 && process_access::opening(&member, file) != PASS {
        return REFUSE;
    }
    let watched = file::watched(file);
    let class = match watched {
        _ if mode & READ == 0 || !secret::is_decided(member.job) => 0,
        // A file whose name says nothing, and which had another when it was first looked at.
        watched::NOT => secret::class_by_identity(pointer(file, offset!(file_inode)), member.job),
        _ => class_of(file, member.job),
    };
    if watched == watched::NOT && class == 0 {
        return PASS;
    }
    let mut flags = if task::is_compat(member.task) { flag::COMPAT } else { 0 };
    if watched != watched::BY_NAME {
        flags |= flag::BY_INODE;
    }
    let is_refused = class != 0 && !secret::may_read(&member, class);
    if is_refused {
        flags |= flag::REFUSED;
    }
    file::tell(&member, file, if is_refused { class } else { NO_SYSCALL }, flags);
    if is_refused { REFUSE } else { PASS }
}

/// Bytes are about to be taken from, or put into, an open file.
#[lsm(hook = "file_permission")]
pub fn file_permission(ctx: LsmContext) -> i32 {
    if argument(&ctx, 1) & MAY_READ == 0 {
        return PASS;
    }
    handed(argument(&ctx, 0))
}

/// An open file is about to be mapped.
#[lsm(hook = "mmap_file")]
pub fn mmap_file(ctx: LsmContext) -> i32 {
    let file = argument(&ctx, 0);
    if file == 0 { PASS } else { handed(file) }
}

/// A descriptor arrives from another process.
#[lsm(hook = "file_receive")]
pub fn file_receive(ctx: LsmContext) -> i32 {
    handed(argument(&ctx, 0))
}

/// A file that is open already. Refused are only those that are known by identity: opening made them known.
#[inline(always)]
fn handed(file: Address) -> i32 {
    let inode = pointer(file, offset!(file_inode));
    // Before it is asked who reads: this runs at every read on the machine.
    if !secret::may_be_known(inode) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    let class = secret::class_by_identity(inode, member.job);
    // A descriptor that can't be read gives nothing away.
    if class == 0
        || read::<u32>(file + offset!(file_mode)) & READ == 0
        || !secret::is_decided(member.job)
        || secret::may_read(&member, class)
    {
        return PASS;
    }
    file::tell(&member, file, class, flag::BY_INODE | flag::INHERITED | flag::REFUSED);
    REFUSE
}

/// That it can't be known by identity is no reason to let it be read, or not: it is still known by its path.
#[inline(always)]
fn class_of(file: Address, job: u32) -> u32 {
    let path = file + offset!(file_path);
    let (mount, dentry) = (pointer(path, offset!(path_mnt)), pointer(path, offset!(path_dentry)));
    secret::class_of(mount, dentry, pointer(file, offset!(file_inode)), job) & !secret::UNTRACKED
}
