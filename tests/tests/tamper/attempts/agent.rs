//! At the agent's process: to end it, stop it, starve it, take control of it, or look into it.

use crate::attempt::Outcome::{Denied, Found};
use crate::attempt::{Attempt, Told, attempt};

const INSPECTED: &[Told] = &[Told::Finding("foreign-environ"), Told::Finding("process-access")];

pub const ATTEMPTS: &[Attempt] = &[
    attempt("kill", "SIGKILL", "exec {act} tamper kill {agent} 9").fatal(),
    attempt("kill_by_32_bit", "SIGKILL by a 32-bit call", "exec {act} compat kill {agent} 9").fatal(),
    attempt("terminate", "SIGTERM", "exec {act} tamper kill {agent} 15").fatal(),
    attempt("stop", "SIGSTOP by kill(2)", "exec {act} tamper kill {agent} 19"),
    attempt("stop_by_tgkill", "SIGSTOP by tgkill(2)", "exec {act} tamper tgkill {agent} 19"),
    attempt("stop_by_thread", "SIGSTOP to another of its threads", "exec {act} tamper thread-kill {agent} 19"),
    attempt("stop_by_pidfd", "SIGSTOP by pidfd_send_signal(2)", "exec {act} tamper pidfd-signal {agent} 19"),
    attempt("stop_by_queue", "SIGSTOP by rt_sigqueueinfo(2)", "exec {act} tamper queue {agent} 19"),
    attempt("stop_by_owner", "SIGSTOP as the owner of a pipe (F_SETOWN)", "exec {act} tamper own-pipe {agent} 19"),
    attempt(
        "pull_in",
        "the agent, moved into a cgroup of the job's",
        "mkdir -p {own}/pulled && exec {act} footing write {own}/pulled/cgroup.procs {agent}",
    )
    .told(&[Told::Finding("agent-tampering"), Told::Finding("cgroup-escape")]),
    attempt("stop_by_group", "SIGSTOP to its process group", "exec setsid -w {act} tamper kill -{group} 19")
        // The call succeeds, because the job itself is of that group.
        .expect(Found, Found),
    // Of the call alone nothing can be told: it succeeds wherever there is another process.
    attempt("stop_everybody", "SIGSTOP to every process", "exec {act} tamper stop-everybody {agent}")
        .guest("it stops every process of this machine"),
    attempt(
        "stop_storm",
        "fifty times SIGSTOP",
        "n=0; for i in $(seq 50); do kill -STOP {agent} || n=$((n + 1)); done; [ $n = 0 ] || exit 13",
    ),
    attempt(
        "stop_from_namespaces",
        "SIGSTOP from user, mount and network namespaces",
        "exec unshare --user --map-root-user --mount --net {act} tamper kill {agent} 19",
    ),
    attempt("attach", "ptrace(2), attached", "exec {act} tamper attach {agent}").always(Denied),
    attempt("seize", "ptrace(2), seized", "exec {act} tamper seize {agent}").always(Denied),
    attempt(
        "attach_from_namespaces",
        "ptrace(2) from user, mount and network namespaces",
        "exec unshare --user --map-root-user --mount --net {act} tamper attach {agent}",
    )
    .always(Denied),
    attempt("memory_read", "/proc/PID/mem, read", "exec {act} tamper memory-read {agent}").always(Denied),
    attempt("memory_write", "/proc/PID/mem, written", "exec {act} tamper memory-write {agent}").always(Denied),
    attempt("vm_read", "process_vm_readv(2)", "exec {act} tamper vm-read {agent}").always(Denied),
    attempt("take_descriptor", "pidfd_getfd(2)", "exec {act} tamper getfd {agent} 1").always(Denied),
    // Who has CAP_SYS_ADMIN may read it since 6.16; before, it takes the capability that is withheld. A hook refuses it before either.
    attempt("environment", "/proc/PID/environ", "exec {act} tamper environ {agent}")
        .told(INSPECTED)
        .expect(Found, Denied)
        .denied_before(6, 16),
    attempt("nice", "setpriority(2)", "exec {act} tamper nice {agent}"),
    attempt("scheduler", "sched_setscheduler(2)", "exec {act} tamper scheduler {agent}"),
    attempt("affinity", "sched_setaffinity(2)", "exec {act} tamper affinity {agent}"),
    attempt("limit", "prlimit(2)", "exec {act} tamper limit {agent}"),
    attempt("oom_score", "/proc/PID/oom_score_adj", "exec {act} tamper oom-score {agent}"),
];
