//! The verdict of the kernel side: [`runner_agent_common::decide`] over the rule map, for the process that runs.

use aya_ebpf::maps::lpm_trie::Key;
use runner_agent_common::decide::{Asking, Destination, Ruling, decide as decide_by};
use runner_agent_common::egress::{ANY_EXE, ExeKey, JobRules, SocketRuling, job_flag, rule, verdict};
use runner_agent_common::map::task_flag;

use crate::emit;
use crate::kernel::{any, offset, pointer, read};
use crate::maps::{BLOCKING, EGRESS, EXES, JOB_RULES, RULE_COUNTS};
use crate::task::{self, Member};

/// Whether there may be a job that the kernel side decides for.
#[inline(always)]
pub fn may_block() -> bool {
    // SAFETY: a plain load from a static; volatile because user space replaces the value before loading.
    unsafe { core::ptr::read_volatile(&raw const BLOCKING) != 0 }
}

/// What holds for a job, if the kernel side decides for it.
#[inline(always)]
pub fn rules_of(job: u32) -> Option<JobRules> {
    if !may_block() {
        return None;
    }
    // SAFETY: the value is copied at once; user space replaces it whole.
    unsafe { JOB_RULES.get(job) }.copied().filter(|rules| rules.flags & job_flag::BLOCK != 0)
}

/// Decides about a destination for a process.
#[inline(always)]
pub fn decide(member: &Member, rules: &JobRules, destination: &Destination, now_ns: u64) -> Ruling {
    let asking = Asking {
        job: member.job,
        flags: rules.flags,
        now_ns,
        exes: if rules.flags & job_flag::EXES == 0 { ANY_EXE } else { exes_of(member) },
        needs_carry: rules.flags & job_flag::CARRY_BLOCK != 0 && member.flags & task_flag::HOLDS_SECRET != 0,
        zero: any(0),
    };
    decide_by(&asking, destination, |bits, key| EGRESS.get(Key::new(bits, *key)))
}

/// Decides about a packet whose process is not known: only by what is allowed to everybody.
#[inline(always)]
pub fn decide_for_anybody(job: u32, rules: &JobRules, destination: &Destination) -> Ruling {
    let asking = Asking {
        job,
        flags: rules.flags,
        now_ns: task::now(),
        exes: ANY_EXE,
        needs_carry: rules.flags & job_flag::CARRY_BLOCK != 0,
        zero: any(0),
    };
    decide_by(&asking, destination, |bits, key| EGRESS.get(Key::new(bits, *key)))
}

/// The bits of the executable that a member runs.
#[inline(always)]
fn exes_of(member: &Member) -> u64 {
    let mm = pointer(member.task, offset!(task_mm));
    let inode = pointer(pointer(mm, offset!(mm_exe_file)), offset!(file_inode));
    let key = ExeKey {
        inode: read(inode + offset!(inode_ino)),
        device: read(pointer(inode, offset!(inode_sb)) + offset!(super_block_dev)),
        job: member.job,
    };
    // SAFETY: the value is copied at once.
    ANY_EXE | unsafe { EXES.get(key) }.copied().unwrap_or_default()
}

/// Counts an attempt for the rule that decided.
#[inline(always)]
pub fn count(rules: &JobRules, ruling: &Ruling) {
    let allowed = ruling.verdict == verdict::ALLOWED;
    // What was refused for a secret counts at the rule that would have allowed it.
    let Some(counter) = RULE_COUNTS.get_ptr_mut(rules.counters + ruling.rule) else { return };
    if allowed {
        // SAFETY: field address of a live map value.
        emit::count(unsafe { &raw mut (*counter).allowed });
    } else {
        // SAFETY: as above.
        emit::count(unsafe { &raw mut (*counter).blocked });
    }
}

/// Counts a datagram that went where the one before it was allowed to go.
#[inline(always)]
pub fn count_again(kept: &SocketRuling) {
    let Some(counter) = RULE_COUNTS.get_ptr_mut(kept.counter) else { return };
    // SAFETY: field address of a live map value.
    emit::count(unsafe { &raw mut (*counter).allowed });
}

/// Counts a packet that the backstop dropped.
#[inline(always)]
pub fn count_drop(rules: &JobRules) {
    let Some(counter) = RULE_COUNTS.get_ptr_mut(rules.counters + rule::DEFAULT) else { return };
    // SAFETY: field address of a live map value.
    emit::count(unsafe { &raw mut (*counter).dropped });
}
