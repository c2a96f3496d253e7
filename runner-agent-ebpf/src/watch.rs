//! Is this open worth a record? A filter over the last component, the directories just above it, and the inode.
//!
//! It lets through a little too much and never too little; user space compares the whole path with the policy. Names
//! are hashed from memory that the kernel holds, so a renamed or hard-linked file is recognised by its inode only.

use runner_agent_common::map::{DIRECTORY_LEVELS, FILTER_BITS, FileKey, NameFilter, hash_word, hash_words, part};

use crate::kernel::{Address, offset, read};
use crate::maps::{FILES, NAME_FILTER, NAMES};
use crate::path::{Dentry, INLINE_NAME, Place};

/// Why an open is let through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// By the name of the file or of a directory above it.
    ByName,
    /// By device and inode.
    ByInode,
}

/// Asks the filter about an open file's place.
#[inline(always)]
pub fn watched(mut place: Place) -> Option<Watched> {
    let filter = NAME_FILTER.get(0)?;
    let entry = place.entry();
    let (words, last_three) = name_words(place.dentry, &entry);
    let len = u64::from(entry.len);
    let name = hash_words(part::NAME, words, len);
    if hit(filter, name) {
        return Some(Watched::ByName);
    }
    if len >= 3 {
        if hit(filter, hash_word(part::PREFIX, words[0] & 0xff_ffff)) {
            return Some(Watched::ByName);
        }
        if hit(filter, hash_word(part::SUFFIX, last_three)) {
            return Some(Watched::ByName);
        }
    }
    let number: u64 = read(entry.inode + offset!(inode_ino));
    if bit(filter, hash_word(part::INODE, number)) && is_watched_file(entry.inode, number) {
        return Some(Watched::ByInode);
    }
    let mut parent = entry.parent;
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
            return Some(Watched::ByName);
        }
        parent = directory.parent;
    }
    None
}

#[inline(always)]
fn bit(filter: &NameFilter, hash: u64) -> bool {
    let at = hash & (FILTER_BITS - 1);
    // SAFETY: `at / 64` is below FILTER_WORDS by the mask; the verifier sees the same bound.
    let word = unsafe { *filter.words.as_ptr().add((at / 64) as usize) };
    word & (1 << (at % 64)) != 0
}

#[inline(always)]
fn hit(filter: &NameFilter, hash: u64) -> bool {
    // SAFETY: only whether the key exists is asked.
    bit(filter, hash) && unsafe { NAMES.get(hash) }.is_some()
}

#[inline(always)]
fn is_watched_file(inode: Address, number: u64) -> bool {
    let super_block: u64 = read(inode + offset!(inode_sb));
    let key = FileKey { inode: number, device: read(super_block + offset!(super_block_dev)), reserved: 0 };
    // SAFETY: only whether the key exists is asked.
    unsafe { FILES.get(key) }.is_some()
}

/// The first 32 bytes of a name as zero-padded words, and its last three bytes.
#[inline(always)]
fn name_words(dentry: Address, entry: &Dentry) -> ([u64; 4], u64) {
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
