//! Which fields the probes need, and where this kernel keeps them.

use runner_agent_common::guard::operation;
use runner_agent_common::offsets::{Offsets, SYSCALLS};

use super::LoadError;
use super::btf::Btf;

/// Finds every offset, or names every field that this kernel doesn't have.
pub fn find(btf: &Btf, job_cgroup_level: u32) -> Result<Offsets, LoadError> {
    let mut finder = Finder { btf, missing: Vec::new() };
    let regs = registers();
    let offsets = Offsets {
        task_tgid: finder.field("task_struct", &["tgid"]),
        task_pid: finder.field("task_struct", &["pid"]),
        task_group_leader: finder.field("task_struct", &["group_leader"]),
        task_real_parent: finder.field("task_struct", &["real_parent"]),
        task_start_boottime: finder.field("task_struct", &["start_boottime"]),
        task_exit_code: finder.field("task_struct", &["exit_code"]),
        task_signal: finder.field("task_struct", &["signal"]),
        task_mm: finder.field("task_struct", &["mm"]),
        task_fs: finder.field("task_struct", &["fs"]),
        task_files: finder.field("task_struct", &["files"]),
        task_nsproxy: finder.field("task_struct", &["nsproxy"]),
        // x86 keeps the 32-bit mark in `status`; elsewhere it is a flag, and 32-bit calls don't share the table.
        task_thread_status: finder.field("task_struct", &["thread_info.status", "thread_info.flags"]),
        signal_live: finder.field("signal_struct", &["live"]),
        signal_group: finder.field("signal_struct", &["pids"]) + PIDTYPE_PGID * 8,
        proc_inode_pid: finder.field("proc_inode", &["pid"]),
        proc_inode_vfs: finder.field("proc_inode", &["vfs_inode"]),
        pid_number: finder.field("pid", &["numbers"]) + finder.field("upid", &["nr"]),
        pid_level: finder.field("pid", &["level"]),
        pid_tasks: finder.field("pid", &["tasks"]),
        task_pid_links: finder.field("task_struct", &["pid_links"]),
        task_thread_pid: finder.field("task_struct", &["thread_pid"]),
        mm_arg_start: finder.field("mm_struct", &["arg_start"]),
        mm_arg_end: finder.field("mm_struct", &["arg_end"]),
        mm_exe_file: finder.field("mm_struct", &["exe_file"]),
        fs_pwd: finder.field("fs_struct", &["pwd"]),
        files_fdt: finder.field("files_struct", &["fdt"]),
        fdtable_fd: finder.field("fdtable", &["fd"]),
        file_path: finder.field("file", &["f_path"]),
        file_inode: finder.field("file", &["f_inode"]),
        file_private_data: finder.field("file", &["private_data"]),
        socket_type: finder.field("socket", &["type"]),
        socket_sk: finder.field("socket", &["sk"]),
        sock_family: finder.field("sock_common", &["skc_family"]),
        file_mode: finder.field("file", &["f_mode"]),
        path_mnt: finder.field("path", &["mnt"]),
        path_dentry: finder.field("path", &["dentry"]),
        dentry_parent: finder.field("dentry", &["d_parent"]),
        dentry_name_len: finder.field("dentry", &["d_name.len"]),
        dentry_name: finder.field("dentry", &["d_name.name"]),
        dentry_inode: finder.field("dentry", &["d_inode"]),
        vfsmount_root: finder.field("vfsmount", &["mnt_root"]),
        mount_mnt: finder.field("mount", &["mnt"]),
        mount_parent: finder.field("mount", &["mnt_parent"]),
        mount_mountpoint: finder.field("mount", &["mnt_mountpoint"]),
        inode_ino: finder.field("inode", &["i_ino"]),
        inode_sb: finder.field("inode", &["i_sb"]),
        inode_rdev: finder.field("inode", &["i_rdev"]),
        inode_mode: finder.field("inode", &["i_mode"]),
        inode_nlink: finder.field("inode", &["i_nlink"]),
        inode_private: finder.field("inode", &["i_private"]),
        super_block_dev: finder.field("super_block", &["s_dev"]),
        super_block_magic: finder.field("super_block", &["s_magic"]),
        binprm_file: finder.field("linux_binprm", &["file"]),
        unix_sock_path: finder.field("unix_sock", &["path"]),
        nsproxy_mnt_ns: finder.field("nsproxy", &["mnt_ns"]),
        mnt_namespace_inum: finder.field("mnt_namespace", &["ns.inum"]),
        nsproxy_net_ns: finder.field("nsproxy", &["net_ns"]),
        net_inum: finder.field("net", &["ns.inum"]),
        cgroup_kn: finder.field("cgroup", &["kn"]),
        cgroup_root: finder.field("cgroup", &["root"]),
        kernfs_id: finder.field("kernfs_node", &["id"]),
        kernfs_parent: finder.field("kernfs_node", &["__parent", "parent"]),
        cgroup_root_hierarchy_id: finder.field("cgroup_root", &["hierarchy_id"]),
        task_cgroups: finder.field("task_struct", &["cgroups"]),
        css_set_dfl_cgrp: finder.field("css_set", &["dfl_cgrp"]),
        cgroup_level: finder.field("cgroup", &["level"]),
        cgroup_ancestor_ids: btf.offset("cgroup", "ancestor_ids").unwrap_or(0),
        regs_syscall: finder.field("pt_regs", &[regs.syscall]),
        regs_arg0: finder.field("pt_regs", &[regs.arguments[0]]),
        regs_arg1: finder.field("pt_regs", &[regs.arguments[1]]),
        regs_arg2: finder.field("pt_regs", &[regs.arguments[2]]),
        regs_arg4: finder.field("pt_regs", &[regs.arguments[3]]),
        job_cgroup_level,
        agent_mount_namespace: super::procfs::own_mount_namespace(),
    };
    finder.front_of_dentry(&offsets);
    let first_table = finder.field("files_struct", &["fdtab"]);
    if (first_table, offsets.fdtable_fd) != (offsets.files_fdt + 8, 8) {
        finder.missing.push("files_struct::fdtab behind files_struct::fdt".to_owned());
    }
    if (offsets.path_mnt, offsets.path_dentry) != (0, 8) {
        finder.missing.push("path::dentry behind path::mnt".to_owned());
    }
    if finder.missing.is_empty() { Ok(offsets) } else { Err(LoadError::MissingFields { fields: finder.missing }) }
}

/// Index of the process group in `signal_struct::pids` (`enum pid_type`, unchanged since 4.19).
const PIDTYPE_PGID: u32 = 2;

struct Finder<'a> {
    btf: &'a Btf,
    missing: Vec<String>,
}

impl Finder<'_> {
    /// Offset of the first of several names that this kernel knows.
    fn field(&mut self, structure: &str, names: &[&str]) -> u32 {
        names.iter().find_map(|name| self.btf.offset(structure, name)).unwrap_or_else(|| {
            self.missing.push(format!("{structure}::{}", names.join(" or ")));
            0
        })
    }

    /// The probes read the front of a directory entry in one piece; every kernel so far has it in this order.
    fn front_of_dentry(&mut self, offsets: &Offsets) {
        let parent = offsets.dentry_parent;
        let inline_name = self.field("dentry", &["d_iname", "d_shortname"]);
        let expected = [
            ("d_name.len", offsets.dentry_name_len, 12),
            ("d_name.name", offsets.dentry_name, 16),
            ("d_inode", offsets.dentry_inode, 24),
            ("d_iname", inline_name, 32),
        ];
        for (field, found, distance) in expected {
            if found != parent + distance {
                self.missing.push(format!("dentry::{field} {distance} bytes behind d_parent"));
            }
        }
    }
}

struct Registers {
    syscall: &'static str,
    /// First, second, third and fifth argument.
    arguments: [&'static str; 4],
}

#[cfg(target_arch = "x86_64")]
const fn registers() -> Registers {
    Registers { syscall: "orig_ax", arguments: ["di", "si", "dx", "r8"] }
}

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
    /// Which operation a native number is, where its action is `GUARD`.
    pub operations: [u8; SYSCALLS],
}

/// Linux `arch/x86/entry/syscalls/syscall_64.tbl` and `syscall_32.tbl`. `is_hooked` says which hooks of the tracing tier see an
/// operation before its system call returns.
#[cfg(target_arch = "x86_64")]
pub fn syscalls(looks: Looks, is_hooked: impl Fn(&str) -> bool) -> SyscallTables {
    use runner_agent_common::offsets::action;
    let mut actions = [0; SYSCALLS];
    let mut native = |numbers: &[usize], action: u8| numbers.iter().for_each(|&number| actions[number] |= action);
    if looks.at_opens {
        // open, creat, openat, open_by_handle_at, openat2
        native(&[2, 85, 257, 304, 437], action::OPEN);
    }
    native(&[41], action::SOCKET);
    native(&[425], action::IO_URING);
    native(&[42], action::CONNECT);
    native(&[44], action::SENDTO);
    // sendmsg, and sendmmsg, whose first message starts where that of sendmsg does
    native(&[46, 307], action::SENDMSG);
    // rename, pivot_root, mount, renameat, renameat2, move_mount
    native(&[82, 155, 165, 264, 316, 429], action::MOVE);
    if looks.at_doors {
        // clone, fork, vfork, clone3
        native(&[56, 57, 58, 435], action::FORK);
    }
    if looks.at_pipes {
        // read, readv
        native(&[0, 19], action::READ);
        // splice, tee
        native(&[275, 276], action::MOVE_BYTES);
        // write, writev, sendfile, vmsplice
        native(&[1, 20, 40, 278], action::WRITE);
    }
    let mut compat = |numbers: &[usize], action: u8| numbers.iter().for_each(|&number| actions[number] |= action << 4);
    if looks.at_opens {
        // open, creat, openat, open_by_handle_at, openat2
        compat(&[5, 8, 295, 342, 437], action::OPEN);
    }
    compat(&[425], action::IO_URING);
    // mount, rename, pivot_root, renameat, renameat2, move_mount
    compat(&[21, 38, 217, 302, 353, 429], action::MOVE);
    if looks.at_doors {
        // fork, clone, vfork, clone3
        compat(&[2, 120, 190, 435], action::FORK);
        // socketcall and socket
        compat(&[102, 359], action::SOCKET_32);
    }
    let mut operations = [0; SYSCALLS];
    for (numbers, operation, hooks) in ATTEMPTS {
        if hooks.is_empty() || !hooks.iter().all(|hook| is_hooked(hook)) {
            for &number in *numbers {
                operations[number] = *operation as u8;
                // Where forks are looked at, these are looked at with them.
                if actions[number] & 0xf != action::FORK {
                    actions[number] |= action::GUARD;
                }
            }
        }
    }
    SyscallTables { actions, operations }
}

/// System calls that are attempts at the agent, the runner or the kernel: native numbers, the operation, and the hooks of the
/// tracing tier that see it better.
#[cfg(target_arch = "x86_64")]
const ATTEMPTS: &[(&[usize], u16, &[&str])] = &[
    // kill, rt_sigqueueinfo, tkill, tgkill, rt_tgsigqueueinfo, pidfd_send_signal
    (&[62, 129, 200, 234, 297, 424], operation::SIGNAL, &["task_kill"]),
    // ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
    (&[101, 310, 311, 438], operation::TRACE, &["ptrace_access_check"]),
    // setpriority
    (&[141], operation::PRIORITY, &["task_setnice"]),
    // sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr
    (&[142, 144, 203, 314], operation::PRIORITY, &["task_setscheduler"]),
    // prlimit64
    (&[302], operation::PRIORITY, &["task_setrlimit"]),
    (&[321], operation::BPF, &["bpf"]),
    // init_module, kexec_load
    (&[175, 246], operation::KERNEL_CODE, &["kernel_load_data"]),
    // finit_module, kexec_file_load
    (&[313, 320], operation::KERNEL_CODE, &["kernel_read_file"]),
    // delete_module
    (&[176], operation::KERNEL_CODE, &[]),
    // settimeofday, clock_settime
    (&[164, 227], operation::CLOCK, &["settime"]),
    // adjtimex, clock_adjtime
    (&[159, 305], operation::CLOCK, &[]),
    (&[169], operation::REBOOT, &[]),
    // clone, unshare, setns, clone3
    (&[56, 272, 308, 435], operation::NAMESPACE, &[]),
];
