//! All attempts, as data: one file for each family, and what this machine can't try.

mod descriptors;
mod icmp_and_raw;
mod names;
mod places;
mod processes;
mod tcp;
mod udp;

use crate::attempt::Attempt;

/// Every attempt. Its place in the table gives it its addresses.
pub const GROUPS: &[&[Attempt]] = &[
    tcp::ATTEMPTS,
    udp::ATTEMPTS,
    icmp_and_raw::ATTEMPTS,
    names::ATTEMPTS,
    places::ATTEMPTS,
    descriptors::ATTEMPTS,
    processes::ATTEMPTS,
];

/// What only a guest with another kernel, or with the whole runner in scope, can try: name and reason.
pub const NEEDS_GUEST: &[(&str, &str)] = &[
    ("socket-from-outside-the-job", "a socket made by a process of another cgroup is judged by that cgroup's programs"),
    (
        "moved-by-somebody-else",
        "a process moved out by the runner is seen, and refused only where the whole runner is in scope",
    ),
    ("user-defined-bridge", "a container engine makes the container's cgroup; it has to be in scope"),
    (
        "packet-socket-by-io-uring",
        "the call isn't seen where a system call is; it takes a hook on the socket's creation",
    ),
    ("broker-outside-the-job", "systemd-run, at and cron start processes that don't descend from the job"),
];
