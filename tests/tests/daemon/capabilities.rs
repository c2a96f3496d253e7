//! Capabilities that are withheld from a job whose processes the agent didn't start.

use end_to_end::{Worked, needs, report, test_name};

use crate::daemon;

/// What only `CAP_NET_ADMIN` gives, and no hook of the agent's has a word in: the device is in a network of the caller's own.
const SETS_A_DEVICE: &str = "set_up() { unshare \"$@\" ip link set lo up 2>/dev/null && echo set || echo refused; }\n";

/// Runs a script as a job that is root; nothing where this tier withholds no capability.
fn job(policy: &str, script: &str) -> Option<Worked> {
    let daemon = daemon(&[&format!("version: 1\nname: network\n{policy}\n")], "");
    let worked = daemon.run(&format!("{SETS_A_DEVICE}{script}"), &[]);
    daemon.wait_until_idle();
    (daemon.log().tier() == "tracing").then_some(worked)
}

macro_rules! job {
    ($policy:expr, $script:expr) => {
        match job($policy, $script) {
            Some(worked) => worked,
            None => return report::needs_guest(test_name!(), "the tracepoint tier withholds no capability of a worker"),
        }
    };
}

#[test]
fn a_blocked_job_is_withheld_what_a_command_would_begin_without_until_its_worker_ends() {
    needs!();
    let script = "set_up --net; start >/dev/null; set_up --net; set_up --user --map-root-user --net; stop >/dev/null; set_up --net";
    let worked = job!("mode: block", script);
    // A user namespace of its own gives it to whom it was withheld; that the end is announced changes nothing.
    assert_eq!(worked.stdout, "set\nrefused\nset\nrefused\n", "{worked:?}");
}

#[test]
fn an_audited_job_and_one_whose_policy_allows_it_are_withheld_nothing() {
    needs!();
    for policy in ["mode: audit", "mode: block\nguard: { network: allow }"] {
        let worked = job!(policy, "start >/dev/null; set_up --net; stop >/dev/null");
        assert_eq!(worked.stdout, "set\n", "{policy}: {worked:?}");
    }
}
