//! An open file: whether it is watched, and the record of who opened it.

use runner_agent_common::record::{File, flag, kind, probe};

use crate::emit;
use crate::kernel::{Address, any, offset, pointer, read};
use crate::maps::RING_CRITICAL;
use crate::path::{self, Place};
use crate::secret;
use crate::task::{self, Member};
use crate::watch;

/// `FMODE_READ`, `FMODE_WRITE` and `FMODE_EXEC` of `file::f_mode`.
pub const READ: u32 = 1;
/// See [`READ`].
pub const WRITE: u32 = 2;
/// See [`READ`].
pub const EXEC: u32 = 0x20;

/// Why an open file is watched, one of the numbers of [`mod@watch::watched`]. A function of its own: what the filter needs of the
/// stack is free again when the record is made.
#[inline(never)]
pub fn watched(file: Address) -> u32 {
    any(watch::watched(Place::of(file + offset!(file_path))))
}

/// Tells of an open file. A file that its job watches by identity is a secret for sure, and whoever reads it a holder; of one
/// watched by name only user space can tell.
#[inline(never)]
pub fn tell(member: &Member, file: Address, syscall: u32, flags: u32) {
    let flags = any(flags);
    if flags & flag::REFUSED == 0
        && read::<u32>(file + offset!(file_mode)) & READ != 0
        && secret::is_known(pointer(file, offset!(file_inode)), member.job)
    {
        task::holds_secret(member);
    }
    emit::with_scratch(probe::FILE, |scratch| {
        let fixed = size_of::<File>() as u32;
        path::walk(file + offset!(file_path), scratch);
        let path_len = path::append(scratch, fixed);
        let inode = pointer(file, offset!(file_inode));
        let len = fixed + path_len;
        let mut record = File {
            header: task::header(member, kind::FILE, probe::FILE, len as usize),
            inode: read(inode + offset!(inode_ino)),
            device: read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev)),
            mode: read(file + offset!(file_mode)),
            syscall,
            path_len,
        };
        record.header.flags |= flags | (scratch.path_truncated * flag::PATH_TRUNCATED);
        if read::<u32>(inode + offset!(inode_nlink)) == 0 {
            record.header.flags |= flag::UNLINKED;
        }
        emit::put(scratch, &record);
        emit::scratch(&RING_CRITICAL, probe::FILE, scratch, u64::from(len));
    });
}
