//! Keys and values of the maps that both sides share, and how a watched name becomes a key.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::guard::ProgramKey;

/// What becomes of the records of one probe on one CPU: `seen = submitted + ring_full + oversize + busy`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counters {
    /// Records that the probe set out to send.
    pub seen: u64,
    /// Records on the ring.
    pub submitted: u64,
    /// Records that found the ring full.
    pub ring_full: u64,
    /// Records larger than a record may be.
    pub oversize: u64,
    /// Records that found no scratch buffer free.
    pub busy: u64,
    /// Inserts that a full map refused: the process is then known by its cgroup only.
    pub map_full: u64,
}

/// A process of a job, found by its tgid.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Task {
    /// Start of the process, nanoseconds since boot.
    pub start_ns: u64,
    /// Classes of secret files that its program may read, one bit each, as far as the file it was started from says.
    pub reads: u64,
    /// The program that it runs.
    pub program: ProgramKey,
    /// Slot of its job.
    pub job: u32,
    /// Bits of [`task_flag`].
    pub flags: u32,
}

/// Bits of [`Task::flags`]; a child begins with its parent's.
pub mod task_flag {
    /// It may hold a secret: it read a secret file, or descends from or listens to a process that did.
    pub const HOLDS_SECRET: u32 = 1 << 0;
    /// It was born with another process's descriptors, in a blocked job: it ends before it runs.
    pub const DOOMED: u32 = 1 << 1;
    /// It is the runner's and not the job's, though held to its policy.
    pub const RUNNERS: u32 = 1 << 2;
    /// It, or a process that it descends from, was pulled into the job's cgroup by one of the job's: it stays somebody else's.
    pub const PULLED_IN: u32 = 1 << 3;
}

/// A file watched by identity.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileKey {
    /// Inode number.
    pub inode: u64,
    /// Device, in the kernel's own encoding (major << 20 | minor).
    pub device: u32,
    /// Zero for what is a file.
    pub reserved: u32,
}

/// How many bytes of a file name the filter looks at; what differs only after them is let through.
pub const NAME_BYTES: usize = 32;

/// Bits in the name filter: a power of two. At 500 watched names a random name passes with 0.8 % and is then looked up.
pub const FILTER_BITS: u64 = 65_536;

/// The name filter as one map value.
pub const FILTER_WORDS: usize = (FILTER_BITS / 64) as usize;

/// The name filter: one bit per hash, checked before the exact map of hashes.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NameFilter {
    /// Never 0, and changed by user space with each new filter and by the probes whenever something moves in the file
    /// tree: a file may then lie below a watched directory. What was judged under another is judged again.
    pub generation: u64,
    /// Bit `h % FILTER_BITS` is set for each watched hash `h`.
    pub words: [u64; FILTER_WORDS],
}

/// An open file that the filter let go by: judged once, remembered until its place in the table is needed.
///
/// A file is the same file as long as all of this is equal: `name` is the kernel's own hash of the name, salted with
/// the parent directory, so that another name or directory shows; the inode number shows a link put in its place; the
/// generation shows that a directory further up may have another name now.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Unwatched {
    /// Address of the directory entry.
    pub dentry: u64,
    /// Address of the mount.
    pub mount: u64,
    /// `d_name.hash_len`.
    pub name: u64,
    /// Inode number.
    pub inode: u64,
    /// [`NameFilter::generation`].
    pub generation: u64,
}

/// Places in the table of unwatched files; a power of two.
pub const UNWATCHED_PLACES: u32 = 8192;

/// What part of a path a watched name stands for; keeps equal bytes in different parts apart.
pub mod part {
    /// The whole file name.
    pub const NAME: u64 = 0x9e37_79b9_7f4a_7c15;
    /// The first three bytes of the file name.
    pub const PREFIX: u64 = 0xc2b2_ae3d_27d4_eb4f;
    /// The last three bytes of the file name.
    pub const SUFFIX: u64 = 0x1656_67b1_9e37_79f9;
    /// The name of one of the nearest directories above the file.
    pub const DIRECTORY: u64 = 0x27d4_eb2f_1656_67c5;
    /// An inode number.
    pub const INODE: u64 = 0x8537_ea3f_2c1b_9d63;
    /// The inode number of the directory that a file lies in.
    pub const PARENT: u64 = 0xd6e8_feb8_6659_fd93;
}

/// How many directories above a file are compared with the watched directory names.
pub const DIRECTORY_LEVELS: usize = 3;

const MULTIPLIER: u64 = 0xff51_afd7_ed55_8ccd;

/// Hash of a name given as zero-padded little words and its true length. Both sides call this one function.
#[expect(clippy::inline_always, reason = "a call would cost the open probe more than the hash")]
#[inline(always)]
#[must_use]
pub const fn hash_words(part: u64, words: [u64; 4], len: u64) -> u64 {
    let mut hash = part ^ len;
    hash = (hash ^ words[0]).wrapping_mul(MULTIPLIER);
    hash ^= hash >> 32;
    hash = (hash ^ words[1]).wrapping_mul(MULTIPLIER);
    hash ^= hash >> 32;
    hash = (hash ^ words[2]).wrapping_mul(MULTIPLIER);
    hash ^= hash >> 32;
    hash = (hash ^ words[3]).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 32)
}

/// Hash of one word: three bytes of a name for [`part::PREFIX`] and [`part::SUFFIX`], a number for [`part::INODE`].
#[expect(clippy::inline_always, reason = "a call would cost the open probe more than the hash")]
#[inline(always)]
#[must_use]
pub const fn hash_word(part: u64, word: u64) -> u64 {
    let hash = (part ^ word).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 32)
}

/// Hash of a name, for user space. The length counts up to 255, the bytes up to [`NAME_BYTES`].
#[must_use]
pub const fn hash_name(part: u64, name: &[u8]) -> u64 {
    let mut words = [0_u64; 4];
    let mut i = 0;
    while i < name.len() && i < NAME_BYTES {
        words[i / 8] |= (name[i] as u64) << (8 * (i % 8));
        i += 1;
    }
    hash_words(part, words, name.len() as u64)
}

#[cfg(feature = "user")]
mod pod {
    use super::{Counters, FileKey, NameFilter, Task};
    use crate::egress::{Asker, AskerKey, ExeKey, JobRules, RuleCount, RuleEntry, RuleKey};
    use crate::guard::{GuardRules, ProgramKey, SecretFile, SecretPath};
    use crate::offsets::Offsets;
    use crate::runner::ServiceKey;

    // SAFETY: `repr(C)`, integers only, no padding (the `IntoBytes` derive proves it), every bit pattern valid
    // (`FromBytes`).
    unsafe impl aya::Pod for Counters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Task {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FileKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NameFilter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Offsets {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Asker {}
    // SAFETY: as above.
    unsafe impl aya::Pod for AskerKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ExeKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for JobRules {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RuleCount {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RuleEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RuleKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for GuardRules {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ProgramKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SecretFile {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SecretPath {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ServiceKey {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_only_in_length_or_part_hash_apart() {
        assert_ne!(hash_name(part::NAME, b"a"), hash_name(part::NAME, b"a\0"));
        assert_ne!(hash_name(part::NAME, b"config"), hash_name(part::DIRECTORY, b"config"));
    }
}
