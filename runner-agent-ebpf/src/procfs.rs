//! Whom a file of `/proc` is about: by the process that its inode stands for, whatever its number is in that mount.

use crate::kernel::{Address, offset, pointer, read};

/// `s_magic`, from linux/magic.h.
const MAGIC: u64 = 0x9fa0;

/// Whether an inode is one of `/proc`.
#[inline(always)]
pub fn holds(inode: Address) -> bool {
    let magic: u64 = read(pointer(inode, offset!(inode_sb)) + offset!(super_block_magic));
    magic == MAGIC
}

/// The `struct pid` of an inode of `/proc`; 0 for what is about no process.
#[inline(always)]
pub fn pid_of(inode: Address) -> Address {
    // `struct proc_inode` holds the inode.
    pointer(inode - offset!(proc_inode_vfs), offset!(proc_inode_pid))
}

/// The task that a `struct pid` is the number of; 0 when it has ended.
#[inline(always)]
pub fn task_of(pid: Address) -> Address {
    // The list's first node stands in the task: no two have the same number.
    let node = pointer(pid, offset!(pid_tasks));
    if node == 0 { 0 } else { node - offset!(task_pid_links) }
}
