//! aarch64, with the calls of 32-bit ARM (EABI).

use super::{Arch, Calls, CompatCalls, GuardedCalls, Register, Registers};

const fn argument(index: u32) -> Register {
    Register { field: "regs", index }
}

pub(in crate::kernel) const ARCH: Arch = Arch {
    // The result goes where the first argument was; a copy of that stays.
    registers: Registers {
        syscall: "syscallno",
        first: "orig_x0",
        others: [argument(1), argument(2), argument(4)],
        compat: [Register { field: "orig_x0", index: 0 }, argument(1), argument(2)],
    },
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
        guarded: GuardedCalls {
            kill: 37,
            tkill: 238,
            tgkill: 268,
            rt_sigqueueinfo: 178,
            rt_tgsigqueueinfo: 363,
            ptrace: 26,
            process_vm_readv: 376,
            process_vm_writev: 377,
            setpriority: 97,
            sched_setparam: 154,
            sched_setscheduler: 156,
            sched_setaffinity: 241,
            sched_setattr: 380,
            prlimit64: 369,
            bpf: 386,
            init_module: 128,
            finit_module: 379,
            delete_module: 129,
            kexec_load: 347,
            kexec_file_load: Some(401),
            stime: None,
            settimeofday: 79,
            clock_settime: 262,
            adjtimex: 124,
            clock_adjtime: 372,
            reboot: 88,
            clone: 120,
            unshare: 337,
            setns: 375,
            perf_event_open: 364,
            fanotify_mark: 368,
        },
    },
};
