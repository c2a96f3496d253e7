//! Maps and globals, each with who writes it and who reads it.

use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use runner_agent_common::egress::{
    ASKERS as ASKERS_MOST, Asker, AskerKey, ExeKey, JobRules, PIPES as PIPES_MOST, RuleCount, RuleEntry, RuleKey,
    SocketRuling,
};
use runner_agent_common::guard::{
    GuardRules, ProgramKey, SECRET_PLACES, SecretFile, SecretPath, TICKETS as TICKETS_MOST,
};
use runner_agent_common::map::{Counters, FileKey, NameFilter, Task, UNWATCHED_PLACES, Unwatched};
use runner_agent_common::offsets::{Offsets, SYSCALLS};
use runner_agent_common::record::probe;
use runner_agent_common::runner::{SERVICES as SERVICES_MOST, ServiceKey};

/// Records that a finding may stand on: file, connect, socket, io_uring, cgroup. Kept apart from the bulk so that a
/// storm of short processes can't push them out. User space sets the size.
#[map]
pub static RING_CRITICAL: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Records that a job can produce at will: process life cycle, argument vectors, DNS messages.
#[map]
pub static RING_BULK: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// The loss equation, one entry a probe.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(probe::COUNT as u32, 0);

/// Processes of jobs by tgid. Written at fork, adoption and exit; user space only reads it.
#[map]
pub static TASKS: HashMap<u32, Task> = HashMap::with_max_entries(32_768, 0);

/// Cgroup (v2) id → slot of the job that lives there. User space writes.
#[map]
pub static JOBS: HashMap<u64, u32> = HashMap::with_max_entries(1024, 0);

/// Cgroup (v2) id of the job that was added last; most often the only one. Spares its processes a hash look-up on every
/// open. User space writes.
#[map]
pub static LATEST_JOB: Array<u64> = Array::with_max_entries(1, 0);

/// One bit per watched name or inode; the first, cheap question.
#[map]
pub static NAME_FILTER: Array<NameFilter> = Array::with_max_entries(1, 0);

/// Hash of a watched name → 1. Asked only where the filter's bit is set.
#[map]
pub static NAMES: HashMap<u64, u32> = HashMap::with_max_entries(8192, 0);

/// Files that some job watches by identity, whatever they are called → 1. Asked only where the filter's bit is set. User space
/// writes.
#[map]
pub static FILES: HashMap<FileKey, u32> = HashMap::with_max_entries(8192, 0);

/// What each job knows by identity: number of the file's class of secret, counted from 1, or [`crate::secret::UNCLASSED`]. User
/// space writes and removes, and the probes write where a secret file is recognised by its path.
#[map]
pub static SECRETS: HashMap<SecretFile, u32> = HashMap::with_max_entries(32_768, 0);

/// 1 where a file may be in [`SECRETS`], by [`runner_agent_common::guard::secret_place`]: spares almost every read the look-up of
/// who it is that reads. Both sides write; user space clears when no job's reads are refused.
#[map]
pub static SECRET_MARKS: Array<u8> = Array::with_max_entries(SECRET_PLACES, 0);

/// How many files of each job whose reads are refused the probes have put into [`SECRETS`], by slot. User space makes and removes
/// the entry, the probes count.
#[map]
pub static LEARNT: HashMap<u32, u64> = HashMap::with_max_entries(64, 0);

/// Files that were opened before and are not watched. Written and read by the open probe alone, without a lock: an entry
/// that two CPUs wrote at once matches no file.
#[map]
pub static UNWATCHED: Array<Unwatched> = Array::with_max_entries(UNWATCHED_PLACES, 0);

/// What holds for a job that the kernel side decides for, by slot. User space writes.
#[map]
pub static JOB_RULES: HashMap<u32, JobRules> = HashMap::with_max_entries(64, 0);

/// The rules, by job, protocol, port and network. User space writes and sets the size.
#[map]
pub static EGRESS: LpmTrie<RuleKey, RuleEntry> = LpmTrie::with_max_entries(1024, 0);

/// Executables that rules name: bits of [`runner_agent_common::egress::Alternative::exes`]. User space writes and sets the
/// size.
#[map]
pub static EXES: HashMap<ExeKey, u64> = HashMap::with_max_entries(1024, 0);

/// How often each rule decided. User space sets the size and reads.
#[map]
pub static RULE_COUNTS: PerCpuArray<RuleCount> = PerCpuArray::with_max_entries(64, 0);

/// What was decided about a socket; goes with the socket.
#[btf_map]
pub static SOCKETS: SkStorage<SocketRuling> = SkStorage::new();

/// Who asked the resolver from which port. The packet probe writes, user space reads.
#[map]
pub static ASKERS: LruHashMap<AskerKey, Asker> = LruHashMap::with_max_entries(ASKERS_MOST, 0);

/// Inode numbers of pipes that may carry a secret. Probes write and read.
#[map]
pub static PIPES: LruHashMap<u64, u32> = LruHashMap::with_max_entries(PIPES_MOST, 0);

/// Secret paths, ends of paths, and names in directories → number of the class, counted from 1. User space writes and sets the
/// size.
#[map]
pub static SECRET_PATHS: HashMap<SecretPath, u32> = HashMap::with_max_entries(8192, 0);

/// Programs that may read secret files, by file: one bit for each class. User space writes.
#[map]
pub static READERS: HashMap<ExeKey, u64> = HashMap::with_max_entries(4096, 0);

/// The same for one program of one process, where its arguments decide. User space writes.
#[map]
pub static TICKETS: LruHashMap<ProgramKey, u64> = LruHashMap::with_max_entries(TICKETS_MOST, 0);

/// What is told and denied of a job's reach, by slot. User space writes.
#[map]
pub static GUARDS: HashMap<u32, GuardRules> = HashMap::with_max_entries(64, 0);

/// Files and directories that a job must leave alone: bits of [`runner_agent_common::guard::guarded`]. User space writes.
#[map]
pub static GUARDED: HashMap<FileKey, u32> = HashMap::with_max_entries(8192, 0);

/// The agent's own processes, by tgid, and their threads: a keeper has several for each of its jobs. User space writes.
#[map]
pub static AGENTS: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// How often the agent was seen to ask whether it is there (signal 0 to itself): proof that programs before functions run. The probe
/// counts, user space reads.
#[map]
pub static PULSE: Array<u64> = Array::with_max_entries(1, 0);

/// Services of the platform, where the whole runner is in scope. User space writes.
#[map]
pub static SERVICES: HashMap<ServiceKey, u32> = HashMap::with_max_entries(SERVICES_MOST, 0);

/// Their cgroups, by (v2) id, and the root where it is the kernel's alone. User space writes.
#[map]
pub static PLATFORM: HashMap<u64, u32> = HashMap::with_max_entries(SERVICES_MOST, 0);

/// Room to build one variable-length record.
#[repr(C)]
pub struct Scratch {
    /// The record: fixed part, then its strings.
    pub record: [u8; RECORD_BYTES],
    /// A path, built from its end; one name's length of slack behind.
    pub path: [u8; PATH_BYTES + 264],
    /// Where the path starts in `path`.
    pub path_start: u32,
    /// 1 when the path's front is missing.
    pub path_truncated: u32,
}

/// Longest path that travels: PATH_MAX.
pub const PATH_BYTES: usize = 4096;

/// Fixed part, two paths and 4 KiB of arguments; or fixed part and one continuation.
pub const RECORD_BYTES: usize = 16_384;

/// Scratch buffers a CPU: probes may be preempted on some kernels, and the next one must not write over the first.
pub const SCRATCH_SLOTS: u32 = 4;

/// Scratch buffers.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SCRATCH_SLOTS, 0);

/// How many hold each scratch buffer, 0 or 1 except for the moment in which two reach for the same.
#[map]
pub static SCRATCH_HELD: PerCpuArray<u64> = PerCpuArray::with_max_entries(SCRATCH_SLOTS, 0);

/// Where fields stand in this kernel. User space overrides it before loading.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = zerocopy::transmute!([0_u8; size_of::<Offsets>()]);

/// Whether this kernel side may have to refuse anything. Where it may not, the verifier never looks at the verdicts.
#[unsafe(no_mangle)]
pub static BLOCKING: u32 = 0;

/// Slot of the job that the whole runner is held to the policy of; 0 where jobs alone are looked at.
#[unsafe(no_mangle)]
pub static RUNNER: u32 = 0;

/// Which operation a system call is, one of [`runner_agent_common::guard::operation`], and above that how it is read, one of
/// [`runner_agent_common::offsets::form`]: by native number, then by 32-bit number.
#[unsafe(no_mangle)]
pub static GUARD_OPERATIONS: [[u16; SYSCALLS]; 2] = [[0; SYSCALLS]; 2];

/// Operations that no hook sees before they happen, of those that are asked about where they can be told afterwards: one bit each, as
/// in [`GuardRules`].
#[unsafe(no_mangle)]
pub static TOLD_AFTERWARDS: u32 = 0;

/// What to do with each system call: low four bits for the native table, high four for the 32-bit one.
#[unsafe(no_mangle)]
pub static SYSCALL_ACTIONS: [u8; SYSCALLS] = [0; SYSCALLS];
