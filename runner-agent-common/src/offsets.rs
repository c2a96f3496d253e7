//! Where the fields of the kernel's structures stand, read from its BTF at start and given to the probes as a global.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Byte offsets into kernel structures, and what else the probes must be told before they load.
///
/// Kernel-side Rust emits no relocations for field accesses, so nothing here is known at compile time. User space
/// refuses to load a probe when a field is missing; no offset is ever guessed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Offsets {
    /// `task_struct::tgid`.
    pub task_tgid: u32,
    /// `task_struct::pid`.
    pub task_pid: u32,
    /// `task_struct::group_leader`.
    pub task_group_leader: u32,
    /// `task_struct::real_parent`.
    pub task_real_parent: u32,
    /// `task_struct::start_boottime`.
    pub task_start_boottime: u32,
    /// `task_struct::exit_code`.
    pub task_exit_code: u32,
    /// `task_struct::signal`.
    pub task_signal: u32,
    /// `task_struct::mm`.
    pub task_mm: u32,
    /// `task_struct::fs`.
    pub task_fs: u32,
    /// `task_struct::files`.
    pub task_files: u32,
    /// `task_struct::cred`.
    pub task_cred: u32,
    /// `cred::cap_effective`; its lowest four bytes stand first.
    pub cred_effective: u32,
    /// `task_struct::nsproxy`.
    pub task_nsproxy: u32,
    /// `task_struct`: what holds the mark of 32-bit system calls, see [`Self::compat_mark`].
    pub task_compat: u32,
    /// The bit there that is set while a task is inside a 32-bit system call.
    pub compat_mark: u32,
    /// `signal_struct::live`.
    pub signal_live: u32,
    /// `signal_struct::pids[PIDTYPE_PGID]`.
    pub signal_group: u32,
    /// `proc_inode::pid`.
    pub proc_inode_pid: u32,
    /// `proc_inode::vfs_inode`.
    pub proc_inode_vfs: u32,
    /// `pid::numbers[0].nr`.
    pub pid_number: u32,
    /// `pid::level`.
    pub pid_level: u32,
    /// `pid::tasks[PIDTYPE_PID]`.
    pub pid_tasks: u32,
    /// `task_struct::pid_links[PIDTYPE_PID]`.
    pub task_pid_links: u32,
    /// `task_struct::thread_pid`.
    pub task_thread_pid: u32,
    /// `mm_struct::arg_start`.
    pub mm_arg_start: u32,
    /// `mm_struct::arg_end`.
    pub mm_arg_end: u32,
    /// `mm_struct::exe_file`.
    pub mm_exe_file: u32,
    /// `fs_struct::pwd`.
    pub fs_pwd: u32,
    /// `files_struct::fdt`.
    pub files_fdt: u32,
    /// `fdtable::fd`.
    pub fdtable_fd: u32,
    /// `file::f_path`.
    pub file_path: u32,
    /// `file::f_inode`.
    pub file_inode: u32,
    /// `file::private_data`.
    pub file_private_data: u32,
    /// `socket::type`.
    pub socket_type: u32,
    /// `socket::sk`.
    pub socket_sk: u32,
    /// `sock::__sk_common.skc_family`.
    pub sock_family: u32,
    /// `sock::__sk_common.skc_net`, which holds nothing but a pointer.
    pub sock_network: u32,
    /// `sock::sk_protocol`.
    pub sock_protocol: u32,
    /// `sk_buff::data`.
    pub sk_buff_data: u32,
    /// `sk_buff::len`.
    pub sk_buff_len: u32,
    /// `file::f_mode`.
    pub file_mode: u32,
    /// `path::mnt`.
    pub path_mnt: u32,
    /// `path::dentry`.
    pub path_dentry: u32,
    /// `dentry::d_parent`.
    pub dentry_parent: u32,
    /// `dentry::d_name.len`.
    pub dentry_name_len: u32,
    /// `dentry::d_name.name`.
    pub dentry_name: u32,
    /// `dentry::d_inode`.
    pub dentry_inode: u32,
    /// `vfsmount::mnt_root`.
    pub vfsmount_root: u32,
    /// `mount::mnt`, to step from a `vfsmount` to its `mount`.
    pub mount_mnt: u32,
    /// `mount::mnt_parent`.
    pub mount_parent: u32,
    /// `mount::mnt_mountpoint`.
    pub mount_mountpoint: u32,
    /// `mount::mnt_group_id`.
    pub mount_group: u32,
    /// `inode::i_ino`.
    pub inode_ino: u32,
    /// `inode::i_sb`.
    pub inode_sb: u32,
    /// `inode::i_rdev`.
    pub inode_rdev: u32,
    /// `inode::i_mode`.
    pub inode_mode: u32,
    /// `inode::i_nlink`.
    pub inode_nlink: u32,
    /// `inode::i_private`.
    pub inode_private: u32,
    /// `super_block::s_dev`.
    pub super_block_dev: u32,
    /// `super_block::s_magic`.
    pub super_block_magic: u32,
    /// `linux_binprm::file`.
    pub binprm_file: u32,
    /// `unix_sock::path`.
    pub unix_sock_path: u32,
    /// `unix_sock::peer`.
    pub unix_sock_peer: u32,
    /// `nsproxy::mnt_ns`.
    pub nsproxy_mnt_ns: u32,
    /// `mnt_namespace::ns.inum`.
    pub mnt_namespace_inum: u32,
    /// `nsproxy::net_ns`.
    pub nsproxy_net_ns: u32,
    /// `net::ns.inum`.
    pub net_inum: u32,
    /// `user_namespace::level`.
    pub user_namespace_level: u32,
    /// `cgroup::kn`.
    pub cgroup_kn: u32,
    /// `cgroup::root`.
    pub cgroup_root: u32,
    /// `kernfs_node::id`.
    pub kernfs_id: u32,
    /// `kernfs_node` parent pointer (`parent`, or `__parent` on newer kernels).
    pub kernfs_parent: u32,
    /// `cgroup_root::hierarchy_id`.
    pub cgroup_root_hierarchy_id: u32,
    /// `task_struct::cgroups`.
    pub task_cgroups: u32,
    /// `css_set::dfl_cgrp`.
    pub css_set_dfl_cgrp: u32,
    /// `cgroup::level`.
    pub cgroup_level: u32,
    /// `cgroup::ancestor_ids`; 0 where the kernel has none (6.0 and later), and then a helper is there to ask.
    pub cgroup_ancestor_ids: u32,
    /// `pt_regs`: system call number.
    pub regs_syscall: u32,
    /// `pt_regs`: first argument of a system call.
    pub regs_arg0: u32,
    /// `pt_regs`: second argument.
    pub regs_arg1: u32,
    /// `pt_regs`: third argument.
    pub regs_arg2: u32,
    /// `pt_regs`: fifth argument (the address of sendto(2)).
    pub regs_arg4: u32,
    /// `pt_regs`: first argument of a 32-bit system call; of this and the next two, the low four bytes count.
    pub regs_compat_arg0: u32,
    /// `pt_regs`: second argument of a 32-bit system call.
    pub regs_compat_arg1: u32,
    /// `pt_regs`: third argument of a 32-bit system call.
    pub regs_compat_arg2: u32,
    /// Level of the cgroups that jobs live in, counted from the root of the v2 hierarchy.
    pub job_cgroup_level: u32,
    /// Inode number of the mount namespace that the agent is in.
    pub agent_mount_namespace: u32,
    /// Inode number of the network namespace that the agent is in.
    pub agent_network: u32,
}

/// What the `sys_exit` probe does with a system call number.
pub mod action {
    /// Nothing.
    pub const IGNORE: u8 = 0;
    /// Returned a descriptor of an opened file.
    pub const OPEN: u8 = 1;
    /// Created a socket.
    pub const SOCKET: u8 = 2;
    /// Set up an io_uring.
    pub const IO_URING: u8 = 3;
    /// connect(2).
    pub const CONNECT: u8 = 4;
    /// sendto(2).
    pub const SENDTO: u8 = 5;
    /// sendmsg(2).
    pub const SENDMSG: u8 = 6;
    /// Moved something in the file tree: rename(2), mount(2), pivot_root(2) and their like.
    pub const MOVE: u8 = 7;
    /// Made a process, and returned in it.
    pub const FORK: u8 = 8;
    /// Took bytes from a descriptor.
    pub const READ: u8 = 9;
    /// Gave bytes to a descriptor.
    pub const WRITE: u8 = 10;
    /// Made a socket, by a 32-bit call whose arguments stand elsewhere.
    pub const SOCKET_32: u8 = 11;
    /// Moved bytes from one descriptor to another.
    pub const MOVE_BYTES: u8 = 12;
    /// Did, or tried, something against the agent, the runner or the kernel; a table of its own says what.
    pub const GUARD: u8 = 13;
}

/// How the arguments of a guarded system call are read, where its number alone said so: calls of one operation differ in where
/// they have what they are about. Stands above the operation in its table.
pub mod form {
    /// Bits below, which are the operation's.
    pub const SHIFT: u16 = 8;
    /// As most of its operation are: first what it is about, then the rest.
    pub const PLAIN: u16 = 0;
    /// A process, a thread of it, and then the rest.
    pub const THREAD: u16 = 1;
    /// A descriptor that means the process.
    pub const PIDFD: u16 = 2;
    /// ptrace(2): the request, then the process.
    pub const PTRACE: u16 = 3;
    /// setpriority(2): a process is meant where the first says so, by the second.
    pub const SETPRIORITY: u16 = 4;
    /// prlimit64(2): it sets one only where there is a third.
    pub const PRLIMIT: u16 = 5;
    /// adjtimex(2): only asks, where the first word of what it is given is 0.
    pub const ADJTIMEX: u16 = 6;
    /// clock_adjtime(2): the same, given second.
    pub const CLOCK_ADJTIME: u16 = 7;
    /// setns(2): the kinds of namespace stand second, and may be none.
    pub const SETNS: u16 = 8;
    /// clone(2), told when its child returns.
    pub const CLONE: u16 = 9;
    /// clone3(2), told when its child returns.
    pub const CLONE3: u16 = 10;
    /// clone(2), told when the parent returns.
    pub const CLONE_BY_PARENT: u16 = 11;
    /// clone3(2), told when the parent returns.
    pub const CLONE3_BY_PARENT: u16 = 12;
    /// fcntl(2): by its second, names a process that a file is to signal, or locks the file; the third says which or how, or points to
    /// that.
    pub const OWNER: u16 = 13;
    /// perf_event_open(2): all programs of a CPU where the process, given second, is -1.
    pub const SAMPLE: u16 = 14;
    /// flock(2): a file, and how it is locked.
    pub const FLOCK: u16 = 15;
    /// fanotify_mark(2): adds one where the second says so, for the events that stand third.
    pub const MARK: u16 = 16;
}

/// System call numbers that the probe's table covers; the ones of interest are all below.
pub const SYSCALLS: usize = 512;
