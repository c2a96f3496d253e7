//! Which class of secret a file is to a job, and whether a process may read it: what `on-read: block` is decided by.
//!
//! A file is known by identity, by its whole path, by the end of its path, or by its name and the identity of its directory; what
//! only a pattern with wildcards would tell is found by user space at its first open, and known by identity from then on. Each job
//! has classes of its own, and what it came to know ends with it. A process may read by the file it was started from, or by what
//! user space made of its arguments.

use runner_agent_common::egress::ExeKey;
use runner_agent_common::guard::{
    LEARNT_SECRETS, SECRET_DEPTH, SecretFile, SecretPath, chain, entry_hash, operation, secret_path, secret_place,
};
use runner_agent_common::map::{FileKey, hash_words, part};

use crate::emit;
use crate::guard;
use crate::kernel::{Address, any, offset, pointer, read};
use crate::maps::{LEARNT, READERS, SECRET_MARKS, SECRET_PATHS, SECRETS, TICKETS};
use crate::path::Place;
use crate::task::Member;
use crate::verdict as rules;
use crate::watch::name_words;

/// Value of [`SECRETS`] for a file that is watched and no secret of its own.
pub const UNCLASSED: u32 = u32::MAX;

/// Bit of what [`class_of`] returns: the file is secret, and there was no room to know it by identity.
pub const UNTRACKED: u32 = 1 << 31;

/// Number of the class that a file belongs to in a job, counted from 1, perhaps with [`UNTRACKED`]; 0 when it is none that the kernel
/// side knows.
#[inline(never)]
pub fn class_of(mount: Address, dentry: Address, inode: Address, job: u32) -> u32 {
    let by_identity = class_by_identity(inode, job);
    if by_identity != 0 {
        return by_identity;
    }
    let found = class_by_path(Place { mount, dentry }, job);
    // From here on under any name.
    if found != 0 && !remember(inode, job, found) {
        return found | UNTRACKED;
    }
    found
}

/// The same by identity alone.
#[inline(always)]
pub fn class_by_identity(inode: Address, job: u32) -> u32 {
    let key = secret_file(inode, job);
    if !is_marked(key.inode) {
        return 0;
    }
    // SAFETY: the value is copied at once.
    match unsafe { SECRETS.get(key) } {
        Some(&class) if class != UNCLASSED => class,
        _ => 0,
    }
}

/// Whether a file may be a secret by identity, of any job: a quick no.
#[inline(always)]
pub fn may_be_known(inode: Address) -> bool {
    is_marked(read(inode + offset!(inode_ino)))
}

#[inline(always)]
fn is_marked(inode: u64) -> bool {
    SECRET_MARKS.get(secret_place(inode)).is_some_and(|mark| *mark != 0)
}

/// Whether a job watches a file by identity, as a secret of some class or of none.
#[inline(always)]
pub fn is_known(inode: Address, job: u32) -> bool {
    // SAFETY: only whether the key exists is asked.
    unsafe { SECRETS.get(secret_file(inode, job)) }.is_some()
}

/// Identity of a file.
#[inline(always)]
pub fn key_of(inode: Address) -> FileKey {
    FileKey { inode: read(inode + offset!(inode_ino)), device: device_of(inode), reserved: 0 }
}

#[inline(always)]
fn device_of(inode: Address) -> u32 {
    read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev))
}

#[inline(always)]
fn secret_file(inode: Address, job: u32) -> SecretFile {
    SecretFile { inode: read(inode + offset!(inode_ino)), device: device_of(inode), job }
}

/// Makes a file known by identity; false when there is no room for it, or no job any more that it would be for.
#[inline(always)]
fn remember(inode: Address, job: u32, class: u32) -> bool {
    let Some(learnt) = LEARNT.get_ptr_mut(job) else { return false };
    // SAFETY: a live map value; one more than there should be, where two count at once, does no harm.
    if unsafe { core::ptr::read_volatile(learnt) } >= u64::from(LEARNT_SECRETS) {
        return false;
    }
    let key = secret_file(inode, job);
    let Some(mark) = SECRET_MARKS.get_ptr_mut(key.place()) else { return false };
    // SAFETY: a live map value of one byte.
    unsafe { core::ptr::write_volatile(mark, 1) };
    if SECRETS.insert(key, class, 0).is_err() {
        return false;
    }
    emit::count(learnt);
    true
}

/// Walks upwards, and asks at each component whether a secret path ends so. The lowest number wins: classes are in order.
#[inline(always)]
fn class_by_path(mut place: Place, job: u32) -> u32 {
    let mut hash = any(0);
    let mut found = by_directory(place, job);
    let mut is_first = true;
    for _ in 0..SECRET_DEPTH * 2 {
        let entry = place.entry();
        let is_mount_root = place.mount_root() == place.dentry;
        if is_mount_root || entry.parent == place.dentry {
            let covered = place.covered();
            if covered.mount == place.mount || !is_mount_root {
                let whole = look_up(hash, job, secret_path::WHOLE);
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
        let tail = look_up(hash, job, secret_path::TAIL);
        if tail < found {
            found = tail;
        }
        place.dentry = entry.parent;
    }
    if found == u32::MAX { 0 } else { found }
}

/// By its own name and the directory it lies in, whatever that is called by now and wherever it is mounted.
#[inline(always)]
fn by_directory(place: Place, job: u32) -> u32 {
    let entry = place.entry();
    let directory = pointer(entry.parent, offset!(dentry_inode));
    let (words, _) = name_words(place.dentry, &entry);
    let name = hash_words(part::NAME, words, u64::from(entry.len));
    look_up(entry_hash(read(directory + offset!(inode_ino)), device_of(directory), name), job, secret_path::ENTRY)
}

/// A class's number, or the largest there is for none.
#[inline(always)]
fn look_up(hash: u64, job: u32, kind: u32) -> u32 {
    // SAFETY: the value is copied at once.
    unsafe { SECRET_PATHS.get(SecretPath { hash, job, kind }) }.copied().unwrap_or(u32::MAX)
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
