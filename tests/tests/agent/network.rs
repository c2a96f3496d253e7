//! The network below the job: who may change it, and sockets that no rule about addresses can judge.

use end_to_end::{Job, Line, Namespace, Run, needs, report, test_name};

use crate::{ACT, shell};

/// Runs a script in a network of the test's own, which is the agent's too.
fn within(namespace: &Namespace, script: &str, policy: &str) -> Run {
    let enter = format!("--net={}", namespace.file().display());
    shell(script).policy(&format!("version: 1\nname: network\n{policy}\n")).by(["nsenter", &enter]).run().whole()
}

fn attempts(run: &Run) -> Vec<&Line> {
    run.log.of("attempt").filter(|line| line.text("operation") == "network").collect()
}

/// `RTM_NEWLINK`.
const NEW_LINK: u64 = 16;
const MAKES_A_DEVICE: &str = "ip link add ra-one type veth peer name ra-two && echo made; true";

#[test]
fn a_device_that_an_audited_job_makes_is_found() {
    needs!();
    let run = within(&Namespace::create(), MAKES_A_DEVICE, "mode: audit");
    assert_eq!(run.stdout, "made\n", "{}", run.stderr);
    // ip(8) asks for it twice: once to find out how.
    let attempts = attempts(&run);
    let attempt = attempts.first().expect("it is told");
    assert!(attempts.iter().all(|line| line.number("detail") == NEW_LINK && line.text("verdict") == "audited"));
    assert!(attempts.iter().all(|line| !line.is("failed")));
    let finding = run.log.findings("network-change").next().expect("it is found");
    assert!(finding.evidence().contains(&attempt.number("seq")));
    assert!(finding.text("message").contains("its devices"), "{}", finding.text("message"));
}

#[test]
fn a_blocked_job_makes_no_device_and_is_told_which_word_of_the_policy_it_is() {
    needs!();
    let run = within(&Namespace::create(), MAKES_A_DEVICE, "mode: block");
    assert_eq!(run.stdout, "", "{}", run.stderr);
    assert!(
        run.stderr.contains("Operation not permitted") && run.stderr.contains("guard: { network: allow }"),
        "{}",
        run.stderr
    );
    // By the hook before the message is sent, or by the capability that the kernel misses then.
    let (verdict, failed) = if run.log.tier() == "tracing" { ("blocked", false) } else { ("audited", true) };
    let attempts = attempts(&run);
    assert!(!attempts.is_empty());
    assert!(attempts.iter().all(|line| line.text("verdict") == verdict && line.is("failed") == failed), "{attempts:?}");
}

#[test]
fn a_policy_may_let_a_blocked_job_change_the_network() {
    needs!();
    let run = within(&Namespace::create(), MAKES_A_DEVICE, "mode: block\nguard: { network: allow }");
    assert_eq!(run.stdout, "made\n", "{}", run.stderr);
    assert!(attempts(&run).is_empty());
}

#[test]
fn questions_and_a_network_of_the_jobs_own_are_nobodys_business() {
    needs!();
    let script = "ip addr; ip route; ip neigh; ip rule; getent hosts localhost; \
                  unshare --user --map-root-user --net ip link set lo up && echo up";
    let run = within(&Namespace::create(), script, "mode: block");
    assert!(run.stdout.ends_with("up\n"), "{}{}", run.stdout, run.stderr);
    assert!(attempts(&run).is_empty(), "{:?}", attempts(&run));
}

#[test]
fn a_vsock_socket_made_through_io_uring_is_found_and_refused() {
    needs!(end_to_end::host::can(ACT, &["uring", "socket", "40", "1", "0"]), "no VSOCK here, or none by io_uring");
    let make = |mode: &str| {
        Job::new(end_to_end::binary::agent(ACT), [ACT, "uring", "socket", "40", "1", "0"]).option("--mode").option(mode)
    };
    let run = make("audit").run().whole();
    if run.log.tier() != "tracing" {
        return report::needs_guest(test_name!(), "the tracepoint tier has no hook for it");
    }
    assert_eq!(run.log.of("socket").count(), 1);
    let run = make("block").run();
    assert_eq!(run.code(), 13, "{}", run.stderr);
    let socket = run.log.of("socket").next().expect("its line");
    assert_eq!((socket.number("family"), socket.text("verdict"), socket.is("killed")), (40, "blocked", false));
}
