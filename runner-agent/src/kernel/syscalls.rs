//! What the probes do with each system call, and how they read it: tables by number, made for this kernel's architecture. One file
//! because a number has one meaning, which the tests hold over all of the list.

use libc::c_long;
use runner_agent_common::guard::operation;
use runner_agent_common::offsets::{SYSCALLS, action, form};

use super::arch::{ARCH, GuardedCalls};
use super::hooks::SOCKETS;

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
    /// Which operation a number is, and in the high eight bits how it is read, where its action is `GUARD`: native numbers first, then
    /// 32-bit ones.
    pub operations: [[u16; SYSCALLS]; 2],
    /// Operations that are told when they have happened by something else than their system call: one bit each.
    pub told_afterwards: u32,
}

/// Makes the tables. `is_hooked` says which hooks of the tracing tier see an operation before its system call returns.
pub fn tables(looks: Looks, is_hooked: impl Fn(&str) -> bool) -> SyscallTables {
    let mut actions = [0; SYSCALLS];
    let at_sockets = !is_hooked(SOCKETS);
    native(&mut actions, looks, at_sockets);
    compat(&mut actions, looks, at_sockets);
    let mut operations = [[0; SYSCALLS]; 2];
    let mut guard = |table: usize, number: Option<c_long>, operation: u16| {
        let Some(number) = number.map(|number| number as usize) else { return };
        operations[table][number] = operation;
        // Where forks or sends are looked at, these are looked at with them.
        if ![action::FORK, action::SENDTO, action::SENDMSG].contains(&(actions[number] >> (4 * table) & 0xf)) {
            actions[number] |= action::GUARD << (4 * table);
        }
    };
    for (calls, operation, hooks) in ATTEMPTS {
        if hooks.is_empty() || !hooks.iter().all(|hook| is_hooked(hook)) {
            for call in *calls {
                let operation = *operation | call.form << form::SHIFT;
                guard(0, call.native, operation);
                guard(1, call.compat, operation);
            }
        }
    }
    let unseen = AFTERWARDS.into_iter().filter(|(_, hook)| !is_hooked(hook));
    SyscallTables { actions, operations, told_afterwards: unseen.fold(0, |bits, (operation, _)| bits | 1 << operation) }
}

/// Operations that another probe sees when they have happened, each with the hook that sees it before.
const AFTERWARDS: [(u16, &str); 3] = [
    (operation::PRIVILEGE, "bprm_check_security"),
    (operation::ENGINE, "unix_stream_connect"),
    (operation::SERVICES, "unix_stream_connect"),
];

fn native(actions: &mut [u8; SYSCALLS], looks: Looks, at_sockets: bool) {
    let mut all = |calls: &[c_long], action: u8| calls.iter().for_each(|&call| actions[call as usize] |= action);
    if looks.at_opens {
        all(&[libc::SYS_openat, libc::SYS_open_by_handle_at, libc::SYS_openat2], action::OPEN);
        all(ARCH.native.opens, action::OPEN);
    }
    if at_sockets {
        all(&[libc::SYS_socket], action::SOCKET);
    }
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

fn compat(actions: &mut [u8; SYSCALLS], looks: Looks, at_sockets: bool) {
    let mut all = |calls: &[c_long], action: u8| calls.iter().for_each(|&call| actions[call as usize] |= action << 4);
    if looks.at_opens {
        all(ARCH.compat.opens, action::OPEN);
    }
    all(&[ARCH.compat.io_uring], action::IO_URING);
    all(ARCH.compat.moves, action::MOVE);
    if looks.at_doors {
        all(ARCH.compat.forks, action::FORK);
        if at_sockets {
            all(ARCH.compat.sockets, action::SOCKET_32);
        }
    }
}

/// A call by its numbers in the native and in the 32-bit table, and how it is read.
struct Call {
    native: Option<c_long>,
    compat: Option<c_long>,
    form: u16,
}

impl Call {
    /// A number of each table.
    const fn new(native: c_long, compat: c_long) -> Self {
        Self { native: Some(native), compat: Some(compat), form: form::PLAIN }
    }

    /// A number that is the same in both, as all are that came since Linux 5.1.
    const fn shared(number: c_long) -> Self {
        Self::new(number, number)
    }

    /// What is looked at by the native table alone.
    const fn native(number: c_long) -> Self {
        Self { native: Some(number), compat: None, form: form::PLAIN }
    }

    /// What the 32-bit table alone has, if it has it.
    const fn compat(number: Option<c_long>) -> Self {
        Self { native: None, compat: number, form: form::PLAIN }
    }

    /// One that isn't read as most of its operation are.
    const fn read_as(self, form: u16) -> Self {
        Self { form, ..self }
    }

    /// What makes a process: told where it is in its new namespaces already, if the kernel tells of that.
    const fn told(self, by_child: u16, by_parent: u16) -> Self {
        self.read_as(if ARCH.child_returns { by_child } else { by_parent })
    }
}

/// Numbers of the 32-bit table that the native one has for something else.
const COMPAT: &GuardedCalls = &ARCH.compat.guarded;

// Calls of the 32-bit table for times of 64 bits, on every architecture (asm-generic/unistd.h).
const CLOCK_SETTIME_64: c_long = 404;
const CLOCK_ADJTIME_64: c_long = 405;

/// fcntl(2) and fcntl64(2) of the 32-bit tables, the same in both.
const FCNTL: c_long = 55;
const FCNTL_64: c_long = 221;

/// flock(2) of the 32-bit tables, the same in both.
const FLOCK: c_long = 143;

/// The C library for aarch64 that binaries are linked with has no name for it (asm-generic/unistd.h).
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;
#[cfg(not(target_arch = "aarch64"))]
const KEXEC_FILE_LOAD: c_long = libc::SYS_kexec_file_load;

/// System calls that are attempts at the agent, the runner or the kernel: with the operation, and the hooks of the tracing
/// tier that see it better.
const ATTEMPTS: &[(&[Call], u16, &[&str])] = &[
    (
        &[
            Call::new(libc::SYS_kill, COMPAT.kill),
            Call::new(libc::SYS_rt_sigqueueinfo, COMPAT.rt_sigqueueinfo),
            Call::new(libc::SYS_tkill, COMPAT.tkill),
            Call::new(libc::SYS_tgkill, COMPAT.tgkill).read_as(form::THREAD),
            Call::new(libc::SYS_rt_tgsigqueueinfo, COMPAT.rt_tgsigqueueinfo).read_as(form::THREAD),
            Call::shared(libc::SYS_pidfd_send_signal).read_as(form::PIDFD),
        ],
        operation::SIGNAL,
        &["task_kill"],
    ),
    (
        &[Call::new(libc::SYS_fcntl, FCNTL).read_as(form::OWNER), Call::compat(Some(FCNTL_64)).read_as(form::OWNER)],
        operation::SIGNAL,
        &["file_send_sigiotask", "file_lock"],
    ),
    (&[Call::new(libc::SYS_flock, FLOCK).read_as(form::FLOCK)], operation::PRIORITY, &["file_lock"]),
    (
        &[Call::new(libc::SYS_fanotify_mark, COMPAT.fanotify_mark).read_as(form::MARK)],
        operation::PRIORITY,
        &["path_notify"],
    ),
    (
        &[Call::new(libc::SYS_perf_event_open, COMPAT.perf_event_open).read_as(form::SAMPLE)],
        operation::PROBE,
        &["perf_event_open"],
    ),
    (
        &[
            Call::new(libc::SYS_ptrace, COMPAT.ptrace).read_as(form::PTRACE),
            Call::new(libc::SYS_process_vm_readv, COMPAT.process_vm_readv),
            Call::new(libc::SYS_process_vm_writev, COMPAT.process_vm_writev),
            Call::shared(libc::SYS_pidfd_getfd).read_as(form::PIDFD),
        ],
        operation::TRACE,
        &["ptrace_access_check"],
    ),
    (
        &[Call::new(libc::SYS_setpriority, COMPAT.setpriority).read_as(form::SETPRIORITY)],
        operation::PRIORITY,
        &["task_setnice"],
    ),
    (
        &[
            Call::new(libc::SYS_sched_setparam, COMPAT.sched_setparam),
            Call::new(libc::SYS_sched_setscheduler, COMPAT.sched_setscheduler),
            Call::new(libc::SYS_sched_setaffinity, COMPAT.sched_setaffinity),
            Call::new(libc::SYS_sched_setattr, COMPAT.sched_setattr),
        ],
        operation::PRIORITY,
        &["task_setscheduler"],
    ),
    (
        &[Call::new(libc::SYS_prlimit64, COMPAT.prlimit64).read_as(form::PRLIMIT)],
        operation::PRIORITY,
        &["task_setrlimit"],
    ),
    (&[Call::new(libc::SYS_bpf, COMPAT.bpf)], operation::BPF, &["bpf"]),
    (
        &[Call::new(libc::SYS_init_module, COMPAT.init_module), Call::new(libc::SYS_kexec_load, COMPAT.kexec_load)],
        operation::KERNEL_CODE,
        &["kernel_load_data"],
    ),
    (
        &[
            Call::new(libc::SYS_finit_module, COMPAT.finit_module),
            Call { native: Some(KEXEC_FILE_LOAD), ..Call::compat(COMPAT.kexec_file_load) },
        ],
        operation::KERNEL_CODE,
        &["kernel_read_file"],
    ),
    (&[Call::new(libc::SYS_delete_module, COMPAT.delete_module)], operation::KERNEL_CODE, &[]),
    (
        &[
            Call::new(libc::SYS_settimeofday, COMPAT.settimeofday),
            Call::new(libc::SYS_clock_settime, COMPAT.clock_settime),
            Call::compat(Some(CLOCK_SETTIME_64)),
            Call::compat(COMPAT.stime),
        ],
        operation::CLOCK,
        &["settime"],
    ),
    (
        &[
            Call::new(libc::SYS_adjtimex, COMPAT.adjtimex).read_as(form::ADJTIMEX),
            Call::new(libc::SYS_clock_adjtime, COMPAT.clock_adjtime).read_as(form::CLOCK_ADJTIME),
            Call::compat(Some(CLOCK_ADJTIME_64)).read_as(form::CLOCK_ADJTIME),
        ],
        operation::CLOCK,
        &[],
    ),
    (&[Call::new(libc::SYS_reboot, COMPAT.reboot)], operation::REBOOT, &[]),
    (
        &[
            Call::native(libc::SYS_sendto),
            Call::native(libc::SYS_sendmsg),
            // Its first message starts where that of sendmsg(2) does.
            Call::native(libc::SYS_sendmmsg),
        ],
        operation::NETWORK,
        &["netlink_send"],
    ),
    (
        &[
            Call::new(libc::SYS_clone, COMPAT.clone).told(form::CLONE, form::CLONE_BY_PARENT),
            Call::shared(libc::SYS_clone3).told(form::CLONE3, form::CLONE3_BY_PARENT),
            Call::new(libc::SYS_unshare, COMPAT.unshare),
            Call::new(libc::SYS_setns, COMPAT.setns).read_as(form::SETNS),
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
        assert_eq!(compat(action::FORK), ARCH.compat.forks.len());
        assert_eq!(compat(action::SOCKET_32), ARCH.compat.sockets.len());
        assert_eq!(compat(action::IO_URING), 1);
        // What makes a process is looked at with forks.
        let guarded = tables.operations[1].iter().filter(|&&entry| entry != 0).count();
        assert_eq!(compat(action::GUARD), guarded - 2);
    }

    #[test]
    fn what_a_hook_sees_is_not_looked_at_again() {
        let both = |is_hooked: bool| tables(ALL, |hook| is_hooked && hook == "task_kill");
        let (native, compat) = (libc::SYS_kill as usize, COMPAT.kill as usize);
        let of_native = |tables: SyscallTables| (tables.actions[native] & 0xf, tables.operations[0][native]);
        let of_compat = |tables: SyscallTables| (tables.actions[compat] >> 4, tables.operations[1][compat]);
        assert_eq!(of_native(both(false)), (action::GUARD, operation::SIGNAL));
        assert_eq!(of_compat(both(false)), (action::GUARD, operation::SIGNAL));
        assert_eq!((of_native(both(true)), of_compat(both(true))), ((0, 0), (0, 0)));
    }

    #[test]
    fn sockets_are_looked_at_once() {
        let of = |is_hooked: bool| {
            let actions = tables(ALL, |hook| is_hooked && hook == SOCKETS).actions;
            let compat = ARCH.compat.sockets.iter().map(|&call| actions[call as usize] >> 4);
            (actions[libc::SYS_socket as usize] & 0xf, compat.collect::<Vec<_>>())
        };
        assert_eq!(of(false), (action::SOCKET, vec![action::SOCKET_32; ARCH.compat.sockets.len()]));
        assert_eq!(of(true), (0, vec![0; ARCH.compat.sockets.len()]));
    }

    #[test]
    fn a_call_is_the_same_attempt_by_either_table() {
        let [native, compat] = tables(ALL, |_| false).operations;
        let pairs = [
            (libc::SYS_kill, COMPAT.kill, operation::SIGNAL, form::PLAIN),
            (libc::SYS_tgkill, COMPAT.tgkill, operation::SIGNAL, form::THREAD),
            (libc::SYS_pidfd_getfd, libc::SYS_pidfd_getfd, operation::TRACE, form::PIDFD),
            (libc::SYS_clock_adjtime, COMPAT.clock_adjtime, operation::CLOCK, form::CLOCK_ADJTIME),
            (libc::SYS_clock_adjtime, CLOCK_ADJTIME_64, operation::CLOCK, form::CLOCK_ADJTIME),
            (libc::SYS_setns, COMPAT.setns, operation::NAMESPACE, form::SETNS),
        ];
        for (of_native, of_compat, operation, form) in pairs {
            let expected = operation | form << form::SHIFT;
            assert_eq!((native[of_native as usize], compat[of_compat as usize]), (expected, expected), "{of_native}");
        }
        let listed = ATTEMPTS.iter().flat_map(|(calls, ..)| *calls);
        let numbers = listed.clone().filter_map(|call| call.native).count();
        assert_eq!(native.iter().filter(|&&entry| entry != 0).count(), numbers, "two calls have one number");
        let numbers = listed.filter_map(|call| call.compat).count();
        assert_eq!(compat.iter().filter(|&&entry| entry != 0).count(), numbers, "two calls have one number");
    }

    #[test]
    fn no_32_bit_attempt_has_the_number_of_a_call_that_the_probe_leaves_early() {
        // What `sys_exit` judges by the native table alone, before it asks which table a call is of.
        let early = [action::READ, action::WRITE, action::MOVE_BYTES, action::CONNECT, action::SENDTO, action::SENDMSG];
        for (number, actions) in tables(ALL, |_| false).actions.into_iter().enumerate() {
            assert!(actions >> 4 != action::GUARD || !early.contains(&(actions & 0xf)), "{number}");
        }
    }
}
