//! All attempts, as data: one file for each family, and what this machine can't try.

mod descriptors;
mod icmp_and_raw;
mod names;
mod places;
mod processes;
mod questions;
mod secrets;
mod tcp;
mod udp;

use crate::attempt::Attempt;

/// Every attempt. Its place in the table gives it its addresses.
pub const GROUPS: &[&[Attempt]] = &[
    tcp::ATTEMPTS,
    udp::ATTEMPTS,
    icmp_and_raw::ATTEMPTS,
    questions::ATTEMPTS,
    names::ATTEMPTS,
    places::ATTEMPTS,
    descriptors::ATTEMPTS,
    processes::ATTEMPTS,
    secrets::ATTEMPTS,
];

/// What only a guest with another kernel can try: name and reason.
pub const NEEDS_GUEST: &[(&str, &str)] = &[
    ("user-defined-bridge", "a container engine makes the container's cgroup, and the whole runner has to be in scope"),
    ("broker-outside-the-job", "systemd-run, at and cron start processes that don't descend from the job"),
    ("clock-jump", "setting the clock is for a machine of its own"),
    ("kernel-made-connections", "a mount of NFS or iSCSI connects from the kernel, and takes a server that answers"),
];
