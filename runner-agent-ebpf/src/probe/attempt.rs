//! System calls against the agent, the runner or the kernel, told when they return: what the tracepoint tier has, and on every
//! tier what no `security_*` function is asked about.
//!
//! Hook: raw tracepoint `sys_exit`, by way of `syscall.rs`.
//! Sees: native and 32-bit calls. Misses: clone3(2) whose maker writes over its flags before the child runs (they share memory,
//! and vfork's wait is not asked for), kill(0, …) by whoever is of the agent's own group, and numbers of processes in another
//! pid namespace, which mean somebody else there. Nothing of this is denied: it has happened.

use runner_agent_common::guard::{operation, priority};
use runner_agent_common::offsets::{SYSCALLS, form};
use runner_agent_common::record::ProcessKey;

use crate::guard::{self, Attempt};
use crate::kernel::{Address, any, file_on, offset, pointer, read, read_user};
use crate::maps::GUARD_OPERATIONS;
use crate::runner;
use crate::task::Member;

use super::waiting::{self, lock};

/// `PTRACE_ATTACH` and `PTRACE_SEIZE`.
const TAKES_CONTROL: [u64; 2] = [16, 0x4206];

/// Commands of fcntl(2); the second takes `struct f_owner_ex`: a kind, and a process or group.
const F_SETOWN: u64 = 8;
const F_SETOWN_EX: u64 = 15;

const SIGIO: u64 = 29;

/// Commands of fcntl(2) that lock a file: the first takes the kind of lease, the others `struct flock`, which begins with the kind of
/// lock: for this process, also by numbers that 32-bit calls have for themselves, and for this open file.
const F_SETLEASE: u64 = 1024;
const F_SETLK: [u64; 6] = [6, 7, 13, 14, 37, 38];

/// Flags of flock(2).
const LOCK_SH: u64 = 1;
const LOCK_EX: u64 = 2;
const LOCK_NB: u64 = 4;

/// Flag of fanotify_mark(2).
const FAN_MARK_ADD: u64 = 1;

/// Tells of a call that has returned; `is_compat` when it was a 32-bit one.
#[inline(never)]
pub(super) fn told(member: &Member, regs: Address, number: u64, result: i64, is_compat: bool) {
    if number >= SYSCALLS as u64 {
        return;
    }
    // So that the verifier goes through what is below once, and not for each kind of call.
    let is_compat = any(u64::from(is_compat)) & 1;
    let entry = number + is_compat * SYSCALLS as u64;
    // SAFETY: `number` is below the length of each of the two tables.
    let entry = unsafe { GUARD_OPERATIONS.as_ptr().cast::<u16>().add(entry as usize) };
    // SAFETY: as above; volatile because user space replaces the table before loading.
    let entry = unsafe { core::ptr::read_volatile(entry) };
    let (operation, form) = (entry & 0xff, entry >> form::SHIFT);
    if operation == 0 {
        return;
    }
    let [first, second, third] = arguments(regs, is_compat != 0);
    let mut attempt = Attempt::over(operation, first);
    attempt.failed = u16::from(result < 0);
    let lock = match form {
        form::FLOCK => kind_of_flock(second),
        form::OWNER if second == F_SETLEASE => third,
        form::OWNER if F_SETLK.contains(&second) => u64::from(read_user::<u16>(third).unwrap_or_default()),
        _ => lock::NONE,
    };
    if lock != lock::NONE && !waiting::is_agents(file_on(member.task, first), lock) {
        return;
    }
    match operation {
        _ if lock != lock::NONE => (attempt.operation, attempt.detail) = (operation::PRIORITY, priority::WAIT),
        operation::PRIORITY if form == form::FLOCK => return,
        operation::PRIORITY if form == form::MARK => {
            if second & FAN_MARK_ADD == 0 || !waiting::waits(third) {
                return;
            }
            attempt.detail = priority::WAIT;
        }
        operation::SIGNAL => {
            let (target, signal) = match form {
                // Which signal it will be is said by another call, and is this one otherwise.
                form::OWNER if second == F_SETOWN => (own_number(member.task, third), SIGIO),
                form::OWNER if second == F_SETOWN_EX => {
                    (own_number(member.task, u64::from(read_user::<u32>(third + 4).unwrap_or_default())), SIGIO)
                }
                form::OWNER => return,
                form::PIDFD => (pid_behind(member.task, first), second),
                form::THREAD => (own_number(member.task, first), third),
                _ => (own_number(member.task, first), second),
            };
            if signal == 0 || !guard::names_agent(target) {
                return;
            }
            attempt.target = process(target);
            attempt.detail = signal;
        }
        operation::TRACE => {
            let target = match form {
                form::PTRACE if !TAKES_CONTROL.contains(&first) => return,
                form::PTRACE => own_number(member.task, second),
                form::PIDFD => pid_behind(member.task, first),
                _ => own_number(member.task, first),
            };
            if target == 0 || !guard::is_outside(member, target) {
                return;
            }
            attempt.target = process(target);
            attempt.detail = 0;
            if runner::is_agents(target) {
                attempt.operation = operation::TRACE_AGENT;
            }
        }
        operation::PRIORITY => {
            let (target, what) = match form {
                form::SETPRIORITY if first != 0 => return,
                form::SETPRIORITY => (second, priority::NICE),
                form::PRLIMIT if third == 0 => return,
                form::PRLIMIT => (first, priority::LIMIT),
                _ => (first, priority::SCHEDULER),
            };
            let target = own_number(member.task, target);
            if !guard::names_agent(target) {
                return;
            }
            attempt.target = process(target);
            attempt.detail = what;
        }
        operation::CLOCK => {
            // These two also only ask: what they are to change is the first word of what they are given.
            let asked = match form {
                form::ADJTIMEX => read_user::<u32>(first),
                form::CLOCK_ADJTIME => read_user::<u32>(second),
                _ => Some(1),
            };
            if asked.unwrap_or_default() == 0 {
                return;
            }
            attempt.detail = 0;
        }
        operation::NAMESPACE => {
            // The child that clone(2) makes returns from it too, where it is already, and not every kernel tells; the low byte is a
            // signal's number.
            let is_child = result == 0;
            attempt.detail = match form {
                form::SETNS => second,
                form::CLONE if is_child => first & !0xff,
                form::CLONE_BY_PARENT if result > 0 => first & !0xff,
                form::CLONE3 if is_child && !is_plain_thread(member.task) => flags_of_clone3(first),
                form::CLONE3_BY_PARENT if result > 0 => flags_of_clone3(first),
                form::CLONE | form::CLONE3 | form::CLONE_BY_PARENT | form::CLONE3_BY_PARENT => return,
                _ => first,
            };
            // setns(2) takes a file of any kind without a word of which.
            if form != form::SETNS && attempt.detail & NEW_NAMESPACES == 0 {
                return;
            }
        }
        operation::PROBE if second as u32 != u32::MAX => return,
        operation::BPF | operation::REBOOT => {}
        _ => attempt.detail = 0,
    }
    guard::answer(member, &attempt);
}

/// Whether a native call is looked at for an operation, whatever else it is looked at for.
#[inline(always)]
pub(super) fn is_told(number: u64) -> bool {
    if number >= SYSCALLS as u64 {
        return false;
    }
    // SAFETY: `number` is below the length of the first table.
    let entry = unsafe { GUARD_OPERATIONS.as_ptr().cast::<u16>().add(number as usize) };
    // SAFETY: as above; volatile because user space replaces the table before loading.
    (unsafe { core::ptr::read_volatile(entry) }) != 0
}

/// What flock(2) is asked for, in the words of fcntl(2).
#[inline(always)]
fn kind_of_flock(flags: u64) -> u64 {
    match flags & !LOCK_NB {
        LOCK_SH => lock::SHARED,
        LOCK_EX => lock::ALONE,
        _ => lock::NONE,
    }
}

/// The first three arguments.
#[inline(always)]
fn arguments(regs: Address, is_compat: bool) -> [u64; 3] {
    if is_compat {
        let low = |register| any(u64::from(read::<u32>(regs + register)));
        [low(offset!(regs_compat_arg0)), low(offset!(regs_compat_arg1)), low(offset!(regs_compat_arg2))]
    } else {
        let whole = |register| any(read::<u64>(regs + register));
        [whole(offset!(regs_arg0)), whole(offset!(regs_arg1)), whole(offset!(regs_arg2))]
    }
}

/// The flags stand first in what it is given.
#[inline(always)]
fn flags_of_clone3(arguments: u64) -> u64 {
    read_user::<u64>(arguments).unwrap_or_default()
}

/// Whether a task is a thread in the namespaces of its process. What clone3(2) was given lies in memory that it shares with who made
/// it, and may hold something else by now.
#[inline(always)]
fn is_plain_thread(task: Address) -> bool {
    let leader = pointer(task, offset!(task_group_leader));
    leader != task && pointer(leader, offset!(task_nsproxy)) == pointer(task, offset!(task_nsproxy))
}

/// `s_magic`, from linux/magic.h.
const PIDFS: u64 = 0x5049_4446;

/// `CLONE_NEW*` of linux/sched.h.
const NEW_NAMESPACES: u64 = 0x7e02_0080;

#[inline(always)]
fn process(tgid: u32) -> ProcessKey {
    ProcessKey { start_ns: 0, tgid, reserved: 0 }
}

/// A process by the number that a caller has for it; 0 where that number is of another pid namespace.
#[inline(always)]
fn own_number(task: Address, number: u64) -> u32 {
    let pid = pointer(task, offset!(task_thread_pid));
    if read::<u32>(pid + offset!(pid_level)) == 0 { number as u32 } else { 0 }
}

/// The process that a pidfd means.
#[inline(always)]
fn pid_behind(task: Address, descriptor: u64) -> u32 {
    let file = file_on(task, descriptor);
    let inode = pointer(file, offset!(file_inode));
    let magic: u64 = read(pointer(inode, offset!(inode_sb)) + offset!(super_block_magic));
    // Since 6.9 pidfds have a file system of their own, and the inode says whose each is.
    let pid =
        if magic == PIDFS { pointer(inode, offset!(inode_private)) } else { pointer(file, offset!(file_private_data)) };
    read(pid + offset!(pid_number))
}
