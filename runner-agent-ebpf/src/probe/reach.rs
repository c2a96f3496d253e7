//! Files opened for writing by which a job would reach the agent, leave its cgroup, or have the kernel do its work. Asked by
//! both tiers: before the open where it can be refused, after it where it can only be told.
//!
//! Sees: the control files of cgroups other than the job's (hierarchy v2), guarded files, the kernel's settings by which it
//! runs programs or stops, and what `/proc` has about the agent. Misses: the control files of the old hierarchies.

use runner_agent_common::guard::{guarded, operation, priority};
use runner_agent_common::map::{hash_name, part};

use crate::guard::{self, Attempt, PASS};
use crate::kernel::{Address, any, offset, pointer, read};
use crate::path::Place;
use crate::procfs;
use crate::runner;
use crate::task::Member;
use crate::watch::name_hash;

/// `s_magic`, from linux/magic.h.
const CGROUP2: u64 = 0x6367_7270;

/// Settings below `/proc`, by name: programs that the kernel runs, and ways to stop or restart the machine.
const SETTINGS: [u64; 6] = [
    hash_name(part::NAME, b"core_pattern"),
    hash_name(part::NAME, b"modprobe"),
    hash_name(part::NAME, b"hotplug"),
    hash_name(part::NAME, b"sysrq-trigger"),
    hash_name(part::NAME, b"usermodehelper"),
    hash_name(part::NAME, b"poweroff_cmd"),
];

/// Judges a file that a member opens for writing.
#[inline(always)]
pub(super) fn opening(member: &Member, file: Address) -> i32 {
    let operation = any(operation_of(member, file));
    // One call for all, because the verifier goes through the path's walk anew for each.
    if operation == 0 {
        PASS
    } else {
        guard::answer_at(member, &Attempt::new(operation, detail_of(operation)), file + offset!(file_path))
    }
}

/// Tells of a file that a member has opened for writing.
#[inline(always)]
pub(super) fn opened(member: &Member, file: Address) {
    let operation = any(operation_of(member, file));
    if operation != 0 {
        guard::answer_at(member, &Attempt::over(operation, detail_of(operation)), file + offset!(file_path));
    }
}

#[inline(always)]
fn detail_of(operation: u16) -> u64 {
    any(if operation == operation::PRIORITY { priority::ENTRY } else { 0 })
}

/// What writing to a file would be an attempt at; 0 for nothing. A function of its own, because a probe's stack is short.
#[inline(never)]
fn operation_of(member: &Member, file: Address) -> u16 {
    let inode = pointer(file, offset!(file_inode));
    let magic: u64 = read(pointer(inode, offset!(inode_sb)) + offset!(super_block_magic));
    if magic == CGROUP2 {
        // kernfs keeps its node in the inode; the node above a file is its directory's.
        let directory = pointer(pointer(inode, offset!(inode_private)), offset!(kernfs_parent));
        return if guard::job_above(directory) == member.job { 0 } else { operation::CGROUP };
    }
    if procfs::holds(inode) {
        let place = file + offset!(file_path);
        if is_setting(place) {
            return operation::SETTING;
        }
        if is_about_agent(pointer(place, offset!(path_dentry))) {
            // Memory is written to take control, everything else there to starve.
            return if is_memory(place) { operation::TRACE_AGENT } else { operation::PRIORITY };
        }
    }
    if guard::guarded(inode) & guarded::CONTENT != 0 { operation::WRITE } else { 0 }
}

#[inline(always)]
fn is_setting(place: Address) -> bool {
    let place = Place::of(place);
    SETTINGS.contains(&name_hash(place.dentry, &place.entry()))
}

#[inline(always)]
fn is_memory(place: Address) -> bool {
    let place = Place::of(place);
    name_hash(place.dentry, &place.entry()) == hash_name(part::NAME, b"mem")
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
