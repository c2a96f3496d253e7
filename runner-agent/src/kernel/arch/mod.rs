//! What differs between the architectures of kernels, a file for each: registers, the mark of 32-bit calls, and system calls
//! that one has and the others don't. A kernel has the architecture that this program was built for.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::ARCH;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::ARCH;

/// An architecture.
pub(super) struct Arch {
    pub registers: Registers,
    /// Where a task has the mark of 32-bit calls, a field of `task_struct`, and its bit.
    pub compat_mark: (&'static str, u32),
    /// Whether `sys_exit` is told of a new process that returns from the call that made it.
    pub child_returns: bool,
    /// Of the native table, what not every architecture has.
    pub native: Calls,
    /// Of the 32-bit table, all that is looked at.
    pub compat: CompatCalls,
}

/// Fields of `pt_regs` as they are when a system call returns. Each is eight bytes long, or four with what is read behind it.
pub(super) struct Registers {
    pub syscall: &'static str,
    /// First argument: where what was passed stays, and the result doesn't go.
    pub first: &'static str,
    /// Second, third and fifth argument.
    pub others: [Register; 3],
    /// First, second and third argument of a 32-bit call, in the low four bytes.
    pub compat: [Register; 3],
}

/// A field, or an element of eight bytes in an array.
pub(super) struct Register {
    pub field: &'static str,
    pub index: u32,
}

/// Numbers of calls by what they do, see [`runner_agent_common::offsets::action`].
pub(super) struct Calls {
    pub opens: &'static [i64],
    pub moves: &'static [i64],
    pub forks: &'static [i64],
}

/// The same of the 32-bit table.
pub(super) struct CompatCalls {
    pub opens: &'static [i64],
    pub moves: &'static [i64],
    pub forks: &'static [i64],
    /// What makes a socket, or multiplexes calls of which one does.
    pub sockets: &'static [i64],
    pub io_uring: i64,
    pub guarded: GuardedCalls,
}

/// Of the 32-bit table, what may be an attempt at the agent, the runner or the kernel. Numbers from 403 on aren't here: they are the
/// same on every architecture.
pub(super) struct GuardedCalls {
    pub kill: i64,
    pub tkill: i64,
    pub tgkill: i64,
    pub rt_sigqueueinfo: i64,
    pub rt_tgsigqueueinfo: i64,
    pub ptrace: i64,
    pub process_vm_readv: i64,
    pub process_vm_writev: i64,
    pub setpriority: i64,
    pub sched_setparam: i64,
    pub sched_setscheduler: i64,
    pub sched_setaffinity: i64,
    pub sched_setattr: i64,
    pub prlimit64: i64,
    pub bpf: i64,
    pub init_module: i64,
    pub finit_module: i64,
    pub delete_module: i64,
    pub kexec_load: i64,
    pub kexec_file_load: Option<i64>,
    pub stime: Option<i64>,
    pub settimeofday: i64,
    pub clock_settime: i64,
    pub adjtimex: i64,
    pub clock_adjtime: i64,
    pub reboot: i64,
    pub clone: i64,
    pub unshare: i64,
    pub setns: i64,
    pub perf_event_open: i64,
    pub fanotify_mark: i64,
}
