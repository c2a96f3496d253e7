//! The daemon and its jobs, end to end: what holds for a job from its beginning to its worker's end, whoever asks for what.

mod capabilities;
mod end;
mod faults;
mod figures;
mod flood;
mod many;
mod refusals;
mod restart;
mod secrets;
mod settings;
mod socket;
mod trust;

use end_to_end::{Daemon, binary};

const ACT: &str = env!("CARGO_BIN_EXE_act");

/// A policy that closes one port of loopback, so that nothing leaves the machine.
const CLOSED: &str = "version: 1\nname: closed\nmode: block\negress:\n  \
                      deny: [{ class: loopback, ports: [9], why: \"this test closes it\" }]\n";

/// Whether the closed port is refused: EPERM, where an open one would say that nobody listens.
const TRY: &str = "try() { (exec 3<>/dev/tcp/127.0.0.1/9) 2>&1 | grep -q 'not permitted' && echo \"$1: refused\" || echo \"$1: open\"; }\n";

fn daemon(policies: &[&str], more: &str) -> Daemon {
    Daemon::start(binary::agent(ACT), policies, more)
}
