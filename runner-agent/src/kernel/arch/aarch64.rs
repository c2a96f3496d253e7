//! aarch64, with the calls of 32-bit ARM (EABI).

use super::{Arch, Calls, CompatCalls, Register, Registers};

const fn argument(index: u32) -> Register {
    Register { field: "regs", index }
}

pub(in crate::kernel) const ARCH: Arch = Arch {
    // The result goes where the first argument was; a copy of that stays.
    registers: Registers { syscall: "syscallno", first: "orig_x0", others: [argument(1), argument(2), argument(4)] },
    // TIF_32BIT (asm/thread_info.h), the same from 3.7 to 7.2: a program is of one kind or the other.
    compat_mark: ("thread_info.flags", 1 << 22),
    // A child leaves `ret_from_fork` for its program without a word (arch/arm64/kernel/entry.S).
    child_returns: false,
    native: Calls { opens: &[], moves: &[], forks: &[] },
    // Linux `arch/arm/tools/syscall.tbl`, the calls of EABI; no library has another architecture's numbers.
    compat: CompatCalls {
        // open, creat, openat, open_by_handle_at, openat2
        opens: &[5, 8, 322, 371, 437],
        // mount, rename, pivot_root, renameat, renameat2, move_mount
        moves: &[21, 38, 218, 329, 382, 429],
        // fork, clone, vfork, clone3
        forks: &[2, 120, 190, 435],
        // socket
        sockets: &[281],
        io_uring: 425,
    },
};
