//! What a job may not touch: the agent, the runner, the kernel. One place that decides, and tells.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use runner_agent_common::guard::{GuardRules, guarded, name_key, operation};
use runner_agent_common::map::{FileKey, task_flag};
use runner_agent_common::record::{Guard, ProcessKey, flag, kind, probe};

use crate::emit;
use crate::kernel::{Address, any, offset, pointer, read};
use crate::maps::{AGENTS, GUARDED, GUARDS, JOBS, RING_CRITICAL, Scratch, TASKS, TOLD_AFTERWARDS};
use crate::path::{self, Dentry};
use crate::secret;
use crate::task::{self, Member};
use crate::watch::name_hash;

/// The function is not called, and its caller gets EPERM.
pub const REFUSE: i32 = -1;

/// The function is called.
pub const PASS: i32 = 0;

/// What a job wanted to do.
#[derive(Clone, Copy)]
pub struct Attempt {
    /// One of [`runner_agent_common::guard::operation`].
    pub operation: u16,
    /// The process that was meant.
    pub target: ProcessKey,
    /// What else there is to say.
    pub detail: u64,
    /// Whether it failed by itself.
    pub failed: u16,
    /// Whether it is over: then it can be told, and nothing of it is denied any more.
    pub is_over: bool,
}

impl Attempt {
    /// An attempt that is about no process.
    #[inline(always)]
    pub fn new(operation: u16, detail: u64) -> Self {
        let operation = any(operation);
        Self { operation, target: ProcessKey { start_ns: 0, tgid: 0, reserved: 0 }, detail, failed: 0, is_over: false }
    }

    /// The same, told when it is over.
    #[inline(always)]
    pub fn over(operation: u16, detail: u64) -> Self {
        Self { is_over: true, ..Self::new(operation, detail) }
    }

    /// An attempt at a process.
    #[inline(always)]
    pub fn at(operation: u16, target: Address, detail: u64) -> Self {
        Self { target: task::key_of(target), ..Self::new(operation, detail) }
    }
}

/// What is told and denied for a job.
#[inline(always)]
pub fn rules_of(job: u32) -> GuardRules {
    // SAFETY: the value is copied at once; user space replaces it whole.
    unsafe { GUARDS.get(job) }.copied().unwrap_or(GuardRules::default())
}

/// Tells of an attempt, and says what becomes of it.
#[inline(always)]
pub fn answer(member: &Member, attempt: &Attempt) -> i32 {
    let Some(is_denied) = is_denied(member, attempt) else { return PASS };
    let record = record(member, attempt, is_denied, 0);
    emit::fixed(&RING_CRITICAL, probe::GUARD, &record);
    if is_denied { REFUSE } else { PASS }
}

/// The same for an attempt at a file, whose `struct path` is given.
#[inline(never)]
pub fn answer_at(member: &Member, attempt: &Attempt, place: Address) -> i32 {
    let Some(is_denied) = is_denied(member, attempt) else { return PASS };
    emit::with_scratch(probe::GUARD, |scratch| {
        path::walk(place, scratch);
        tell_with_path(member, attempt, is_denied, scratch);
    });
    if is_denied { REFUSE } else { PASS }
}

/// The same for an attempt at a file that is known by its name alone.
#[inline(always)]
pub fn answer_named(member: &Member, attempt: &Attempt, dentry: Address) -> i32 {
    let Some(is_denied) = is_denied(member, attempt) else { return PASS };
    emit::with_scratch(probe::GUARD, |scratch| {
        let fixed = size_of::<Guard>() as u32;
        let len = read::<u32>(dentry + offset!(dentry_name_len)) & 0xff;
        let name = pointer(dentry, offset!(dentry_name));
        // SAFETY: the record has room for 255 bytes behind the fixed part; the helper checks the source.
        let target = unsafe { scratch.record.as_mut_ptr().add(fixed as usize) };
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel(target.cast(), len, name as *const _) };
        let record = record(member, attempt, is_denied, len);
        emit::put(scratch, &record);
        emit::scratch(&RING_CRITICAL, probe::GUARD, scratch, u64::from(fixed + len));
    });
    if is_denied { REFUSE } else { PASS }
}

/// Tells of an attempt at a file that is over, where the path's walk has been made and its text lies in the scratch buffer: a third
/// walk is more than the verifier of 5.10 goes through in a program that has two.
#[inline(always)]
pub fn tell_walked(member: &Member, attempt: &Attempt, scratch: &mut Scratch) {
    if is_denied(member, attempt).is_some() {
        tell_with_path(member, attempt, false, scratch);
    }
}

#[inline(always)]
fn tell_with_path(member: &Member, attempt: &Attempt, is_denied: bool, scratch: &mut Scratch) {
    let fixed = size_of::<Guard>() as u32;
    let path_len = path::append(scratch, fixed);
    let mut record = record(member, attempt, is_denied, path_len);
    record.header.flags |= scratch.path_truncated * flag::PATH_TRUNCATED;
    emit::put(scratch, &record);
    emit::scratch(&RING_CRITICAL, probe::GUARD, scratch, u64::from(fixed + path_len));
}

/// Whether an operation is denied; nothing when it isn't even told.
#[inline(always)]
fn is_denied(member: &Member, attempt: &Attempt) -> Option<bool> {
    let rules = rules_of(member.job);
    let bit = 1_u32 << (attempt.operation & 31);
    if (rules.tells | rules.denies) & bit == 0 { None } else { Some(rules.denies & bit != 0 && !attempt.is_over) }
}

#[inline(always)]
fn record(member: &Member, attempt: &Attempt, is_denied: bool, path_len: u32) -> Guard {
    let len = size_of::<Guard>() + path_len as usize;
    let mut record = Guard {
        header: task::header(member, kind::GUARD, probe::GUARD, len),
        target: attempt.target,
        detail: attempt.detail,
        operation: attempt.operation,
        failed: attempt.failed,
        path_len,
    };
    if is_denied {
        record.header.flags |= flag::REFUSED;
    }
    record
}

/// Whether an operation is told when it has happened, because no hook sees it before.
#[inline(always)]
pub fn is_told_afterwards(operation: u16) -> bool {
    // SAFETY: a plain load from a static; volatile because user space replaces the value before loading.
    unsafe { core::ptr::read_volatile(&raw const TOLD_AFTERWARDS) & (1 << operation) != 0 }
}

/// Whether whoever is named so to kill(2) and its like is, or holds, the agent: a process, a thread, a group, or everybody.
#[inline(always)]
pub fn names_agent(number: u32) -> bool {
    // SAFETY: only whether the key exists is asked.
    unsafe { AGENTS.get(number) }.is_some()
}

/// Whether a process belongs to a job other than a member's, or to none: the runner's processes are outside for the job, though
/// both are held to the same policy, and so is what the job has pulled into its cgroup. By lineage, and for what lineage doesn't
/// know yet by nothing: then it has done nothing so far.
#[inline(always)]
pub fn is_outside(member: &Member, tgid: u32) -> bool {
    // SAFETY: the value is read at once.
    let Some(task) = (unsafe { TASKS.get(tgid) }) else { return true };
    task.job != member.job || task.flags & !member.flags & (task_flag::RUNNERS | task_flag::PULLED_IN) != 0
}

/// Bits of [`runner_agent_common::guard::guarded`] of a file or directory.
#[inline(always)]
pub fn guarded(inode: Address) -> u32 {
    guarded_as(secret::key_of(inode))
}

/// The same of what a key stands for.
#[inline(always)]
pub fn guarded_as(key: FileKey) -> u32 {
    // SAFETY: the value is copied at once.
    unsafe { GUARDED.get(key) }.copied().unwrap_or_default()
}

/// What a change of a name in a folder would be an attempt at, by the folder's inode and the name's directory entry; 0 for
/// nothing. What is done to the agent's own is `at_agent`.
#[inline(never)]
pub fn entry_operation(folder: Address, dentry: Address, at_agent: u16) -> u16 {
    let above = guarded(folder);
    let inode = pointer(dentry, offset!(dentry_inode));
    let own = if inode == 0 { 0 } else { guarded(inode) };
    if above & guarded::ENTRIES != 0 || own & (guarded::CONTENT | guarded::COVER) != 0 {
        return at_agent;
    }
    if above & guarded::STARTED != 0 || own & (guarded::STARTED | guarded::LEADS) != 0 {
        return operation::SETTING;
    }
    if above & guarded::LEADS != 0 && is_guarded_name(folder, dentry) { operation::SETTING } else { 0 }
}

/// Whether what has this name in that folder is started by the kernel, or read by what is. A function of its own, because a
/// probe's stack is short.
#[inline(never)]
fn is_guarded_name(folder: Address, dentry: Address) -> bool {
    let entry: Dentry = read(dentry + offset!(dentry_parent));
    guarded_as(name_key(secret::key_of(folder), name_hash(dentry, &entry))) & guarded::STARTED != 0
}

/// Levels of nesting below a job's cgroup that are recognised as inside.
const MAX_DEPTH: u32 = 16;

/// The job whose cgroup this directory is, or lies below; 0 for none. (An `Option` would leave a register unset, which
/// verifiers refuse to copy.)
#[inline(always)]
pub fn job_above(mut node: Address) -> u32 {
    for _ in 0..MAX_DEPTH {
        let id: u64 = read(node + offset!(kernfs_id));
        // SAFETY: the value is copied at once; only user space changes this map.
        if let Some(job) = unsafe { JOBS.get(id) } {
            return *job;
        }
        node = pointer(node, offset!(kernfs_parent));
        if node == 0 {
            return 0;
        }
    }
    0
}
