//! Records: what a probe puts on a ring, one fixed part per kind, followed by the bytes that the fixed part announces. One
//! file, because a reader of bytes compares them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Kinds of record, the value of [`Header::kind`].
pub mod kind {
    /// A process came to be: [`super::Fork`].
    pub const FORK: u16 = 1;
    /// A process replaced its program: [`super::Exec`].
    pub const EXEC: u16 = 2;
    /// More of an exec's argument vector: [`super::ExecArgs`].
    pub const EXEC_ARGS: u16 = 3;
    /// A process ended: [`super::Exit`].
    pub const EXIT: u16 = 4;
    /// An open that the name filter let through: [`super::File`].
    pub const FILE: u16 = 5;
    /// A connect or an addressed send: [`super::Connect`].
    pub const CONNECT: u16 = 6;
    /// A socket that the address hooks can't judge: [`super::Socket`].
    pub const SOCKET: u16 = 7;
    /// io_uring was set up: [`super::IoUring`].
    pub const IO_URING: u16 = 8;
    /// A process moved to another cgroup: [`super::CgroupMove`].
    pub const CGROUP_MOVE: u16 = 9;
    /// A DNS message passed: [`super::Dns`].
    pub const DNS: u16 = 10;
    /// A blocked job opened a device through which packets leave without a socket: [`super::Device`].
    pub const DEVICE: u16 = 11;
    /// A job reached for the agent, the runner or the kernel: [`super::Guard`].
    pub const GUARD: u16 = 12;
}

/// Probes, the value of [`Header::probe`] and the index into the counters map.
pub mod probe {
    /// `sched_process_fork`.
    pub const FORK: u16 = 0;
    /// `sched_process_exec`.
    pub const EXEC: u16 = 1;
    /// `sched_process_exec`, continuations of the argument vector.
    pub const EXEC_ARGS: u16 = 2;
    /// `sched_process_exit`.
    pub const EXIT: u16 = 3;
    /// Opens: `sys_exit` of the open family, or `security_file_open` and its like.
    pub const FILE: u16 = 4;
    /// `cgroup/connect4`.
    pub const CONNECT4: u16 = 5;
    /// `cgroup/connect6`.
    pub const CONNECT6: u16 = 6;
    /// `cgroup/sendmsg4`.
    pub const SENDMSG4: u16 = 7;
    /// `cgroup/sendmsg6`.
    pub const SENDMSG6: u16 = 8;
    /// `cgroup/sock_create`: raw and ping sockets of the IP families.
    pub const SOCK_CREATE: u16 = 9;
    /// `sys_exit`, socket(2): packet, VSOCK and other families that have no cgroup hook.
    pub const SOCKET: u16 = 10;
    /// `sys_exit`, io_uring_setup(2).
    pub const IO_URING: u16 = 11;
    /// `cgroup_attach_task`.
    pub const CGROUP_MOVE: u16 = 12;
    /// `cgroup_skb` in both directions, DNS messages.
    pub const DNS: u16 = 13;
    /// `sys_exit`, connect(2) and sends of a job process that has left its job's cgroup.
    pub const SYSCALL_CONNECT: u16 = 14;
    /// `cgroup_skb` egress, packets that no verdict covers.
    pub const PACKET: u16 = 15;
    /// Opens of devices that make network interfaces.
    pub const DEVICE: u16 = 16;
    /// Operations against the agent, the runner or the kernel, by `sys_exit` or by a hook before the function.
    pub const GUARD: u16 = 17;
    /// How many probes there are.
    pub const COUNT: usize = 18;
    /// Names for people and metrics, indexed by probe.
    pub const NAMES: [&str; COUNT] = [
        "fork",
        "exec",
        "exec-args",
        "exit",
        "file",
        "connect4",
        "connect6",
        "sendmsg4",
        "sendmsg6",
        "sock-create",
        "socket",
        "io-uring",
        "cgroup-move",
        "dns",
        "syscall-connect",
        "packet",
        "device",
        "guard",
    ];
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// A path was longer or deeper than the walk: its front is missing.
    pub const PATH_TRUNCATED: u32 = 1 << 0;
    /// The argument vector could not be read whole (memory not resident, or longer than the continuations carry).
    pub const ARGV_TRUNCATED: u32 = 1 << 1;
    /// The process entered the job by its cgroup, not by birth: it existed before the job knew it.
    pub const ADOPTED: u32 = 1 << 2;
    /// A 32-bit system call on a 64-bit kernel.
    pub const COMPAT: u32 = 1 << 3;
    /// The file had no name in any directory (memfd, deleted).
    pub const UNLINKED: u32 = 1 << 4;
    /// The open was recognised by (device, inode), not by name.
    pub const BY_INODE: u32 = 1 << 5;
    /// The process is a thread's exec or was born outside the job's cgroup.
    pub const OUTSIDE_CGROUP: u32 = 1 << 6;
    /// The kernel side ended the process: what it was about to do can't be refused on this tier.
    pub const KILLED: u32 = 1 << 7;
    /// The process was born with another's descriptors: what one opens, the other has.
    pub const SHARES_DESCRIPTORS: u32 = 1 << 8;
    /// It was refused, and did not happen.
    pub const REFUSED: u32 = 1 << 9;
    /// The descriptor was opened by somebody else before: it was read, mapped or received here.
    pub const INHERITED: u32 = 1 << 10;
    /// The process is the runner's and not the job's, though held to its policy.
    pub const RUNNERS: u32 = 1 << 11;
    /// The program is a service of the platform: nothing holds for the process from here on.
    pub const EXEMPT: u32 = 1 << 12;
}

/// A process for all time: a pid alone comes back, a pid with its start time does not.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ProcessKey {
    /// Start of the thread group's leader, nanoseconds since boot (`task_struct::start_boottime`).
    pub start_ns: u64,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Always zero; makes the size a multiple of eight without padding.
    pub reserved: u32,
}

/// The front of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// When it happened, nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub at_ns: u64,
    /// The process that the record is about; all zero where the hook has none (packets).
    pub process: ProcessKey,
    /// Length of the whole record, this header included, in bytes.
    pub len: u32,
    /// Slot of the job, as user space gave it out.
    pub job: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// One of [`kind`].
    pub kind: u16,
    /// One of [`probe`].
    pub probe: u16,
}

/// A process came to be. [`Header::process`] is the child.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Fork {
    /// Common front.
    pub header: Header,
    /// Who forked.
    pub parent: ProcessKey,
    /// Cgroup (v2) id of the forking task.
    pub cgroup: u64,
}

/// A process replaced its program. Followed by `exe_len`, `cwd_len` and `argv_len` bytes, in this order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Exec {
    /// Common front.
    pub header: Header,
    /// The parent, as the kernel sees it now.
    pub parent: ProcessKey,
    /// Cgroup (v2) id.
    pub cgroup: u64,
    /// Inode number of the executable.
    pub exe_inode: u64,
    /// Inode number of the pipe on standard input, 0 when that is no pipe. Two processes with one pipe are a pipeline.
    pub stdin_pipe: u64,
    /// Inode number of the pipe on standard output, 0 when that is no pipe.
    pub stdout_pipe: u64,
    /// Device of the executable, in the kernel's own encoding (major << 20 | minor).
    pub exe_device: u32,
    /// Process group, in the initial pid namespace.
    pub group: u32,
    /// Inode number of the mount namespace.
    pub mount_namespace: u32,
    /// Length of the executable's path in bytes, 0 when it could not be read.
    pub exe_len: u32,
    /// Length of the working directory's path in bytes.
    pub cwd_len: u32,
    /// Bytes of the argument vector in this record.
    pub argv_len: u32,
    /// Bytes of the whole argument vector, NULs included; what is missing here follows in [`ExecArgs`].
    pub argv_total: u32,
    /// User id.
    pub uid: u32,
}

/// More of an argument vector. Followed by `len` bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecArgs {
    /// Common front; `at_ns` repeats that of the [`Exec`] it belongs to.
    pub header: Header,
    /// Where these bytes stand in the whole vector.
    pub offset: u32,
    /// How many bytes follow.
    pub len: u32,
}

/// A process (its last thread) ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Exit {
    /// Common front.
    pub header: Header,
    /// `task_struct::exit_code` of the thread that ended last, in the form of wait(2).
    pub status: u32,
    /// Always zero.
    pub reserved: u32,
}

/// A file was opened whose name, directory or inode is watched. Followed by `path_len` bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct File {
    /// Common front.
    pub header: Header,
    /// Inode number.
    pub inode: u64,
    /// Device, in the kernel's own encoding (major << 20 | minor).
    pub device: u32,
    /// `file::f_mode`: bit 0 read, bit 1 write.
    pub mode: u32,
    /// System call number, in the table that [`flag::COMPAT`] says; [`NO_SYSCALL`] where the hook is another; of a read that was
    /// refused ([`flag::REFUSED`]) the number of its class of secret, counted from 1.
    pub syscall: u32,
    /// Length of the path in bytes.
    pub path_len: u32,
}

/// [`File::syscall`] of hooks that every way to a file passes.
pub const NO_SYSCALL: u32 = u32::MAX;

/// A job reached for the agent, the runner or the kernel. Followed by `path_len` bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Guard {
    /// Common front; [`flag::REFUSED`] where it was denied.
    pub header: Header,
    /// The process that was meant; all zero where it wasn't about one.
    pub target: ProcessKey,
    /// What else there is to say of the operation.
    pub detail: u64,
    /// One of [`crate::guard::operation`].
    pub operation: u16,
    /// 1 when the operation failed by itself: it was not permitted, or meant nothing.
    pub failed: u16,
    /// Length of the path in bytes, 0 when it wasn't about one.
    pub path_len: u32,
}

/// A connect or an addressed send was asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Connect {
    /// Common front.
    pub header: Header,
    /// Destination in network order; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// Socket cookie, 0 when the hook has none.
    pub socket: u64,
    /// Cgroup (v2) id of the calling task.
    pub cgroup: u64,
    /// Address family of the socket call: 2 (AF_INET) or 10 (AF_INET6).
    pub family: u16,
    /// Destination port, host order.
    pub port: u16,
    /// IP protocol number: 6 TCP, 17 UDP, …
    pub protocol: u16,
    /// Socket type: 1 stream, 2 datagram, …
    pub socket_type: u16,
    /// Number of the rule that decided, see [`crate::egress::rule`].
    pub rule: u32,
    /// One of [`crate::egress::verdict`].
    pub verdict: u16,
    /// Always zero.
    pub reserved: u16,
}

/// A socket of a family or type that the address hooks can't judge was created.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Socket {
    /// Common front.
    pub header: Header,
    /// Address family (`AF_*`).
    pub family: u32,
    /// Socket type, without the `SOCK_CLOEXEC` and `SOCK_NONBLOCK` bits.
    pub socket_type: u32,
    /// Protocol, as asked for.
    pub protocol: u32,
    /// One of [`crate::egress::verdict`].
    pub verdict: u16,
    /// Always zero.
    pub reserved: u16,
}

/// A blocked job opened a device through which packets leave without a socket. The process was ended for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Device {
    /// Common front.
    pub header: Header,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// io_uring was set up: from here on, opens of this process pass the tracepoint tier unseen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IoUring {
    /// Common front.
    pub header: Header,
    /// Queue entries asked for.
    pub entries: u32,
    /// Always zero.
    pub reserved: u32,
}

/// A process of a job was moved to another cgroup. [`Header::process`] is the one moved.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CgroupMove {
    /// Common front.
    pub header: Header,
    /// Who moved it.
    pub by: ProcessKey,
    /// The cgroup (v2) it is in now.
    pub to: u64,
    /// 1 when the new cgroup is the job's own or below it.
    pub inside: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Directions of [`Dns::direction`].
pub mod direction {
    /// Leaves the job.
    pub const OUT: u8 = 0;
    /// Reaches the job.
    pub const IN: u8 = 1;
}

/// A DNS message passed a socket of the job. Followed by `len` bytes of the message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Dns {
    /// Common front; the process is not known to this hook.
    pub header: Header,
    /// Socket cookie: says which [`Connect`] opened the conversation.
    pub socket: u64,
    /// The resolver's address, network order; IPv4 in the first four bytes.
    pub server: [u8; 16],
    /// Length of the message on the wire, which may be more than what follows.
    pub wire_len: u32,
    /// How many bytes follow.
    pub len: u32,
    /// The job's own port.
    pub local_port: u16,
    /// Address family: 2 (AF_INET) or 10 (AF_INET6).
    pub family: u16,
    /// One of [`direction`].
    pub direction: u8,
    /// IP protocol number: 17 UDP, 6 TCP.
    pub protocol: u8,
    /// Always zero.
    pub reserved: u16,
}
