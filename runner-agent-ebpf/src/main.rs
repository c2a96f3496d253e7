//! Kernel side of runner-agent. Raw tracepoints and cgroup hooks, which any ordinary kernel loads, are the tracepoint tier;
//! programs before the kernel's `security_*` functions, which see every way and can deny, are the tracing tier.
//!
//! A probe asks first whether the current process belongs to a job, says nothing about any other, and puts what a job
//! did on a ring. The object's licence is `Dual MIT/GPL`, because several helpers are reserved for GPL-compatible
//! programs. On the host this crate is an empty program, so that `cargo … --workspace` works.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics), allow(internal_features))]
#![cfg_attr(not(target_arch = "bpf"), allow(missing_docs))]
#![cfg_attr(
    target_arch = "bpf",
    allow(clippy::inline_always, reason = "old verifiers take few calls, and none that pass what they can't track")
)]

#[cfg(target_arch = "bpf")]
mod doors;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod file;
#[cfg(target_arch = "bpf")]
mod guard;
#[cfg(target_arch = "bpf")]
mod headers;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod path;
#[cfg(target_arch = "bpf")]
mod procfs;
#[cfg(target_arch = "bpf")]
mod runner;
#[cfg(target_arch = "bpf")]
mod secret;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod verdict;
#[cfg(target_arch = "bpf")]
mod watch;
#[cfg(target_arch = "bpf")]
mod probe {
    //! One family of hooks per file.
    mod answer;
    mod attempt;
    mod capability;
    mod cgroup;
    mod connect;
    mod kernel_access;
    mod network;
    mod open;
    mod packet;
    mod privilege;
    mod process;
    mod process_access;
    mod reach;
    mod syscall;
    mod tree;
    mod waiting;
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No probe panics: the verifier would have to prove this loop unreachable, and it does.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
