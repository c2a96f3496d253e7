//! Life of processes: fork, exec, exit.
//!
//! Hooks: raw tracepoints `sched_process_fork(parent, child)`, `sched_process_exec(task, old_pid, bprm)`,
//! `sched_process_exit(task, …)`. Kernel floor: 5.5 (`start_boottime`).
//! Sees: every process of a job and of its descendants, in whatever cgroup or namespace they run.
//! Misses: threads (they are their process), and the part of an argument vector beyond 2 MiB, which is flagged.

use aya_ebpf::helpers::generated::{bpf_get_current_uid_gid, bpf_probe_read_user};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use runner_agent_common::guard::ProgramKey;
use runner_agent_common::map::task_flag;
use runner_agent_common::record::{Exec, ExecArgs, Exit, Fork, ProcessKey, flag, kind, probe};

use crate::emit;
use crate::kernel::{Address, offset, pipe_on, pointer, read};
use crate::maps::{RING_BULK, Scratch, TASKS};
use crate::path;
use crate::runner;
use crate::secret;
use crate::task::{self, Member};
use crate::verdict as rules;

use super::privilege;

/// Bytes of arguments in the exec record itself; covers 99 of 100 real command lines.
const INLINE_ARGUMENTS: u32 = 4096;

/// Bytes of arguments in one continuation.
const CHUNK: u32 = 8192;

/// Continuations at most: with the inline part a little over 2 MiB, the argument limit under an 8 MiB stack.
const CHUNKS: u32 = 256;

/// A child of a member is a member.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    let child: Address = ctx.arg(1);
    let tgid: u32 = read(child + offset!(task_tgid));
    let pid: u32 = read(child + offset!(task_pid));
    if tgid != pid {
        return 0;
    }
    // The parent is the one that runs.
    let Some(parent) = task::current_member() else { return 0 };
    let member = Member {
        task: child,
        key: ProcessKey { start_ns: read(child + offset!(task_start_boottime)), tgid, reserved: 0 },
        job: parent.job,
        flags: parent.flags | doom(&parent, child),
        ..parent
    };
    task::enter(&member);
    let record = Fork {
        header: task::header(&member, kind::FORK, probe::FORK, size_of::<Fork>()),
        parent: parent.key,
        cgroup: task::current_cgroup(),
    };
    emit::fixed(&RING_BULK, probe::FORK, &record);
    0
}

/// Whether a child of a blocked job has its parent's descriptors, and not a copy of them: what one of them opens, the other
/// would use, and no verdict would be about who it is.
#[inline(always)]
fn doom(parent: &Member, child: Address) -> u32 {
    let is_shared = pointer(child, offset!(task_files)) == pointer(parent.task, offset!(task_files));
    if rules::may_block() && is_shared && task::is_blocking(parent.job) { task_flag::DOOMED } else { 0 }
}

/// The last thread of a member takes the member with it.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    let task: Address = ctx.arg(0);
    let tgid: u32 = read(task + offset!(task_tgid));
    let Some(member) = task::known(task, tgid) else { return 0 };
    let signal = pointer(task, offset!(task_signal));
    let live: u32 = read(signal + offset!(signal_live));
    // Two threads that end at once may both see zero; only one of them removes the entry.
    if live != 0 || TASKS.remove(tgid).is_err() {
        return 0;
    }
    let record = Exit {
        header: task::header(&member, kind::EXIT, probe::EXIT, size_of::<Exit>()),
        status: read(task + offset!(task_exit_code)),
        reserved: 0,
    };
    emit::fixed(&RING_BULK, probe::EXIT, &record);
    0
}

/// A member runs another program. The new arguments lie on the new stack, which the kernel has just written.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_: RawTracePointContext) -> i32 {
    let Some(member) = task::current_member() else { return 0 };
    let mm = pointer(member.task, offset!(task_mm));
    let arguments = Arguments {
        start: pointer(mm, offset!(mm_arg_start)),
        total: (pointer(mm, offset!(mm_arg_end)) - pointer(mm, offset!(mm_arg_start))) as u32,
    };
    let exe = pointer(mm, offset!(mm_exe_file));
    let at_ns = task::now();
    task::runs(&member, ProgramKey { at_ns, tgid: member.key.tgid, reserved: 0 }, secret::readable_by(exe, member.job));
    emit::with_scratch(probe::EXEC, |scratch| {
        send_exec(&member, at_ns, exe, &arguments, scratch);
        if arguments.total > INLINE_ARGUMENTS {
            send_continuations(&member, at_ns, &arguments, scratch);
        }
    });
    0
}

struct Arguments {
    start: Address,
    total: u32,
}

#[inline(always)]
fn send_exec(member: &Member, at_ns: u64, exe: Address, arguments: &Arguments, scratch: &mut Scratch) {
    let fixed = size_of::<Exec>() as u32;
    let mut flags = 0;
    path::walk(exe + offset!(file_path), scratch);
    privilege::runs(member, exe, scratch);
    let exe_len = path::append(scratch, fixed);
    flags |= scratch.path_truncated * flag::PATH_TRUNCATED;
    let filesystem = pointer(member.task, offset!(task_fs));
    path::walk(filesystem + offset!(fs_pwd), scratch);
    let cwd_len = path::append(scratch, fixed + exe_len);
    flags |= scratch.path_truncated * flag::PATH_TRUNCATED;
    let at = fixed + exe_len + cwd_len;
    let mut argv_len = if arguments.total > INLINE_ARGUMENTS { INLINE_ARGUMENTS } else { arguments.total };
    if !read_arguments(scratch, at, argv_len, arguments.start) {
        argv_len = 0;
        flags |= flag::ARGV_TRUNCATED;
    }
    if task::has_left(member) {
        flags |= flag::OUTSIDE_CGROUP;
    }
    let inode = pointer(exe, offset!(file_inode));
    if read::<u32>(inode + offset!(inode_nlink)) == 0 {
        flags |= flag::UNLINKED;
    }
    if is_exempt(member) {
        // It is told as what it was; what it does from here on isn't.
        flags |= flag::EXEMPT;
        let _ = TASKS.remove(member.key.tgid);
    }
    if task::is_out_of_reach(member) && task::is_blocking(member.job) {
        flags |= flag::KILLED;
        task::end_current();
    }
    let len = at + argv_len;
    let mut record = Exec {
        header: task::header_at(at_ns, member, kind::EXEC, probe::EXEC, len as usize),
        parent: task::key_of(pointer(member.task, offset!(task_real_parent))),
        cgroup: task::current_cgroup(),
        exe_inode: read(inode + offset!(inode_ino)),
        stdin_pipe: pipe_on(member.task, 0),
        stdout_pipe: pipe_on(member.task, 1),
        exe_device: read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev)),
        group: process_group(member.task),
        mount_namespace: task::mount_namespace(member.task),
        exe_len,
        cwd_len,
        argv_len,
        argv_total: arguments.total,
        // SAFETY: the helper has no preconditions; the low half is the user id.
        uid: unsafe { bpf_get_current_uid_gid() } as u32,
    };
    record.header.flags |= flags;
    if rules::may_block() && member.flags & task_flag::HOLDS_SECRET != 0 {
        task::taint_pipe(record.stdout_pipe);
    }
    emit::put(scratch, &record);
    emit::scratch(&RING_BULK, probe::EXEC, scratch, u64::from(len));
}

/// Whether the runner's process has become a service of the platform: who starts one is somebody else until then.
#[inline(always)]
fn is_exempt(member: &Member) -> bool {
    runner::slot() != 0
        && member.flags & (task_flag::RUNNERS | task_flag::HOLDS_SECRET) == task_flag::RUNNERS
        && runner::slot_of(member.task) == 0
}

#[inline(always)]
fn send_continuations(member: &Member, at_ns: u64, arguments: &Arguments, scratch: &mut Scratch) {
    let fixed = size_of::<ExecArgs>() as u32;
    let mut record = ExecArgs {
        header: task::header(member, kind::EXEC_ARGS, probe::EXEC_ARGS, 0),
        offset: INLINE_ARGUMENTS,
        len: 0,
    };
    record.header.at_ns = at_ns;
    let Some(counters) = emit::counters(probe::EXEC_ARGS) else { return };
    for i in 0..CHUNKS {
        let rest = arguments.total - record.offset;
        // Choices by arithmetic: the verifier follows each branch through all rounds that are left.
        let is_longer = (core::hint::black_box(u64::from(CHUNK).wrapping_sub(u64::from(rest))) >> 63) as u32;
        let len = (core::hint::black_box((rest - 1) | is_longer.wrapping_neg()) & (CHUNK - 1)) + 1;
        let source = arguments.start + u64::from(record.offset);
        // SAFETY: the record has 16384 bytes, and `fixed` is far below 8192.
        let target = unsafe { scratch.record.as_mut_ptr().add(fixed as usize) };
        // SAFETY: `len` is at most 8192; the helper checks the source.
        let failed = unsafe { bpf_probe_read_user(target.cast(), len, source as *const _) };
        record.len = len & !((failed >> 63) as u32);
        // A continuation that carries nothing, or the last one allowed, says that the rest is missing.
        let is_empty = core::hint::black_box(u64::from(record.len).wrapping_sub(1) >> 63);
        record.header.flags |= is_empty as u32 * flag::ARGV_TRUNCATED;
        if i == CHUNKS - 1 && rest > record.len {
            record.header.flags |= flag::ARGV_TRUNCATED;
        }
        record.header.len = fixed + record.len;
        emit::put(scratch, &record);
        emit::part(&RING_BULK, counters, scratch, u64::from(record.header.len));
        record.offset += record.len;
        // Nothing was read, or nothing is left.
        if record.len == 0 || rest == record.len {
            return;
        }
    }
}

/// Reads argument bytes behind the first `at` bytes of the record; false when they can't be read.
#[inline(always)]
fn read_arguments(scratch: &mut Scratch, at: u32, len: u32, source: Address) -> bool {
    if at > 8448 || len > CHUNK {
        return false;
    }
    // Keeps the helper's size argument bounded in the register that the verifier looks at.
    let len = core::hint::black_box(len) & 0x3fff;
    if at as usize + len as usize > crate::maps::RECORD_BYTES - 64 {
        return false;
    }
    // SAFETY: `at` is at most 8448 and the record has 16384 bytes.
    let target = unsafe { scratch.record.as_mut_ptr().add(at as usize) };
    // SAFETY: `at + len` is within the record, checked above; the helper checks the source.
    unsafe { bpf_probe_read_user(target.cast(), len, source as *const _) == 0 }
}

#[inline(always)]
fn process_group(task: Address) -> u32 {
    let signal = pointer(task, offset!(task_signal));
    let group = pointer(signal, offset!(signal_group));
    read(group + offset!(pid_number))
}
