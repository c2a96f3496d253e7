//! Processes that change cgroup: into a job, within it, or out of it.
//!
//! Hook: raw tracepoint `cgroup_attach_task(cgroup, path, task, threadgroup)`. Kernel floor: 5.5.
//! Sees: every move of a process through `cgroup.procs`, by whomever.
//! Misses: a child born straight into another cgroup (`CLONE_INTO_CGROUP`); its exec says where it is.
//!
//! Where the job is blocked, a member that moves a member out is ended: outside, the job's address hooks don't run. The
//! one that was moved, if that is another, is ended by user space. A member that pulls somebody else in is ended there too,
//! and in every mode where it is the agent that it reaches for: with a cgroup come its limits, and `cgroup.kill`.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use runner_agent_common::guard::operation;
use runner_agent_common::map::task_flag;
use runner_agent_common::record::{CgroupMove, Fork, flag, kind, probe};

use crate::emit;
use crate::guard::{self, Attempt};
use crate::kernel::{Address, offset, pointer, read};
use crate::maps::{RING_BULK, RING_CRITICAL};
use crate::runner;
use crate::task::{self, Member};

/// A process was moved.
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach(ctx: RawTracePointContext) -> i32 {
    let cgroup: Address = ctx.arg(0);
    let task: Address = ctx.arg(2);
    let root = pointer(cgroup, offset!(cgroup_root));
    // Hierarchy 0 is the v2 hierarchy; the same tracepoint tells of the old ones.
    if read::<u32>(root + offset!(cgroup_root_hierarchy_id)) != 0 {
        return 0;
    }
    let node = pointer(cgroup, offset!(cgroup_kn));
    let to: u64 = read(node + offset!(kernfs_id));
    let target = Some(guard::job_above(node)).filter(|job| *job != 0);
    let tgid: u32 = read(task + offset!(task_tgid));
    match (task::known(task, tgid), target) {
        (Some(member), target) => {
            let is_inside = target == Some(member.job);
            if member.flags & task_flag::RUNNERS != 0 {
                // Services move their own as they like. Who comes into the job's cgroup is the job's from then on.
                if is_inside {
                    task::is_jobs(tgid);
                } else {
                    return 0;
                }
            }
            let mut record = CgroupMove {
                header: task::header(&member, kind::CGROUP_MOVE, probe::CGROUP_MOVE, size_of::<CgroupMove>()),
                by: task::key_of(task::current()),
                to,
                inside: u32::from(is_inside),
                reserved: 0,
            };
            // The runner may move what it likes; a job may not.
            let by_the_job = task::known(task::current(), record.by.tgid).is_some();
            if !is_inside && by_the_job && runner::slot() == 0 && task::is_blocking(member.job) {
                record.header.flags |= flag::KILLED;
                task::end_current();
            }
            emit::fixed(&RING_CRITICAL, probe::CGROUP_MOVE, &record);
        }
        (None, Some(job)) => {
            let mover = task::known(task::current(), task::current_tgid());
            let is_agents = runner::is_agents(tgid);
            if let Some(mover) = &mover {
                let operation = if is_agents { operation::TRACE_AGENT } else { operation::CGROUP };
                let attempt = Attempt { is_over: true, ..Attempt::at(operation, task, 0) };
                guard::answer(mover, &attempt);
                if is_agents || task::is_blocking(mover.job) {
                    task::end_current();
                }
            }
            if is_agents {
                return 0;
            }
            let member = Member::taken_in(task, job, if mover.is_some() { task_flag::PULLED_IN } else { 0 });
            task::enter(&member);
            let mut record = Fork {
                header: task::header(&member, kind::FORK, probe::FORK, size_of::<Fork>()),
                parent: task::key_of(pointer(task, offset!(task_real_parent))),
                cgroup: to,
            };
            record.header.flags |= flag::ADOPTED;
            emit::fixed(&RING_BULK, probe::FORK, &record);
        }
        (None, None) => {}
    }
    0
}
