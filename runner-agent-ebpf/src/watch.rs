//! Is this open worth a record? A filter over the last component, the directories just above it, the inode, and that of the
//! directory.
//!
//! It lets through a little too much and never too little; user space compares the whole path with the policy. Names
//! are hashed from memory that the kernel holds, so a renamed or hard-linked file is recognised by its inode only.

use runner_agent_common::map::{
    DIRECTORY_LEVELS, FILTER_BITS, FileKey, NameFilter, UNWATCHED_PLACES, Unwatched, hash_word, hash_words, part,
};
use zerocopy::FromBytes;

use crate::emit;
use crate::kernel::{Address, offset, pointer, read};
use crate::maps::{FILES, NAME_FILTER, NAMES, UNWATCHED};
use crate::path::{Dentry, INLINE_NAME, Place};

/// Why an open is let through: numbers and no `Option` of an enum, so that the verifier can be kept from following each of them.
pub mod watched {
    /// It isn't.
    pub const NOT: u32 = 0;
    /// By the name of the file or of a directory above it, or by the directory it lies in.
    pub const BY_NAME: u32 = 1;
    /// By device and inode.
    pub const BY_INODE: u32 = 2;
}

/// Asks about an open file's place. Most opens are of files that were opened before: those are known by a few words.
#[inline(always)]
pub fn watched(place: Place) -> u32 {
    let Some(filter) = NAME_FILTER.get(0) else { return watched::NOT };
    let key: NameAndInode = read(place.dentry + offset!(dentry_parent) + NAME_HASH);
    let unwatched = Unwatched {
        dentry: place.dentry,
        mount: place.mount,
        name: key.name_hash,
        inode: read(key.inode + offset!(inode_ino)),
        generation: filter.generation,
    };
    let Some(remembered) = UNWATCHED.get_ptr_mut(table_place(place.dentry)) else { return watched::NOT };
    // SAFETY: a live map value; a torn read matches nothing.
    if unsafe { core::ptr::read(remembered) } == unwatched {
        return watched::NOT;
    }
    let why = judge(filter, place, key.inode, unwatched.inode);
    if why == watched::NOT {
        // SAFETY: a live map value; see UNWATCHED for writes at once.
        unsafe { core::ptr::write(remembered, unwatched) };
    }
    why
}

/// Makes every file be judged anew: something moved in the file tree.
#[inline(always)]
pub fn forget_unwatched() {
    if let Some(filter) = NAME_FILTER.get_ptr_mut(0) {
        // SAFETY: field address of a live map value.
        emit::count(unsafe { &raw mut (*filter).generation });
    }
}

/// `d_name.hash_len`, `d_name.name` and `d_inode` of a directory entry.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct NameAndInode {
    name_hash: u64,
    name: Address,
    inode: Address,
}

/// Where [`NameAndInode`] starts, from `d_parent` on.
const NAME_HASH: u64 = 8;

/// Directory entries come from a slab of 192 bytes and more: the lowest bits of their addresses say little.
#[inline(always)]
fn table_place(dentry: Address) -> u32 {
    ((dentry >> 6) ^ (dentry >> 19)) as u32 & (UNWATCHED_PLACES - 1)
}

/// Asks the filter: the file's inode, its name, the directory it lies in, the names of directories above it.
#[inline(always)]
fn judge(filter: &NameFilter, mut place: Place, inode: Address, inode_number: u64) -> u32 {
    // First, because a file that is known by identity mostly has a watched name too, and only its identity says for sure that
    // it is secret.
    if bit(filter, hash_word(part::INODE, inode_number)) && is_watched_file(inode, inode_number) {
        return watched::BY_INODE;
    }
    let entry = place.entry();
    let (words, last_three) = name_words(place.dentry, &entry);
    let len = u64::from(entry.len);
    let name = hash_words(part::NAME, words, len);
    if hit(filter, name) {
        return watched::BY_NAME;
    }
    if len >= 3 {
        if hit(filter, hash_word(part::PREFIX, words[0] & 0xff_ffff)) {
            return watched::BY_NAME;
        }
        if hit(filter, hash_word(part::SUFFIX, last_three)) {
            return watched::BY_NAME;
        }
    }
    let mut parent = entry.parent;
    // Whatever it is called by now, and wherever it is mounted.
    let above = read(pointer(parent, offset!(dentry_inode)) + offset!(inode_ino));
    if hit(filter, hash_word(part::PARENT, above)) {
        return watched::BY_NAME;
    }
    let mut mount_root = place.mount_root();
    for _ in 0..DIRECTORY_LEVELS {
        place.dentry = parent;
        if parent == mount_root {
            // The root of a mount has no name; the directory it is mounted on has.
            place = place.covered();
            mount_root = place.mount_root();
        }
        let directory = place.entry();
        let (words, _) = name_words(place.dentry, &directory);
        if hit(filter, hash_words(part::DIRECTORY, words, u64::from(directory.len))) {
            return watched::BY_NAME;
        }
        parent = directory.parent;
    }
    watched::NOT
}

#[inline(always)]
fn bit(filter: &NameFilter, hash: u64) -> bool {
    let at = hash & (FILTER_BITS - 1);
    // SAFETY: `at / 64` is below FILTER_WORDS by the mask; the verifier sees the same bound.
    let word = unsafe { filter.words.get_unchecked((at / 64) as usize) };
    word & (1 << (at % 64)) != 0
}

#[inline(always)]
fn hit(filter: &NameFilter, hash: u64) -> bool {
    // SAFETY: only whether the key exists is asked.
    bit(filter, hash) && unsafe { NAMES.get(hash) }.is_some()
}

/// Whether some job watches a file by identity, whatever its name says.
#[inline(always)]
fn is_watched_file(inode: Address, number: u64) -> bool {
    let device = read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev));
    let key = FileKey { inode: number, device, reserved: 0 };
    // SAFETY: only whether the key exists is asked.
    unsafe { FILES.get(key) }.is_some()
}

/// The first 32 bytes of a name as zero-padded words, and its last three bytes.
#[inline(always)]
pub fn name_words(dentry: Address, entry: &Dentry) -> ([u64; 4], u64) {
    let is_inline = entry.name == dentry + offset!(dentry_parent) + INLINE_NAME;
    let mut words = if is_inline { entry.inline_name } else { read::<[u64; 4]>(entry.name) };
    let len = u64::from(entry.len);
    words[0] = keep(words[0], len, 0);
    words[1] = keep(words[1], len, 8);
    words[2] = keep(words[2], len, 16);
    words[3] = keep(words[3], len, 24);
    let last_three = if len < 3 {
        0
    } else if len <= 8 {
        words[0] >> (8 * (len - 3))
    } else {
        u64::from(read::<u32>(entry.name + len - 3))
    };
    (words, last_three & 0xff_ffff)
}

/// The hash that a constant name has by `hash_name(part::NAME, …)`.
#[inline(always)]
pub fn name_hash(dentry: Address, entry: &Dentry) -> u64 {
    let (words, _) = name_words(dentry, entry);
    hash_words(part::NAME, words, u64::from(entry.len))
}

/// Zeroes the bytes of a word that stand behind the name's end; what the kernel leaves there is left from earlier names.
#[inline(always)]
fn keep(word: u64, len: u64, at: u64) -> u64 {
    if len >= at + 8 {
        word
    } else if len <= at {
        0
    } else {
        word & ((1 << (8 * (len - at))) - 1)
    }
}
