//! Files opened for writing by which a job would reach the agent, leave its cgroup, or have the kernel do its work. Asked by
//! both tiers: before the open where it can be refused, after it where it can only be told.
//!
//! Sees: the control files of cgroups other than the job's (hierarchy v2) and, in a blocked job, those by which processes are
//! moved within it; guarded files, what lies in guarded folders, the kernel's settings by which it runs programs, stops or lets
//! one take from all, its probes (tracefs), and what `/proc` has about the agent. For reading too: disks. Misses: the control files
//! of the old hierarchies.

use runner_agent_common::guard::{disk_key, guarded, operation, priority};
use runner_agent_common::map::{hash_name, part};

use crate::file::WRITE;
use crate::guard::{self, Attempt, PASS};
use crate::kernel::{Address, any, offset, pointer, read};
use crate::path::Place;
use crate::procfs;
use crate::runner;
use crate::task::{self, Member};
use crate::watch::name_hash;

/// File systems by their `s_magic`, from linux/magic.h and fs/binfmt_misc.c.
mod magic {
    pub const CGROUP2: u64 = 0x6367_7270;
    pub const SYSFS: u64 = 0x6265_6572;
    pub const TRACEFS: u64 = 0x7472_6163;
    pub const BINFMT: u64 = 0x4249_4e4d;
}

/// Settings below `/proc`, by name: programs that the kernel runs and with which capabilities, ways to stop or restart the machine,
/// and what keeps one process from taking from all others.
const SETTINGS: [u64; 13] = [
    hash_name(part::NAME, b"core_pattern"),
    hash_name(part::NAME, b"modprobe"),
    hash_name(part::NAME, b"hotplug"),
    hash_name(part::NAME, b"bset"),
    hash_name(part::NAME, b"inheritable"),
    hash_name(part::NAME, b"sysrq"),
    hash_name(part::NAME, b"sysrq-trigger"),
    hash_name(part::NAME, b"poweroff_cmd"),
    hash_name(part::NAME, b"overcommit_memory"),
    hash_name(part::NAME, b"panic_on_oom"),
    hash_name(part::NAME, b"sched_rt_runtime_us"),
    hash_name(part::NAME, b"threads-max"),
    hash_name(part::NAME, b"pid_max"),
];

/// The setting that stops ftrace, and with it every program before a function: the agent stands on it.
const FTRACE: u64 = hash_name(part::NAME, b"ftrace_enabled");

/// Files by which processes change their cgroup.
const MOVES: [u64; 2] = [hash_name(part::NAME, b"cgroup.procs"), hash_name(part::NAME, b"cgroup.threads")];

/// Judges a file that a member opens in this mode (`f_mode`).
#[inline(always)]
pub(super) fn opening(member: &Member, file: Address, mode: u32) -> i32 {
    let operation = any(operation_of(member, file, mode));
    // One call for all, because the verifier goes through the path's walk anew for each.
    if operation == 0 {
        PASS
    } else {
        guard::answer_at(member, &Attempt::new(operation, detail_of(operation)), file + offset!(file_path))
    }
}

/// Tells of a file that a member has opened in this mode.
#[inline(always)]
pub(super) fn opened(member: &Member, file: Address, mode: u32) {
    let operation = any(operation_of(member, file, mode));
    if operation != 0 {
        guard::answer_at(member, &Attempt::over(operation, detail_of(operation)), file + offset!(file_path));
    }
}

#[inline(always)]
fn detail_of(operation: u16) -> u64 {
    any(if operation == operation::PRIORITY { priority::ENTRY } else { 0 })
}

/// What opening a file in this mode would be an attempt at; 0 for nothing. A disk shows, and takes, what no file system is asked about.
#[inline(always)]
fn operation_of(member: &Member, file: Address, mode: u32) -> u16 {
    if is_disk(file) {
        operation::DISK
    } else if mode & WRITE != 0 {
        operation_of_writing(member, file)
    } else {
        0
    }
}

/// What writing to a file would be an attempt at; 0 for nothing. A function of its own, because a probe's stack is short.
#[inline(never)]
fn operation_of_writing(member: &Member, file: Address) -> u16 {
    let inode = pointer(file, offset!(file_inode));
    let magic: u64 = read(pointer(inode, offset!(inode_sb)) + offset!(super_block_magic));
    let place = file + offset!(file_path);
    if magic == magic::CGROUP2 {
        // kernfs keeps its node in the inode; the node above a file is its directory's.
        let directory = pointer(pointer(inode, offset!(inode_private)), offset!(kernfs_parent));
        if guard::job_above(directory) != member.job {
            return operation::CGROUP;
        }
        // Whom a job could pull in this way is anybody: what comes of it is told when it has happened, and comes too late.
        let is_move = task::is_blocking(member.job) && MOVES.contains(&name_of(place));
        return if is_move { operation::CGROUP } else { 0 };
    }
    if magic == magic::TRACEFS {
        return operation::PROBE;
    }
    if (magic == magic::SYSFS && name_of(place) == hash_name(part::NAME, b"uevent_helper"))
        || (magic == magic::BINFMT && name_of(place) == hash_name(part::NAME, b"register"))
    {
        return operation::SETTING;
    }
    if procfs::holds(inode) {
        let name = name_of(place);
        if SETTINGS.contains(&name) {
            return operation::SETTING;
        }
        if name == FTRACE {
            return operation::WRITE;
        }
        if is_about_agent(pointer(place, offset!(path_dentry))) {
            // Memory is written to take control, everything else there to starve.
            return if name == hash_name(part::NAME, b"mem") { operation::TRACE_AGENT } else { operation::PRIORITY };
        }
    }
    let dentry = pointer(place, offset!(path_dentry));
    let folder = pointer(pointer(dentry, offset!(dentry_parent)), offset!(dentry_inode));
    // Also a file that came to be after its folder was guarded.
    guard::entry_operation(folder, dentry, operation::WRITE)
}

/// Hash of a file's name, as [`hash_name`] makes it.
#[inline(always)]
fn name_of(place: Address) -> u64 {
    let place = Place::of(place);
    name_hash(place.dentry, &place.entry())
}

/// Whether an open file is one of the disks that are guarded, by its number: whatever it is called and wherever it lies.
#[inline(always)]
pub(super) fn is_disk(file: Address) -> bool {
    const S_IFMT: u16 = 0o170_000;
    const S_IFCHR: u16 = 0o020_000;
    const S_IFBLK: u16 = 0o060_000;
    let inode = pointer(file, offset!(file_inode));
    let kind = read::<u16>(inode + offset!(inode_mode)) & S_IFMT;
    if kind != S_IFBLK && kind != S_IFCHR {
        return false;
    }
    guard::guarded_as(disk_key(read(inode + offset!(inode_rdev)), kind == S_IFBLK)) & guarded::DISK != 0
}

/// Folders from `/proc/PID/task/TID/FILE` up to that of the process.
const ABOUT_DEPTH: u32 = 4;

/// Whether a file of `/proc`, or a folder above it, is about a process of the agent's: by the process that the inode stands
/// for, whatever its number is there.
#[inline(always)]
fn is_about_agent(mut dentry: Address) -> bool {
    for _ in 0..ABOUT_DEPTH {
        let inode = pointer(dentry, offset!(dentry_inode));
        let pid = procfs::pid_of(inode);
        if pid != 0 && runner::is_agents(read(pid + offset!(pid_number))) {
            return true;
        }
        dentry = pointer(dentry, offset!(dentry_parent));
    }
    false
}
