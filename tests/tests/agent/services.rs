//! Daemons that start programs for whoever asks, as a job reaches them: by a socket that the test listens on.

use std::os::unix::net::UnixListener;

use end_to_end::{Job, needs};

use crate::shell;

/// A job that connects to a bus, under a policy that says what becomes of it, with the bus.
fn asking(mode: &str, services: &str) -> (Job, UnixListener) {
    let job = shell("\"$ACT\" footing call \"$HOME/bus\" && echo connected || echo refused")
        .policy(&format!("version: 1\nname: ci\nmode: {mode}\nguard: {{ services: {services} }}\n"));
    let socket = job.path("bus");
    let bus = UnixListener::bind(&socket).expect("a socket can be made");
    // In the midst of others, as a bus with several addresses has it.
    (job.variable("DBUS_SESSION_BUS_ADDRESS", format!("tcp:host=none;unix:guid=0,path={socket}")), bus)
}

#[test]
fn a_connect_to_a_message_bus_is_told_on_both_tiers() {
    needs!();
    let (job, _bus) = asking("audit", "audit");
    let run = job.run().whole();
    assert_eq!(run.stdout, "connected\n", "{}", run.stderr);
    let attempt = run.log.of("attempt").find(|line| line.text("operation") == "services").expect("it is told");
    assert_eq!((attempt.text("verdict"), attempt.text("path")), ("audited", run.path("bus").as_str()));
    let finding = run.log.findings("service-manager").next().expect("it is found");
    assert!(finding.evidence().contains(&attempt.number("seq")));
    assert_eq!(finding.text("severity"), "medium");
}

#[test]
fn a_denied_message_bus_is_refused_where_the_tier_can() {
    needs!();
    let (job, _bus) = asking("block", "deny");
    let run = job.run().whole();
    let (said, verdict) =
        if run.log.tier() == "tracing" { ("refused\n", "blocked") } else { ("connected\n", "audited") };
    assert_eq!(run.stdout, said, "{}", run.stderr);
    let attempts: Vec<_> = run.log.of("attempt").filter(|line| line.text("operation") == "services").collect();
    assert_eq!(attempts.iter().map(|line| line.text("verdict")).collect::<Vec<_>>(), [verdict]);
}

#[test]
fn a_bus_that_the_policy_allows_is_not_told_of() {
    needs!();
    let (job, _bus) = asking("audit", "allow");
    let run = job.run().whole();
    assert_eq!(run.stdout, "connected\n", "{}", run.stderr);
    assert_eq!(run.log.of("attempt").filter(|line| line.text("operation") == "services").count(), 0);
}
