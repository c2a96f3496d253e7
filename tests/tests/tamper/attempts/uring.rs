//! By requests of io_uring, which are no system calls: the tracing tier refuses them by the same hooks, the other one tells of the
//! ring, and of what it finds changed.

use crate::attempt::Outcome::Found;
use crate::attempt::{Attempt, Told, footing};

const WRITTEN: &[Told] = &[Told::Finding("agent-tampering"), Told::Finding("io-uring")];
const READ: &[Told] = &[Told::Finding("secret-read"), Told::Finding("io-uring")];

/// The policy of these jobs doesn't refuse reads.
const fn read(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    footing(name, what, act).told(READ).always(Found)
}

pub const ATTEMPTS: &[Attempt] = &[
    footing("log_by_uring", "the log, opened for writing by io_uring", "exec {act} uring-file open-for-writing {log}")
        .told(WRITTEN),
    // A name of its own: where the log is guarded, what another attempt has linked can't be removed again.
    footing(
        "log_link_by_uring",
        "the log, linked and opened for writing by io_uring",
        "exec {act} uring-file link {log} {home}/link-by-uring",
    )
    .told(WRITTEN),
    footing("log_remove_by_uring", "the log, removed by io_uring", "exec {act} uring-file remove {log}").fatal(),
    footing(
        "log_rename_by_uring",
        "the log, renamed by io_uring",
        "exec {act} uring-file rename {log} {place}/elsewhere",
    )
    .fatal(),
    footing("pin_remove_by_uring", "a pin, removed by io_uring", "exec {act} uring-file remove {pin}").fatal(),
    read("secret_by_uring", "a secret, opened by io_uring", "exec {act} uring-file open {home}/.aws/credentials"),
    read(
        "secret_by_uring_worker",
        "the same by a worker of the kernel",
        "exec {act} uring-file open-by-worker {home}/.aws/credentials",
    ),
    read(
        "secret_by_uring_poller",
        "the same by a thread of the kernel that polls",
        "exec {act} uring-file open-by-poller {home}/.aws/credentials",
    ),
];
