//! At the runner around the agent: other cgroups, other namespaces, other processes, other users' rights.

use crate::attempt::Outcome::{Denied, Found};
use crate::attempt::{Attempt, Told, attempt};

const ESCAPE: &[Told] = &[Told::Finding("cgroup-escape")];
const NAMESPACE: &[Told] = &[Told::Finding("new-namespace")];
const ACCESS: &[Told] = &[Told::Finding("process-access"), Told::Finding("foreign-environ")];

pub const ATTEMPTS: &[Attempt] = &[
    attempt("cgroup_leave", "into another cgroup by its cgroup.procs", "exec {act} space leave-cgroup {cgroup} true")
        .told(ESCAPE),
    attempt("cgroup_born", "a child born in another cgroup", "exec {act} space born-outside {cgroup} true")
        .told(ESCAPE)
        .always(Found),
    attempt("cgroup_kill", "cgroup.kill of another cgroup", "exec {act} footing write {cgroup}/cgroup.kill 1")
        .told(ESCAPE),
    attempt("cgroup_freeze", "cgroup.freeze of another cgroup", "exec {act} footing write {cgroup}/cgroup.freeze 1")
        .told(ESCAPE),
    attempt("cgroup_parent", "into the agent's own cgroup", "exec {act} space leave-cgroup {parent} true")
        .told(ESCAPE)
        .guest("the agent's own cgroup is this machine's"),
    attempt("namespaces", "unshare(2)", "exec unshare --mount --uts --ipc --net true").told(NAMESPACE).always(Found),
    // CLONE_NEWUTS
    attempt("namespaces_by_clone", "clone(2) into a namespace", "exec {act} attack clone 67108864")
        .told(NAMESPACE)
        .always(Found),
    attempt("namespaces_by_32_bit", "unshare(2) by a 32-bit call", "exec {act} compat unshare 67108864")
        .told(NAMESPACE)
        .always(Found),
    attempt("clone_by_32_bit", "clone(2) by a 32-bit call", "exec {act} compat clone 67108864")
        .told(NAMESPACE)
        .always(Found),
    attempt("namespace_entered", "setns(2) without a word of which", "exec {act} attack enter /proc/self/ns/uts")
        .told(NAMESPACE)
        .always(Found),
    attempt("outsider_memory", "memory of a process outside the job", "exec {act} tamper memory-read {outsider}")
        .told(ACCESS)
        .always(Denied),
    attempt("outsider_attach", "ptrace(2) of a process outside the job", "exec {act} tamper attach {outsider}")
        .told(ACCESS)
        .always(Denied),
    // As with the agent's own.
    attempt("outsider_environment", "environment of a process outside the job", "exec {act} tamper environ {outsider}")
        .told(ACCESS)
        .always(Found)
        .denied_before(6, 16),
    attempt("sudo", "sudo, where the policy denies it", "exec {place}/bin/sudo").told(&[Told::Finding("privilege")]),
    attempt(
        "engine",
        "a container engine's socket, where the policy denies it",
        "exec {act} footing call {place}/engine",
    )
    .told(&[Told::Finding("engine-socket")]),
    attempt("services", "the message bus, where the policy denies it", "exec {act} footing call {place}/bus")
        .told(&[Told::Finding("service-manager")]),
];
