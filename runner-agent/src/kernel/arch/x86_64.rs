//! x86-64, with the calls of i386.

use super::{Arch, Calls, CompatCalls, GuardedCalls, Register, Registers};

const fn register(field: &'static str) -> Register {
    Register { field, index: 0 }
}

pub(in crate::kernel) const ARCH: Arch = Arch {
    registers: Registers {
        syscall: "orig_ax",
        first: "di",
        others: [register("si"), register("dx"), register("r8")],
        compat: [register("bx"), register("cx"), register("dx")],
    },
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
        guarded: GuardedCalls {
            kill: 37,
            tkill: 238,
            tgkill: 270,
            rt_sigqueueinfo: 178,
            rt_tgsigqueueinfo: 335,
            ptrace: 26,
            process_vm_readv: 347,
            process_vm_writev: 348,
            setpriority: 97,
            sched_setparam: 154,
            sched_setscheduler: 156,
            sched_setaffinity: 241,
            sched_setattr: 351,
            prlimit64: 340,
            bpf: 357,
            init_module: 128,
            finit_module: 350,
            delete_module: 129,
            kexec_load: 283,
            kexec_file_load: None,
            stime: Some(25),
            settimeofday: 79,
            clock_settime: 264,
            adjtimex: 124,
            clock_adjtime: 343,
            reboot: 88,
            clone: 120,
            unshare: 310,
            setns: 346,
            perf_event_open: 336,
            fanotify_mark: 339,
        },
    },
};
