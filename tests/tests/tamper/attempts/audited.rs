//! The same where the policy only watches: the agent is guarded there too, everything else is found.

use crate::attempt::Outcome::{Denied, Found, Missed};
use crate::attempt::{Attempt, In, Told, attempt, footing, kernel};

const ESCAPE: &[Told] = &[Told::Finding("cgroup-escape")];
const ACCESS: &[Told] = &[Told::Finding("process-access"), Told::Finding("foreign-environ")];
const CLOCK: &str = "the clock would really be set";

const fn audited(attempt: Attempt) -> Attempt {
    attempt.in_job(In::Audit)
}

pub const ATTEMPTS: &[Attempt] = &[
    // Nobody is left to say so: the log has no end, which is all that tells.
    audited(attempt("audited_kill", "SIGKILL", "exec {act} tamper kill {agent} 9").fatal()).expect(Missed, Denied),
    audited(attempt("audited_stop", "SIGSTOP by kill(2)", "exec {act} tamper kill {agent} 19")),
    audited(attempt("audited_attach", "ptrace(2), attached", "exec {act} tamper attach {agent}")),
    audited(attempt("audited_memory_write", "/proc/PID/mem, written", "exec {act} tamper memory-write {agent}")),
    audited(attempt("audited_environment", "/proc/PID/environ", "exec {act} tamper environ {agent}")),
    audited(attempt("audited_oom_score", "/proc/PID/oom_score_adj", "exec {act} tamper oom-score {agent}")),
    audited(footing("audited_log_append", "the log, written to", "exec {act} footing append {log}").fatal()),
    audited(footing("audited_log_cut", "truncate(2) of the log", "exec {act} footing cut {log}").fatal()),
    audited(footing("audited_log_remove", "the log, removed", "exec {act} footing remove {log}").fatal()),
    audited(kernel("audited_bpf", "bpf(2): a program by its id", "exec {act} attack program-by-id none").always(Found)),
    audited(
        kernel(
            "audited_core_pattern",
            "core_pattern, opened for writing",
            "exec {act} footing open-for-writing /proc/sys/kernel/core_pattern",
        )
        .always(Found),
    ),
    audited(
        kernel("audited_clock", "the clock, a day on", "exec {act} attack set-clock 86400").always(Found).guest(CLOCK),
    ),
    audited(
        kernel("audited_clock_back", "the clock, a day back", "exec {act} attack set-time-of-day -86400")
            .always(Found)
            .guest(CLOCK),
    ),
    audited(
        kernel("audited_restart", "reboot(2), with a wrong magic number", "exec {act} attack restart-wrongly none")
            .always(Found),
    ),
    audited(
        kernel("audited_restart_32_bit", "the same by a 32-bit call", "exec {act} compat restart-wrongly none")
            .always(Found),
    ),
    audited(
        attempt(
            "audited_cgroup_kill",
            "cgroup.kill of another cgroup",
            "exec {act} footing write {cgroup}/cgroup.kill 1",
        )
        .told(ESCAPE)
        .always(Found),
    ),
    audited(
        attempt(
            "audited_outsider_memory",
            "memory of a process outside the job",
            "exec {act} tamper memory-read {outsider}",
        )
        .told(ACCESS)
        .always(Found),
    ),
];
