//! By system calls of x32, which are the native ones under numbers with a mark. Few kernels have them: `cargo xtask vm 6.12-generic
//! --append syscall.x32=y`.

use crate::attempt::Outcome::Found;
use crate::attempt::{Attempt, Told, attempt, footing};

pub const ATTEMPTS: &[Attempt] = &[
    attempt("kill_by_x32", "SIGKILL by an x32 call", "exec {act} x32 kill {agent} 9").fatal(),
    footing("log_by_x32", "the log, opened for writing by an x32 call", "exec {act} x32 open-for-writing {log}"),
    // The policy of these jobs doesn't refuse reads.
    footing("secret_by_x32", "a secret, opened by an x32 call", "exec {act} x32 open {home}/.aws/credentials")
        .told(&[Told::Finding("secret-read")])
        .always(Found),
    // CLONE_NEWUTS
    attempt("namespaces_by_x32", "unshare(2) by an x32 call", "exec {act} x32 unshare 67108864")
        .told(&[Told::Finding("new-namespace")])
        .always(Found),
];
