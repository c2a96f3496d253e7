//! What a job may try against the agent, the runner and the kernel, what is denied of it, and which files may be read by
//! whom: keys and values of the maps that both sides share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::map::{FileKey, hash_word, part};

/// Operations, as [`crate::record::Guard::operation`] has them and as bits of [`GuardRules`].
pub mod operation {
    /// A signal to the agent. The detail is its number.
    pub const SIGNAL: u16 = 1;
    /// Control over a process outside the job: ptrace(2), `/proc/PID/mem`, process_vm_readv(2), pidfd_getfd(2). The detail is
    /// the mode (`PTRACE_MODE_*`).
    pub const TRACE: u16 = 2;
    /// A look into a process outside the job: its environment, memory map, descriptors. The detail is the mode.
    pub const INSPECT: u16 = 3;
    /// Less of the processor, or of anything limited, for the agent. The detail is one of [`super::priority`].
    pub const PRIORITY: u16 = 4;
    /// bpf(2). The detail is the command (`enum bpf_cmd`).
    pub const BPF: u16 = 5;
    /// Code for the kernel: a module, or another kernel. The detail is the kind (`enum kernel_load_data_id`).
    pub const KERNEL_CODE: u16 = 6;
    /// The clock.
    pub const CLOCK: u16 = 7;
    /// A mount over, or away from, what the agent stands on.
    pub const MOUNT: u16 = 8;
    /// A guarded file opened for writing, cut, or given other rights.
    pub const WRITE: u16 = 9;
    /// A guarded name removed, renamed or replaced.
    pub const REMOVE: u16 = 10;
    /// A control file of a cgroup outside the job's own opened for writing: a way out, or a way to stop others.
    pub const CGROUP: u16 = 11;
    /// Another namespace: unshare(2), setns(2), clone(2). The detail is the flags.
    pub const NAMESPACE: u16 = 12;
    /// A setting by which the kernel runs programs or stops: `core_pattern`, `modprobe`, `sysrq-trigger` and their like.
    pub const SETTING: u16 = 13;
    /// A program that gives its caller another user's rights (set-user-ID): sudo(8), su(1).
    pub const PRIVILEGE: u16 = 14;
    /// The socket of a container engine.
    pub const ENGINE: u16 = 15;
    /// A secret file. What is told of reads are files; told as an attempt is only another name for such a file where nothing would
    /// be left by which it is known.
    pub const READ_SECRET: u16 = 16;
    /// The machine restarted or halted. The detail is reboot(2)'s command.
    pub const REBOOT: u16 = 17;
    /// Control over the agent itself, by the ways of [`TRACE`]; with [`super::MODE_READ`] as the detail, a look at its environment.
    pub const TRACE_AGENT: u16 = 18;
    /// A request to a container engine that gives the machine away. Told by user space alone.
    pub const ENGINE_REQUEST: u16 = 19;
    /// A disk opened past its file systems: the agent's files and secret files lie on it.
    pub const DISK: u16 = 20;
    /// Probes of the kernel's or of other programs, by tracefs or for a whole CPU by perf_event_open(2): they show any memory.
    pub const PROBE: u16 = 21;
    /// The machine's network changed by netlink(7). The detail is the message's type, and above that its protocol: see
    /// [`crate::netlink::detail`].
    pub const NETWORK: u16 = 22;
    /// The socket of a daemon that starts programs for whoever asks, outside of any job: the service manager, the message bus.
    pub const SERVICES: u16 = 23;
    /// How many there are, 0 included.
    pub const COUNT: usize = 24;
    /// Names for people and the log, by operation.
    pub const NAMES: [&str; COUNT] = [
        "none",
        "signal",
        "trace",
        "inspect",
        "priority",
        "bpf",
        "kernel-code",
        "clock",
        "mount",
        "write",
        "remove",
        "cgroup",
        "namespace",
        "setting",
        "privilege",
        "engine-socket",
        "hide-secret",
        "reboot",
        "trace-agent",
        "engine-request",
        "disk",
        "probe",
        "network",
        "services",
    ];
}

/// `PTRACE_MODE_READ` (linux/ptrace.h): a process is looked into, and not controlled.
pub const MODE_READ: u64 = 1;

/// What of the agent was to be made less, details of [`operation::PRIORITY`].
pub mod priority {
    /// Its scheduling class.
    pub const SCHEDULER: u64 = 1;
    /// Its nice value.
    pub const NICE: u64 = 2;
    /// A resource limit.
    pub const LIMIT: u64 = 3;
    /// A file about it in `/proc`: what becomes of it when memory runs out, for one.
    pub const ENTRY: u64 = 4;
    /// Its time: it, or its successor, would wait for a lock or for an answer about a file.
    pub const WAIT: u64 = 5;
}

/// What a number means that names the agent, values of the map of agents.
pub mod agent {
    /// A process.
    pub const PROCESS: u32 = 1;
    /// Something by which kill(2) reaches it: a thread, or as a negative number its group, or everybody.
    pub const NAME: u32 = 2;
}

/// What is told and denied of a job's operations, by its slot: one bit an operation, `1 << operation`; and what is withheld.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GuardRules {
    /// Told.
    pub tells: u32,
    /// Denied, where a hook can deny.
    pub denies: u32,
    /// Capabilities that the job doesn't have: `1 << number`, some of [`WITHHOLDABLE`].
    pub withholds: u64,
}

/// Capabilities that a job can be withheld, `1 << number` (linux/capability.h). The kernel side looks at no other.
pub const WITHHOLDABLE: u64 = {
    const LINUX_IMMUTABLE: u64 = 1 << 9;
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_MODULE: u64 = 1 << 16;
    const SYS_RAWIO: u64 = 1 << 17;
    const SYS_PTRACE: u64 = 1 << 19;
    const SYS_BOOT: u64 = 1 << 22;
    const SYS_TIME: u64 = 1 << 25;
    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    LINUX_IMMUTABLE | NET_ADMIN | SYS_MODULE | SYS_RAWIO | SYS_PTRACE | SYS_BOOT | SYS_TIME | PERFMON | BPF
};

/// Bits of a guarded file, values of the map by [`crate::map::FileKey`].
pub mod guarded {
    /// Its content and rights.
    pub const CONTENT: u32 = 1 << 0;
    /// What is in this directory.
    pub const ENTRIES: u32 = 1 << 1;
    /// Nothing may be mounted over it.
    pub const COVER: u32 = 1 << 2;
    /// It is the socket of a container engine.
    pub const ENGINE: u32 = 1 << 3;
    /// It is a program that gives its caller another user's rights.
    pub const PRIVILEGE: u32 = 1 << 4;
    /// It is a disk, or a way past the block layer to one; the key is [`super::disk_key`]'s.
    pub const DISK: u32 = 1 << 5;
    /// The kernel starts it by itself, or what it starts so reads it: a program, its configuration, what lies in this folder, or
    /// with the key of [`super::name_key`] what has this name.
    pub const STARTED: u32 = 1 << 6;
    /// It is a folder on the way to one of these: neither covered nor moved, and some names in it are guarded.
    pub const LEADS: u32 = 1 << 7;
    /// It is the socket of a daemon that starts programs for whoever asks.
    pub const SERVICES: u32 = 1 << 8;
}

/// What a name in a folder is guarded by, whether or not there is a file: the folder's identity, and the name's hash
/// (`hash_name(part::NAME, …)`). No file has this key.
#[must_use]
pub const fn name_key(folder: FileKey, name: u64) -> FileKey {
    FileKey { inode: hash_word(name, folder.inode), device: folder.device, reserved: 1 }
}

/// What a disk is guarded by, wherever a file for it lies: its number, in the kernel's own encoding (major << 20 | minor), and
/// whether it is a block device. No file has such an inode number.
#[must_use]
pub const fn disk_key(device: u32, is_block: bool) -> FileKey {
    FileKey { inode: u64::MAX - is_block as u64, device, reserved: 0 }
}

/// Classes of secret files that the kernel side can tell apart: bits of one word.
pub const CLASSES: usize = 64;

/// Components of a path, counted from the file upwards, over which a secret path's hash goes at most.
pub const SECRET_DEPTH: usize = 16;

/// A secret path's hash so far, and the hash of the next component above it.
#[expect(clippy::inline_always, reason = "a call would cost the open probe more than the hash")]
#[inline(always)]
#[must_use]
pub const fn chain(below: u64, component: u64) -> u64 {
    hash_word(component, below.rotate_left(17))
}

/// What a [`SecretPath`]'s hash is about.
pub mod secret_path {
    /// A whole path.
    pub const WHOLE: u32 = 1;
    /// The end of a path, wherever it begins: `**/a/b`.
    pub const TAIL: u32 = 2;
    /// A name in a directory that is known by identity, wherever that lies by now: [`super::entry_hash`].
    pub const ENTRY: u32 = 3;
}

/// Hash of a name in a directory; `name` is its hash as [`crate::map::part::NAME`], the device in the kernel's own encoding.
#[expect(clippy::inline_always, reason = "a call would cost the open probe more than the hash")]
#[inline(always)]
#[must_use]
pub const fn entry_hash(directory: u64, device: u32, name: u64) -> u64 {
    chain(chain(name, directory), device as u64)
}

/// A path by which one job's secret files are recognised. Jobs differ in what they call secret, and each counts its classes by
/// itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SecretPath {
    /// Hash of components, from the last one upwards.
    pub hash: u64,
    /// Slot of the job.
    pub job: u32,
    /// One of [`secret_path`].
    pub kind: u32,
}

/// A secret file of one job, by identity.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SecretFile {
    /// Inode number.
    pub inode: u64,
    /// Device, in the kernel's own encoding (major << 20 | minor).
    pub device: u32,
    /// Slot of the job.
    pub job: u32,
}

impl SecretFile {
    /// Its place among [`SECRET_PLACES`].
    #[expect(clippy::inline_always, reason = "a call would cost the read probe more than the hash")]
    #[inline(always)]
    #[must_use]
    pub const fn place(&self) -> u32 {
        secret_place(self.inode)
    }
}

/// Where it is noted that a file of this inode number may be some job's secret.
#[expect(clippy::inline_always, reason = "a call would cost the read probe more than the hash")]
#[inline(always)]
#[must_use]
pub const fn secret_place(inode: u64) -> u32 {
    hash_word(part::INODE, inode) as u32 & (SECRET_PLACES - 1)
}

/// Places in the first, cheap question about the identity of a file; a power of two.
pub const SECRET_PLACES: u32 = 32_768;

/// Secret files of a job that are known by identity because of what became of them after its start: those that the kernel side
/// came to know, and as many again that user space did. What a job makes of secret files is no end, and the room is for all.
pub const LEARNT_SECRETS: u32 = 2048;

/// A program that a process runs, for as long as it runs it: who executed it, and when.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProgramKey {
    /// The exec, nanoseconds since boot.
    pub at_ns: u64,
    /// The process that made it; children that only fork go on with the same program.
    pub tgid: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Programs whose right to read was found by user space; the longest unused goes first.
pub const TICKETS: u32 = 16_384;
