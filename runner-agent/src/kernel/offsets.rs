//! Which fields the probes need, and where this kernel keeps them.

use runner_agent_common::offsets::Offsets;

use super::LoadError;
use super::arch::{ARCH, Register};
use super::btf::Btf;

/// Finds every offset, or names every field that this kernel doesn't have.
pub fn find(btf: &Btf, job_cgroup_level: u32) -> Result<Offsets, LoadError> {
    let mut finder = Finder { btf, missing: Vec::new() };
    let registers = &ARCH.registers;
    let [second, third, fifth] = &registers.others;
    let [compat_first, compat_second, compat_third] = &registers.compat;
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
        task_cred: finder.field("task_struct", &["cred"]),
        cred_effective: finder.field("cred", &["cap_effective"]),
        task_nsproxy: finder.field("task_struct", &["nsproxy"]),
        task_compat: finder.field("task_struct", &[ARCH.compat_mark.0]),
        compat_mark: ARCH.compat_mark.1,
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
        sock_network: finder.field("sock_common", &["skc_net"]),
        sock_protocol: finder.field("sock", &["sk_protocol"]),
        sk_buff_data: finder.field("sk_buff", &["data"]),
        sk_buff_len: finder.field("sk_buff", &["len"]),
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
        mount_group: finder.field("mount", &["mnt_group_id"]),
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
        unix_sock_peer: finder.field("unix_sock", &["peer"]),
        nsproxy_mnt_ns: finder.field("nsproxy", &["mnt_ns"]),
        mnt_namespace_inum: finder.field("mnt_namespace", &["ns.inum"]),
        nsproxy_net_ns: finder.field("nsproxy", &["net_ns"]),
        net_inum: finder.field("net", &["ns.inum"]),
        user_namespace_level: finder.field("user_namespace", &["level"]),
        cgroup_kn: finder.field("cgroup", &["kn"]),
        cgroup_root: finder.field("cgroup", &["root"]),
        kernfs_id: finder.field("kernfs_node", &["id"]),
        kernfs_parent: finder.field("kernfs_node", &["__parent", "parent"]),
        cgroup_root_hierarchy_id: finder.field("cgroup_root", &["hierarchy_id"]),
        task_cgroups: finder.field("task_struct", &["cgroups"]),
        css_set_dfl_cgrp: finder.field("css_set", &["dfl_cgrp"]),
        cgroup_level: finder.field("cgroup", &["level"]),
        cgroup_ancestor_ids: btf.offset("cgroup", "ancestor_ids").unwrap_or(0),
        regs_syscall: finder.field("pt_regs", &[registers.syscall]),
        regs_arg0: finder.field("pt_regs", &[registers.first]),
        regs_arg1: finder.register(second),
        regs_arg2: finder.register(third),
        regs_arg4: finder.register(fifth),
        regs_compat_arg0: finder.register(compat_first),
        regs_compat_arg1: finder.register(compat_second),
        regs_compat_arg2: finder.register(compat_third),
        job_cgroup_level,
        agent_mount_namespace: super::procfs::own_mount_namespace(),
        agent_network: super::procfs::own_network(),
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

    fn register(&mut self, register: &Register) -> u32 {
        self.field("pt_regs", &[register.field]) + 8 * register.index
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
