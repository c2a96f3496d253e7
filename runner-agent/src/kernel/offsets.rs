//! Which fields the probes need, and where this kernel keeps them.

use runner_agent_common::offsets::Offsets;

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
        pid_number: finder.field("pid", &["numbers"]) + finder.field("upid", &["nr"]),
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
        super_block_dev: finder.field("super_block", &["s_dev"]),
        nsproxy_mnt_ns: finder.field("nsproxy", &["mnt_ns"]),
        mnt_namespace_inum: finder.field("mnt_namespace", &["ns.inum"]),
        cgroup_kn: finder.field("cgroup", &["kn"]),
        cgroup_root: finder.field("cgroup", &["root"]),
        kernfs_id: finder.field("kernfs_node", &["id"]),
        kernfs_parent: finder.field("kernfs_node", &["__parent", "parent"]),
        cgroup_root_hierarchy_id: finder.field("cgroup_root", &["hierarchy_id"]),
        regs_syscall: finder.field("pt_regs", &[regs.syscall]),
        regs_arg0: finder.field("pt_regs", &[regs.arguments[0]]),
        regs_arg1: finder.field("pt_regs", &[regs.arguments[1]]),
        regs_arg2: finder.field("pt_regs", &[regs.arguments[2]]),
        regs_arg4: finder.field("pt_regs", &[regs.arguments[3]]),
        job_cgroup_level,
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

/// What a blocked job's system calls are looked at for, besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// For sockets, devices and processes that no other hook sees.
    pub at_doors: bool,
    /// For secrets on their way through pipes.
    pub at_pipes: bool,
}

/// What the `sys_exit` probe does with each system call: native numbers in the low four bits, 32-bit ones in the high.
#[cfg(target_arch = "x86_64")]
pub fn syscall_actions(looks: Looks) -> [u8; runner_agent_common::offsets::SYSCALLS] {
    use runner_agent_common::offsets::action;
    // Linux `arch/x86/entry/syscalls/syscall_64.tbl` and `syscall_32.tbl`.
    let native = [
        (2, action::OPEN),       // open
        (85, action::OPEN),      // creat
        (257, action::OPEN),     // openat
        (304, action::OPEN),     // open_by_handle_at
        (437, action::OPEN),     // openat2
        (41, action::SOCKET),    // socket
        (425, action::IO_URING), // io_uring_setup
        (42, action::CONNECT),   // connect
        (44, action::SENDTO),    // sendto
        (82, action::MOVE),      // rename
        (155, action::MOVE),     // pivot_root
        (165, action::MOVE),     // mount
        (264, action::MOVE),     // renameat
        (316, action::MOVE),     // renameat2
        (429, action::MOVE),     // move_mount
        (46, action::SENDMSG),   // sendmsg
        (307, action::SENDMSG),  // sendmmsg, whose first message starts where that of sendmsg does
    ];
    let compat = [
        (5, action::OPEN),       // open
        (8, action::OPEN),       // creat
        (295, action::OPEN),     // openat
        (342, action::OPEN),     // open_by_handle_at
        (437, action::OPEN),     // openat2
        (425, action::IO_URING), // io_uring_setup
        (21, action::MOVE),      // mount
        (38, action::MOVE),      // rename
        (217, action::MOVE),     // pivot_root
        (302, action::MOVE),     // renameat
        (353, action::MOVE),     // renameat2
        (429, action::MOVE),     // move_mount
    ];
    let mut table = [0; runner_agent_common::offsets::SYSCALLS];
    for (number, action) in native {
        table[number] |= action;
    }
    for (number, action) in compat {
        table[number] |= action << 4;
    }
    if looks.at_doors {
        // clone, fork, vfork, clone3
        for number in [56, 57, 58, 435] {
            table[number] |= action::FORK;
        }
        // fork, clone, vfork, clone3; socketcall and socket
        for number in [2, 120, 190, 435] {
            table[number] |= action::FORK << 4;
        }
        for number in [102, 359] {
            table[number] |= action::SOCKET_32 << 4;
        }
    }
    if looks.at_pipes {
        // read, readv; splice, tee
        for number in [0, 19] {
            table[number] |= action::READ;
        }
        for number in [275, 276] {
            table[number] |= action::MOVE_BYTES;
        }
        // write, writev, sendfile, vmsplice
        for number in [1, 20, 40, 278] {
            table[number] |= action::WRITE;
        }
    }
    table
}
