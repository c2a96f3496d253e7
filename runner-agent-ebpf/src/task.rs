//! Who is running: process identity, and which job it belongs to by lineage or by cgroup.

use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task,
    bpf_ktime_get_boot_ns, bpf_send_signal,
};
use runner_agent_common::egress::job_flag;
use runner_agent_common::guard::ProgramKey;
use runner_agent_common::map::{Task, task_flag};
use runner_agent_common::record::{Fork, Header, ProcessKey, flag, kind, probe};

use crate::emit;
use crate::kernel::{Address, offset, pipe_on, pointer, read};
use crate::maps::{JOB_RULES, JOBS, LATEST_JOB, PIPES, RING_BULK, TASKS};
use crate::runner;
use crate::secret;

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
    /// Classes of secret files that its program may read, see [`Task::reads`].
    pub reads: u64,
    /// The program that it runs.
    pub program: ProgramKey,
}

/// No program yet: what a process runs that was taken in is not known.
pub const NO_PROGRAM: ProgramKey = ProgramKey { at_ns: 0, tgid: 0, reserved: 0 };

impl Member {
    /// A process that was there before the job knew it. It may read what its executable may.
    #[inline(always)]
    pub fn taken_in(task: Address, job: u32, flags: u32) -> Self {
        let exe = pointer(pointer(task, offset!(task_mm)), offset!(mm_exe_file));
        Self { task, key: key_of(task), job, flags, reads: secret::readable_by(exe, job), program: NO_PROGRAM }
    }
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

/// The same where a packet is looked at: the helper for it is there since 6.10 only.
#[inline(always)]
pub fn current_tgid_at_packet() -> u32 {
    read(current() + offset!(task_tgid))
}

/// Cgroup (v2) id of the current task.
#[inline(always)]
pub fn current_cgroup() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Cgroup (v2) id of the current task's cgroup, or of the one above it, that stands at the level of jobs; 0 if there is
/// none.
#[inline(always)]
fn cgroup_at_job_level() -> u64 {
    let level = offset!(job_cgroup_level);
    let ids = offset!(cgroup_ancestor_ids);
    if ids == 0 {
        // SAFETY: the helper returns 0 for a level that the task's cgroup doesn't have.
        return unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
    }
    // Kernels that keep the ids in a table don't all give tracepoints the helper. This is what it would do.
    let cgroup = pointer(pointer(current(), offset!(task_cgroups)), offset!(css_set_dfl_cgrp));
    if u64::from(read::<u32>(cgroup + offset!(cgroup_level))) < level { 0 } else { read(cgroup + ids + level * 8) }
}

/// The job whose cgroup holds the current task.
#[inline(always)]
pub fn job_by_cgroup() -> Option<u32> {
    let cgroup = cgroup_at_job_level();
    // SAFETY: the value is copied at once; jobs are only added and removed by user space.
    unsafe { JOBS.get(cgroup) }.copied()
}

/// The job that the current task belongs to, or is held to the policy of, with the flags that it begins with.
#[inline(always)]
fn job_of(task: Address) -> Option<(u32, u32)> {
    if let Some(job) = job_by_cgroup() {
        // A job that pulls the agent into its cgroup doesn't make it one of its own.
        return if runner::is_agents(current_tgid()) { None } else { Some((job, 0)) };
    }
    if runner::slot() == 0 {
        return None;
    }
    let job = runner::slot_of(task);
    if job == 0 { None } else { Some((job, task_flag::RUNNERS)) }
}

/// Whether a member of a job has gone from the job's cgroup.
#[inline(always)]
pub fn has_left(member: &Member) -> bool {
    member.flags & task_flag::RUNNERS == 0 && job_by_cgroup() != Some(member.job)
}

/// Whether a member stands where the job's cgroup hooks don't run.
#[inline(always)]
pub fn is_out_of_reach(member: &Member) -> bool {
    runner::slot() == 0 && job_by_cgroup() != Some(member.job)
}

/// Whether the current task stands in the cgroup of the latest job: a quick yes, and no more than that.
#[inline(always)]
pub fn is_in_latest_job() -> bool {
    let cgroup = cgroup_at_job_level();
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
    let (job, flags) = job_of(task)?;
    Some(adopt(task, job, flags))
}

/// The job member of that id, if lineage knows it.
#[inline(always)]
pub fn known(task: Address, tgid: u32) -> Option<Member> {
    // SAFETY: the value is copied at once. An entry is removed when its process exits, so it can't be a predecessor's.
    let entry = unsafe { TASKS.get(tgid) }.copied()?;
    let key = ProcessKey { start_ns: entry.start_ns, tgid, reserved: 0 };
    Some(Member { task, key, job: entry.job, flags: entry.flags, reads: entry.reads, program: entry.program })
}

/// Enters a process into a job; false when the map is full, and then its cgroup still decides.
#[inline(always)]
pub fn enter(member: &Member) -> bool {
    let entry = Task {
        start_ns: member.key.start_ns,
        reads: member.reads,
        program: member.program,
        job: member.job,
        flags: member.flags,
    };
    let entered = TASKS.insert(member.key.tgid, entry, 0).is_ok();
    if !entered {
        emit::count_map_full(probe::FORK);
    }
    entered
}

/// The same for a probe that needs most of its stack itself, and has room for no function below it.
#[inline(always)]
pub fn current_member_here() -> Option<Member> {
    let task = current();
    let tgid: u32 = read(task + offset!(task_tgid));
    if let Some(member) = known(task, tgid) {
        return Some(member);
    }
    let (job, flags) = job_of(task)?;
    Some(adopt_here(task, job, flags))
}

/// Takes in a process that stands in a job's cgroup and was not born to it, and tells user space. A function of its own: all
/// probes ask who runs, and few have room on their stack for this.
#[inline(never)]
fn adopt(task: Address, job: u32, flags: u32) -> Member {
    adopt_here(task, job, flags)
}

#[inline(always)]
fn adopt_here(task: Address, job: u32, flags: u32) -> Member {
    let member = Member::taken_in(task, job, flags);
    enter(&member);
    let mut record = Fork {
        header: header(&member, kind::FORK, probe::FORK, size_of::<Fork>()),
        parent: key_of(pointer(task, offset!(task_real_parent))),
        cgroup: current_cgroup(),
    };
    record.header.flags |= flag::ADOPTED;
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
    let flags = if runner::slot() != 0 && member.flags & task_flag::RUNNERS != 0 { flag::RUNNERS } else { 0 };
    Header { at_ns, process: member.key, len: len as u32, job: member.job, flags, kind, probe }
}

/// Notes that a member that was the runner's is its job's.
#[inline(always)]
pub fn is_jobs(tgid: u32) {
    let Some(entry) = TASKS.get_ptr_mut(tgid) else { return };
    // SAFETY: a live map value. Other bits are only ever set, by the process that is being moved here.
    unsafe { (*entry).flags &= !task_flag::RUNNERS };
}

/// Notes which program a member runs now.
#[inline(always)]
pub fn runs(member: &Member, program: ProgramKey, reads: u64) {
    let Some(entry) = TASKS.get_ptr_mut(member.key.tgid) else { return };
    // SAFETY: a live map value. The process is in the middle of its exec, so nobody asks meanwhile.
    unsafe { (*entry).program = program };
    // SAFETY: as above.
    unsafe { (*entry).reads = reads };
}

/// Whether the task is inside a 32-bit system call.
#[inline(always)]
pub fn is_compat(task: Address) -> bool {
    u64::from(read::<u32>(task + offset!(task_compat))) & offset!(compat_mark) != 0
}

/// Inode number of the mount namespace that a task is in.
#[inline(always)]
pub fn mount_namespace(task: Address) -> u32 {
    let proxy = pointer(task, offset!(task_nsproxy));
    read(pointer(proxy, offset!(nsproxy_mnt_ns)) + offset!(mnt_namespace_inum))
}

/// Inode number of the network namespace that a task is in.
#[inline(always)]
pub fn network(task: Address) -> u32 {
    let proxy = pointer(task, offset!(task_nsproxy));
    read(pointer(proxy, offset!(nsproxy_net_ns)) + offset!(net_inum))
}

/// Whether a task sees the agent's own file tree.
#[inline(always)]
pub fn is_in_agents_mounts(task: Address) -> bool {
    u64::from(mount_namespace(task)) == offset!(agent_mount_namespace)
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
