//! Whether the kernel can leave out runs of a program because it has preempted another of the same.

use super::{Check, Status};

/// `interruptible` are the programs of which it can, where it is built to preempt; `version` is that of uname(2), which says so.
pub(super) fn check(interruptible: &[&str], version: &str) -> Check {
    let needed =
        "programs that the kernel doesn't preempt in their midst: it leaves out every other run on that CPU meanwhile";
    let ok = |found: &str| Check::ok("whole-runs", needed, found);
    if interruptible.is_empty() {
        return ok("the kernel leaves out none, or preemption is off but for the first and last instants of each");
    }
    if !version.split_whitespace().any(|word| word.starts_with("PREEMPT")) {
        return ok("this kernel is built without preemption");
    }
    ok(&format!("{} programs can be preempted, where preemption is on: {}", interruptible.len(), interruptible.join(", ")))
        .with(
            Status::Info,
            "what comes to the CPU in such a moment is not seen, and not refused by fmod_ret; each such run is counted as skipped",
            "Linux 6.14 or later; or preempt=none or preempt=voluntary on the kernel's command line; or bpf in its list of security modules and --hooks lsm (the daemon: hooks: lsm)",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_can_be_preempted_is_told_where_the_kernel_can_preempt() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-1 (2026-10-01)";
        let plain = "#1 SMP Debian 5.10.251-5 (2026-06-24)";
        assert_eq!(check(&[], dynamic).status, Status::Ok);
        assert_eq!(check(&["file_open"], plain).status, Status::Ok);
        let told = check(&["file_open", "task_kill"], dynamic);
        assert_eq!(told.status, Status::Info);
        assert_eq!(told.found, "2 programs can be preempted, where preemption is on: file_open, task_kill");
        assert!(told.lost.is_some() && told.fix.is_some());
    }
}
