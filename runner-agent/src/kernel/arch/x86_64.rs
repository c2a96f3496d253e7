//! x86-64, with the calls of i386.

use super::{Arch, Calls, CompatCalls, Register, Registers};

const fn register(field: &'static str) -> Register {
    Register { field, index: 0 }
}

pub(in crate::kernel) const ARCH: Arch = Arch {
    registers: Registers { syscall: "orig_ax", first: "di", others: [register("si"), register("dx"), register("r8")] },
    // TS_COMPAT (asm/thread_info.h): the task is inside a 32-bit call; a process makes calls of both tables as it likes.
    compat_mark: ("thread_info.status", 2),
    child_returns: true,
    native: Calls {
        opens: &[libc::SYS_open, libc::SYS_creat],
        moves: &[libc::SYS_rename],
        forks: &[libc::SYS_fork, libc::SYS_vfork],
    },
    // Linux `arch/x86/entry/syscalls/syscall_32.tbl`; no library has another architecture's numbers.
    compat: CompatCalls {
        // open, creat, openat, open_by_handle_at, openat2
        opens: &[5, 8, 295, 342, 437],
        // mount, rename, pivot_root, renameat, renameat2, move_mount
        moves: &[21, 38, 217, 302, 353, 429],
        // fork, clone, vfork, clone3
        forks: &[2, 120, 190, 435],
        // socketcall, socket
        sockets: &[102, 359],
        io_uring: 425,
    },
};
