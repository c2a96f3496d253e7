//! Which class of secret a file is, and whether a process may read it: what `on-read: block` is decided by.
//!
//! A file is known by identity, by its whole path, or by the end of its path; what only a pattern with wildcards would tell is
//! found by user space at its first open, and known by identity from then on. A process may read by the file it was started
//! from, or by what user space made of its arguments.

use runner_agent_common::egress::ExeKey;
use runner_agent_common::guard::{SECRET_DEPTH, TAIL, WHOLE, chain, operation};
use runner_agent_common::map::{FileKey, hash_words, part};

use crate::guard;
use crate::kernel::{Address, any, offset, pointer, read};
use crate::maps::{FILES, READERS, SECRET_PATHS, TICKETS};
use crate::path::Place;
use crate::task::Member;
use crate::verdict as rules;
use crate::watch::name_words;

/// Value of [`FILES`] for a file that is watched and no secret of its own.
pub const UNCLASSED: u32 = u32::MAX;

/// Number of the class that a file belongs to, counted from 1; 0 when it is none that the kernel side knows.
#[inline(never)]
pub fn class_of(mount: Address, dentry: Address, inode: Address) -> u32 {
    let by_identity = class_by_identity(inode);
    if by_identity != 0 {
        return by_identity;
    }
    let found = class_by_path(Place { mount, dentry });
    if found != 0 {
        // From here on under any name.
        remember(inode, found);
    }
    found
}

/// The same by identity alone.
#[inline(always)]
pub fn class_by_identity(inode: Address) -> u32 {
    // SAFETY: the value is copied at once.
    match unsafe { FILES.get(key_of(inode)) } {
        Some(&class) if class != UNCLASSED => class,
        _ => 0,
    }
}

/// Identity of a file.
#[inline(always)]
pub fn key_of(inode: Address) -> FileKey {
    FileKey {
        inode: read(inode + offset!(inode_ino)),
        device: read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev)),
        reserved: 0,
    }
}

#[inline(always)]
fn remember(inode: Address, class: u32) {
    // A full map is no reason to let the file be read: it is still known by its path.
    let _ = FILES.insert(key_of(inode), class, 0);
}

/// Walks upwards, and asks at each component whether a secret path ends so. The lowest number wins: classes are in order.
#[inline(always)]
fn class_by_path(mut place: Place) -> u32 {
    let mut hash = any(0);
    let mut found = any(u32::MAX);
    let mut is_first = true;
    for _ in 0..SECRET_DEPTH * 2 {
        let entry = place.entry();
        let is_mount_root = place.mount_root() == place.dentry;
        if is_mount_root || entry.parent == place.dentry {
            let covered = place.covered();
            if covered.mount == place.mount || !is_mount_root {
                let whole = look_up(hash ^ WHOLE);
                return if whole < found {
                    whole
                } else if found == u32::MAX {
                    0
                } else {
                    found
                };
            }
            place = covered;
            continue;
        }
        let (words, _) = name_words(place.dentry, &entry);
        let component = hash_words(if is_first { part::NAME } else { part::DIRECTORY }, words, u64::from(entry.len));
        hash = chain(hash, component);
        is_first = false;
        let tail = look_up(hash ^ TAIL);
        if tail < found {
            found = tail;
        }
        place.dentry = entry.parent;
    }
    if found == u32::MAX { 0 } else { found }
}

/// A class's number, or the largest there is for none.
#[inline(always)]
fn look_up(hash: u64) -> u32 {
    // SAFETY: the value is copied at once.
    unsafe { SECRET_PATHS.get(hash) }.copied().unwrap_or(u32::MAX)
}

/// Whether reads of secret files are decided here for this job.
#[inline(always)]
pub fn is_decided(job: u32) -> bool {
    rules::may_block() && guard::rules_of(job).denies & (1 << operation::READ_SECRET) != 0
}

/// Whether a member may read files of a class, counted from 1.
#[inline(always)]
pub fn may_read(member: &Member, class: u32) -> bool {
    let bit = 1_u64 << (class.wrapping_sub(1) & 63);
    if member.reads & bit != 0 {
        return true;
    }
    // SAFETY: the value is copied at once.
    unsafe { TICKETS.get(member.program) }.is_some_and(|classes| classes & bit != 0)
}

/// The classes that whoever runs this file may read.
#[inline(always)]
pub fn readable_by(exe: Address, job: u32) -> u64 {
    let inode = pointer(exe, offset!(file_inode));
    let FileKey { inode, device, .. } = key_of(inode);
    // SAFETY: the value is copied at once.
    unsafe { READERS.get(ExeKey { inode, device, job }) }.copied().unwrap_or_default()
}
