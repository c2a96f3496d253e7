//! What a job does to processes that aren't its own.
//!
//! Hooks: `security_ptrace_access_check(child, mode)`, `security_task_kill(p, info, sig, cred)`,
//! `security_file_send_sigiotask(task, fown, sig)`, `security_task_setscheduler(p)`, `security_task_setnice(p, nice)`,
//! `security_task_setrlimit(p, resource, limit)`, `security_perf_event_open(…, type)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Sees: ptrace(2), `/proc/PID/{mem,environ,maps,fd,…}`, process_vm_readv(2), pidfd_getfd(2), signals to the agent by any
//! call and by a file's owner (`F_SETOWN`), whatever would starve it, and what samples all programs of a CPU; with
//! `security_file_open`, reads of another's environment and maps. Misses: `cgroup.kill` and `cgroup.freeze`, which
//! `reach.rs` sees being opened.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::{MODE_READ, operation, priority};
use runner_agent_common::map::{hash_name, part};

use crate::emit;
use crate::guard::{self, Attempt, PASS, REFUSE};
use crate::kernel::{Address, argument, offset, pointer, read};
use crate::maps::PULSE;
use crate::path::Place;
use crate::procfs;
use crate::runner;
use crate::task::{self, Member};
use crate::watch::name_hash;

/// `PTRACE_MODE_NOAUDIT`, from linux/ptrace.h.
const MODE_NOAUDIT: u64 = 4;

/// A process is about to look into another, or to take control of it.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    let mode = argument(&ctx, 1);
    // Lists of processes ask so for each line, and do without where they may not.
    if mode & MODE_NOAUDIT != 0 {
        return PASS;
    }
    let target: Address = argument(&ctx, 0);
    let Some(member) = task::current_member() else { return PASS };
    let tgid: u32 = read(target + offset!(task_tgid));
    if !guard::is_outside(&member, tgid) {
        return PASS;
    }
    let operation = match mode & MODE_READ {
        0 if runner::is_agents(tgid) => operation::TRACE_AGENT,
        0 => operation::TRACE,
        _ => operation::INSPECT,
    };
    guard::answer(&member, &Attempt::at(operation, target, mode))
}

const ENVIRONMENT: u64 = hash_name(part::NAME, b"environ");

/// What `/proc` shows of a process's memory to whoever may read it or, since 6.16, watch performance.
const SHOWN: [u64; 7] = [
    ENVIRONMENT,
    hash_name(part::NAME, b"auxv"),
    hash_name(part::NAME, b"maps"),
    hash_name(part::NAME, b"smaps"),
    hash_name(part::NAME, b"smaps_rollup"),
    hash_name(part::NAME, b"numa_maps"),
    hash_name(part::NAME, b"pagemap"),
];

/// Judges a file that a member opens for reading. Since 6.16 the kernel shows environment and maps to who has `CAP_PERFMON`,
/// whatever the hook of its first question has said; so the open is refused, before it asks. Where it is told and not refused,
/// that hook tells. The agent's own environment has what only it may know, and is refused under any policy.
#[inline(never)]
pub(super) fn opening(member: &Member, file: Address) -> i32 {
    let inode = pointer(file, offset!(file_inode));
    if !procfs::holds(inode) {
        return PASS;
    }
    let place = Place::of(file + offset!(file_path));
    let name = name_hash(place.dentry, &place.entry());
    if !SHOWN.contains(&name) {
        return PASS;
    }
    let target = procfs::task_of(procfs::pid_of(inode));
    let tgid: u32 = read(target + offset!(task_tgid));
    if target == 0 || !guard::is_outside(member, tgid) {
        return PASS;
    }
    let operation = if name == ENVIRONMENT && runner::is_agents(tgid) {
        operation::TRACE_AGENT
    } else if guard::rules_of(member.job).denies & (1 << operation::INSPECT) != 0 {
        operation::INSPECT
    } else {
        return PASS;
    };
    guard::answer(member, &Attempt::at(operation, target, MODE_READ))
}

/// A signal is about to be sent.
#[lsm(hook = "task_kill")]
pub fn task_kill(ctx: LsmContext) -> i32 {
    let signal = argument(&ctx, 2) & 0xffff_ffff;
    if signal != 0 {
        return meant_for_agent(&ctx, operation::SIGNAL, signal);
    }
    // Signal 0 only asks whether there is somebody; the agent asks so whether it is still seen.
    let target: u32 = read(argument(&ctx, 0) + offset!(task_tgid));
    if target == task::current_tgid()
        && runner::is_agents(target)
        && let Some(pulse) = PULSE.get_ptr_mut(0)
    {
        emit::count(pulse);
    }
    PASS
}

/// A file is about to signal who it was given to (`F_SETOWN`). Whoever runs is who made the file ready, which may be anybody:
/// the agent has no use for such signals, so that none is let through.
#[lsm(hook = "file_send_sigiotask")]
pub fn file_send_sigiotask(ctx: LsmContext) -> i32 {
    const SIGIO: u64 = 29;
    let target: Address = argument(&ctx, 0);
    if !runner::is_agents(read(target + offset!(task_tgid))) {
        return PASS;
    }
    let signal = argument(&ctx, 2) & 0xffff_ffff;
    if let Some(member) = task::current_member() {
        let signal = if signal == 0 { SIGIO } else { signal };
        guard::answer(&member, &Attempt::at(operation::SIGNAL, target, signal));
    }
    REFUSE
}

/// Events are about to be watched. Those of a process ask `security_ptrace_access_check` besides.
#[lsm(hook = "perf_event_open")]
pub fn perf_event_open(ctx: LsmContext) -> i32 {
    /// `PERF_SECURITY_CPU`, from linux/perf_event.h: all programs of a CPU.
    const CPU: u64 = 1;
    /// Kernels before 6.16 pass the attributes first.
    const SMALL: u64 = 16;
    let first = argument(&ctx, 0);
    let kind = if first < SMALL { first } else { argument(&ctx, 1) & 0xffff_ffff };
    if kind != CPU {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    guard::answer(&member, &Attempt::new(operation::PROBE, 0))
}

/// A process is about to get another scheduling class or other processors.
#[lsm(hook = "task_setscheduler")]
pub fn task_setscheduler(ctx: LsmContext) -> i32 {
    meant_for_agent(&ctx, operation::PRIORITY, priority::SCHEDULER)
}

/// A process is about to get another nice value.
#[lsm(hook = "task_setnice")]
pub fn task_setnice(ctx: LsmContext) -> i32 {
    meant_for_agent(&ctx, operation::PRIORITY, priority::NICE)
}

/// A process is about to get another limit.
#[lsm(hook = "task_setrlimit")]
pub fn task_setrlimit(ctx: LsmContext) -> i32 {
    meant_for_agent(&ctx, operation::PRIORITY, priority::LIMIT)
}

/// The process is the function's first argument.
#[inline(always)]
fn meant_for_agent(ctx: &LsmContext, operation: u16, detail: u64) -> i32 {
    let target: Address = argument(ctx, 0);
    if !runner::is_agents(read(target + offset!(task_tgid))) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    guard::answer(&member, &Attempt::at(operation, target, detail))
}
