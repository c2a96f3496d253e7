//! Who is running: process identity, and which job it belongs to by lineage or by cgroup.

use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task,
    bpf_ktime_get_boot_ns, bpf_send_signal,
};
use runner_agent_common::egress::job_flag;
use runner_agent_common::map::{Task, task_flag};
use runner_agent_common::record::{Fork, Header, ProcessKey, flag, kind, probe};

use crate::emit;
use crate::kernel::{Address, offset, pipe_on, pointer, read};
use crate::maps::{JOB_RULES, JOBS, LATEST_JOB, PIPES, RING_BULK, TASKS};

/// A process of a job.
#[derive(Clone, Copy)]
pub struct Member {
    /// Address of the `task_struct`.
    pub task: Address,
    /// Its identity.
    pub key: ProcessKey,
    /// Its job.
    pub job: u32,
    /// Bits of [`task_flag`].
    pub flags: u32,
}

/// Nanoseconds since boot.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The current task's address.
#[inline(always)]
pub fn current() -> Address {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Id of the current process.
#[inline(always)]
pub fn current_tgid() -> u32 {
    // SAFETY: the helper has no preconditions.
    (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32
}

/// Cgroup (v2) id of the current task.
#[inline(always)]
pub fn current_cgroup() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_cgroup_id() }
}

/// The job whose cgroup holds the current task.
#[inline(always)]
pub fn job_by_cgroup() -> Option<u32> {
    let level = offset!(job_cgroup_level) as i32;
    // SAFETY: the helper returns 0 for a level that the task's cgroup doesn't have.
    let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
    // SAFETY: the value is copied at once; jobs are only added and removed by user space.
    unsafe { JOBS.get(cgroup) }.copied()
}

/// Whether the current task stands in the cgroup of the latest job: a quick yes, and no more than that.
#[inline(always)]
pub fn is_in_latest_job() -> bool {
    let level = offset!(job_cgroup_level) as i32;
    // SAFETY: as in `job_by_cgroup`.
    let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
    LATEST_JOB.get(0).is_some_and(|latest| *latest == cgroup && cgroup != 0)
}

/// Identity of the process that a task belongs to.
#[inline(always)]
pub fn key_of(task: Address) -> ProcessKey {
    let leader = pointer(task, offset!(task_group_leader));
    ProcessKey {
        start_ns: read(leader + offset!(task_start_boottime)),
        tgid: read(task + offset!(task_tgid)),
        reserved: 0,
    }
}

/// The job member that is running, by lineage first; one that is in a job's cgroup without being known is taken in.
#[inline(always)]
pub fn current_member() -> Option<Member> {
    let task = current();
    let tgid: u32 = read(task + offset!(task_tgid));
    if let Some(member) = known(task, tgid) {
        return Some(member);
    }
    let job = job_by_cgroup()?;
    Some(adopt(task, job))
}

/// The job member of that id, if lineage knows it.
#[inline(always)]
pub fn known(task: Address, tgid: u32) -> Option<Member> {
    // SAFETY: the value is copied at once. An entry is removed when its process exits, so it can't be a predecessor's.
    let entry = unsafe { TASKS.get(tgid) }.copied()?;
    let key = ProcessKey { start_ns: entry.start_ns, tgid, reserved: 0 };
    Some(Member { task, key, job: entry.job, flags: entry.flags })
}

/// Enters a process into a job; false when the map is full, and then its cgroup still decides.
#[inline(always)]
pub fn enter(member: &Member) -> bool {
    let entry = Task { start_ns: member.key.start_ns, job: member.job, flags: member.flags };
    let entered = TASKS.insert(member.key.tgid, entry, 0).is_ok();
    if !entered {
        emit::count_map_full(probe::FORK);
    }
    entered
}

/// Takes in a process that stands in a job's cgroup and was not born to it, and tells user space.
#[inline(always)]
pub fn adopt(task: Address, job: u32) -> Member {
    let member = Member { task, key: key_of(task), job, flags: 0 };
    enter(&member);
    let mut record = Fork {
        header: header(&member, kind::FORK, probe::FORK, size_of::<Fork>()),
        parent: key_of(pointer(task, offset!(task_real_parent))),
        cgroup: current_cgroup(),
    };
    record.header.flags = flag::ADOPTED;
    emit::fixed(&RING_BULK, probe::FORK, &record);
    member
}

/// The front of a record about a member.
#[inline(always)]
pub fn header(member: &Member, kind: u16, probe: u16, len: usize) -> Header {
    header_at(now(), member, kind, probe, len)
}

/// The front of a record about what a member did then.
#[inline(always)]
pub fn header_at(at_ns: u64, member: &Member, kind: u16, probe: u16, len: usize) -> Header {
    Header { at_ns, process: member.key, len: len as u32, job: member.job, flags: 0, kind, probe }
}

/// Notes that a member holds a secret. User space notes it too, for what only it can tell; this is for what is known at
/// once.
#[inline(always)]
pub fn holds_secret(member: &Member) {
    let Some(entry) = TASKS.get_ptr_mut(member.key.tgid) else { return };
    // SAFETY: a live map value; bits are only ever set, and a lost race sets the same one.
    unsafe { (*entry).flags |= task_flag::HOLDS_SECRET };
    taint_pipe(pipe_on(member.task, 1));
}

/// Notes that a pipe may carry a secret, by its inode number; 0 is none.
#[inline(always)]
pub fn taint_pipe(inode: u64) {
    if inode != 0 {
        // A full map lets go of what was unused longest.
        let _ = PIPES.insert(inode, 1, 0);
    }
}

/// Whether a process is a member that holds a secret.
#[inline(always)]
pub fn is_holder(tgid: u32) -> bool {
    // SAFETY: the value is read at once.
    unsafe { TASKS.get(tgid) }.is_some_and(|task| task.flags & task_flag::HOLDS_SECRET != 0)
}

/// Whether what no rule allows is refused for this job.
#[inline(always)]
pub fn is_blocking(job: u32) -> bool {
    // SAFETY: the value is read at once; user space writes it before the job starts.
    unsafe { JOB_RULES.get(job) }.is_some_and(|rules| rules.flags & job_flag::BLOCK != 0)
}

/// Ends the process that runs, before it returns to its program. The last resort where a hook can tell and can't refuse.
#[inline(always)]
pub fn end_current() {
    const SIGKILL: u32 = 9;
    // SAFETY: the helper has no preconditions; that it failed (an ending process) changes nothing.
    unsafe { bpf_send_signal(SIGKILL) };
}
