//! What a job does to the kernel itself.
//!
//! Hooks: `security_bpf(cmd, attr, size)`, `security_kernel_read_file(file, id, contents)`,
//! `security_kernel_load_data(id, contents)`, `security_settime64(ts, tz)`. Kernel floor: 5.10 (as `fmod_ret`).
//! Sees: bpf(2), init_module(2), finit_module(2), kexec_load(2), kexec_file_load(2), clock_settime(2), settimeofday(2).
//! Misses: adjtimex(2), delete_module(2) and reboot(2), which are told by their system calls and refused by a capability that
//! the job doesn't have. Modules that the kernel loads by itself are no job's.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::operation;

use crate::guard::{self, Attempt, PASS};
use crate::kernel::argument;
use crate::task;

/// Kinds of what is read or loaded (`enum kernel_read_file_id`, from linux/kernel_read_file.h): firmware and policies are no
/// code.
const MODULE: u64 = 2;
const KEXEC_IMAGE: u64 = 3;
const KEXEC_INITRAMFS: u64 = 4;

/// bpf(2) is about to do something.
#[lsm(hook = "bpf")]
pub fn bpf(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    guard::answer(&member, &Attempt::new(operation::BPF, argument(&ctx, 0) & 0xffff_ffff))
}

/// The kernel is about to read a file that it was handed.
#[lsm(hook = "kernel_read_file")]
pub fn kernel_read_file(ctx: LsmContext) -> i32 {
    code(argument(&ctx, 1))
}

/// The kernel is about to take what it was handed in memory.
#[lsm(hook = "kernel_load_data")]
pub fn kernel_load_data(ctx: LsmContext) -> i32 {
    code(argument(&ctx, 0))
}

/// The clock is about to be set.
#[lsm(hook = "settime")]
pub fn settime(_: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    guard::answer(&member, &Attempt::new(operation::CLOCK, 0))
}

#[inline(always)]
fn code(kind: u64) -> i32 {
    let kind = kind & 0xffff_ffff;
    if !matches!(kind, MODULE | KEXEC_IMAGE | KEXEC_INITRAMFS) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    guard::answer(&member, &Attempt::new(operation::KERNEL_CODE, kind))
}
