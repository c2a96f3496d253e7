//! What the probes do with each system call, and how they read it: tables by number, made for this kernel's architecture.

use libc::c_long;
use runner_agent_common::guard::operation;
use runner_agent_common::offsets::{SYSCALLS, action, form};

use super::arch::ARCH;

/// What system calls are looked at for, besides what every job's are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// For opened files: no other hook sees them.
    pub at_opens: bool,
    /// For sockets, devices and processes that no other hook sees, in a blocked job.
    pub at_doors: bool,
    /// For secrets on their way through pipes, in a blocked job.
    pub at_pipes: bool,
}

/// What the `sys_exit` probe does with each system call, by number.
#[derive(Clone, Copy)]
pub struct SyscallTables {
    /// Native numbers in the low four bits, 32-bit ones in the high.
    pub actions: [u8; SYSCALLS],
    /// Which operation a native number is, and in the high eight bits how it is read, where its action is `GUARD`.
    pub operations: [u16; SYSCALLS],
}

/// Makes the tables. `is_hooked` says which hooks of the tracing tier see an operation before its system call returns.
pub fn tables(looks: Looks, is_hooked: impl Fn(&str) -> bool) -> SyscallTables {
    let mut actions = [0; SYSCALLS];
    native(&mut actions, looks);
    compat(&mut actions, looks);
    let mut operations = [0; SYSCALLS];
    for (calls, operation, hooks) in ATTEMPTS {
        if hooks.is_empty() || !hooks.iter().all(|hook| is_hooked(hook)) {
            for &(call, form) in *calls {
                let number = call as usize;
                operations[number] = *operation | form << form::SHIFT;
                // Where forks are looked at, these are looked at with them.
                if actions[number] & 0xf != action::FORK {
                    actions[number] |= action::GUARD;
                }
            }
        }
    }
    SyscallTables { actions, operations }
}

fn native(actions: &mut [u8; SYSCALLS], looks: Looks) {
    let mut all = |calls: &[c_long], action: u8| calls.iter().for_each(|&call| actions[call as usize] |= action);
    if looks.at_opens {
        all(&[libc::SYS_openat, libc::SYS_open_by_handle_at, libc::SYS_openat2], action::OPEN);
        all(ARCH.native.opens, action::OPEN);
    }
    all(&[libc::SYS_socket], action::SOCKET);
    all(&[libc::SYS_io_uring_setup], action::IO_URING);
    all(&[libc::SYS_connect], action::CONNECT);
    all(&[libc::SYS_sendto], action::SENDTO);
    // The first message of sendmmsg(2) starts where that of sendmsg(2) does.
    all(&[libc::SYS_sendmsg, libc::SYS_sendmmsg], action::SENDMSG);
    all(&[libc::SYS_pivot_root, libc::SYS_mount, libc::SYS_move_mount], action::MOVE);
    all(&[libc::SYS_renameat, libc::SYS_renameat2], action::MOVE);
    all(ARCH.native.moves, action::MOVE);
    if looks.at_doors {
        all(&[libc::SYS_clone, libc::SYS_clone3], action::FORK);
        all(ARCH.native.forks, action::FORK);
    }
    if looks.at_pipes {
        all(&[libc::SYS_read, libc::SYS_readv], action::READ);
        all(&[libc::SYS_splice, libc::SYS_tee], action::MOVE_BYTES);
        all(&[libc::SYS_write, libc::SYS_writev, libc::SYS_sendfile, libc::SYS_vmsplice], action::WRITE);
    }
}

fn compat(actions: &mut [u8; SYSCALLS], looks: Looks) {
    let mut all = |calls: &[c_long], action: u8| calls.iter().for_each(|&call| actions[call as usize] |= action << 4);
    if looks.at_opens {
        all(ARCH.compat.opens, action::OPEN);
    }
    all(&[ARCH.compat.io_uring], action::IO_URING);
    all(ARCH.compat.moves, action::MOVE);
    if looks.at_doors {
        all(ARCH.compat.forks, action::FORK);
        all(ARCH.compat.sockets, action::SOCKET_32);
    }
}

/// A call, and how it is read.
type Read = (c_long, u16);

const fn plain(call: c_long) -> Read {
    (call, form::PLAIN)
}

/// What makes a process: told where it is in its new namespaces already, if the kernel tells of that.
const fn clone(call: c_long, by_child: u16, by_parent: u16) -> Read {
    (call, if ARCH.child_returns { by_child } else { by_parent })
}

/// The C library for aarch64 that binaries are linked with has no name for it (asm-generic/unistd.h).
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;
#[cfg(not(target_arch = "aarch64"))]
const KEXEC_FILE_LOAD: c_long = libc::SYS_kexec_file_load;

/// System calls that are attempts at the agent, the runner or the kernel: with the operation, and the hooks of the tracing
/// tier that see it better.
const ATTEMPTS: &[(&[Read], u16, &[&str])] = &[
    (
        &[
            plain(libc::SYS_kill),
            plain(libc::SYS_rt_sigqueueinfo),
            plain(libc::SYS_tkill),
            (libc::SYS_tgkill, form::THREAD),
            (libc::SYS_rt_tgsigqueueinfo, form::THREAD),
            (libc::SYS_pidfd_send_signal, form::PIDFD),
        ],
        operation::SIGNAL,
        &["task_kill"],
    ),
    (
        &[
            (libc::SYS_ptrace, form::PTRACE),
            plain(libc::SYS_process_vm_readv),
            plain(libc::SYS_process_vm_writev),
            (libc::SYS_pidfd_getfd, form::PIDFD),
        ],
        operation::TRACE,
        &["ptrace_access_check"],
    ),
    (&[(libc::SYS_setpriority, form::SETPRIORITY)], operation::PRIORITY, &["task_setnice"]),
    (
        &[
            plain(libc::SYS_sched_setparam),
            plain(libc::SYS_sched_setscheduler),
            plain(libc::SYS_sched_setaffinity),
            plain(libc::SYS_sched_setattr),
        ],
        operation::PRIORITY,
        &["task_setscheduler"],
    ),
    (&[(libc::SYS_prlimit64, form::PRLIMIT)], operation::PRIORITY, &["task_setrlimit"]),
    (&[plain(libc::SYS_bpf)], operation::BPF, &["bpf"]),
    (&[plain(libc::SYS_init_module), plain(libc::SYS_kexec_load)], operation::KERNEL_CODE, &["kernel_load_data"]),
    (&[plain(libc::SYS_finit_module), plain(KEXEC_FILE_LOAD)], operation::KERNEL_CODE, &["kernel_read_file"]),
    (&[plain(libc::SYS_delete_module)], operation::KERNEL_CODE, &[]),
    (&[plain(libc::SYS_settimeofday), plain(libc::SYS_clock_settime)], operation::CLOCK, &["settime"]),
    (&[(libc::SYS_adjtimex, form::ADJTIMEX), (libc::SYS_clock_adjtime, form::CLOCK_ADJTIME)], operation::CLOCK, &[]),
    (&[plain(libc::SYS_reboot)], operation::REBOOT, &[]),
    (
        &[
            clone(libc::SYS_clone, form::CLONE, form::CLONE_BY_PARENT),
            clone(libc::SYS_clone3, form::CLONE3, form::CLONE3_BY_PARENT),
            plain(libc::SYS_unshare),
            (libc::SYS_setns, form::SETNS),
        ],
        operation::NAMESPACE,
        &[],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Looks = Looks { at_opens: true, at_doors: true, at_pipes: true };

    #[test]
    fn each_number_has_one_action_of_each_table() {
        let known = [action::OPEN, action::SOCKET, action::CONNECT, action::SENDTO, action::SENDMSG, action::READ];
        let known = [&known[..], &[action::IO_URING, action::MOVE, action::FORK, action::GUARD]].concat();
        let known = [&known[..], &[action::WRITE, action::SOCKET_32, action::MOVE_BYTES]].concat();
        // Actions are joined bit by bit; two on one number would make a third, and this many fewer of them.
        let tables = tables(ALL, |_| false);
        for action in tables.actions.map(|action| action & 0xf).into_iter().filter(|&action| action != 0) {
            assert!(known.contains(&action), "{action}");
        }
        let count = |action: u8| tables.actions.iter().filter(|found| *found & 0xf == action).count();
        assert_eq!(count(action::OPEN), 3 + ARCH.native.opens.len());
        assert_eq!(count(action::MOVE), 5 + ARCH.native.moves.len());
        assert_eq!(count(action::FORK), 2 + ARCH.native.forks.len());
        assert_eq!(count(action::WRITE), 4);
        let compat = |action: u8| tables.actions.iter().filter(|found| *found >> 4 == action).count();
        assert_eq!(compat(action::OPEN), ARCH.compat.opens.len());
        assert_eq!(compat(action::MOVE), ARCH.compat.moves.len());
        assert_eq!(compat(action::SOCKET_32), ARCH.compat.sockets.len());
    }

    #[test]
    fn what_a_hook_sees_is_not_looked_at_again() {
        let both = |is_hooked: bool| tables(ALL, |hook| is_hooked && hook == "task_kill");
        let kill = libc::SYS_kill as usize;
        assert_eq!((both(false).actions[kill], both(false).operations[kill]), (action::GUARD, operation::SIGNAL));
        assert_eq!((both(true).actions[kill] & 0xf, both(true).operations[kill]), (0, 0));
        let tgkill = both(false).operations[libc::SYS_tgkill as usize];
        assert_eq!((tgkill & 0xff, tgkill >> form::SHIFT), (operation::SIGNAL, form::THREAD));
    }
}
