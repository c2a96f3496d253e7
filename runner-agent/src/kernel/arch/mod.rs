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
}
