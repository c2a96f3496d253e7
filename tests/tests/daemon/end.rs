//! Beginning and end.

use end_to_end::needs;

use crate::{CLOSED, TRY, daemon};

#[test]
fn a_job_is_held_from_its_beginning_to_its_workers_end_and_nothing_of_it_is_left() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let before = daemon.answer(&["status"])["maps"].clone();
    let script = format!(
        "{TRY} try before; start >began || exit 9; try during; sleep 1000 & stop --fail-on medium; echo stop: $?"
    );
    let worked = daemon.run(&script, &[]);
    assert!(worked.stdout.contains("before: open\nduring: refused\n"), "{worked:?}");
    assert!(worked.stdout.contains("stop: 3\n"), "{worked:?}");
    daemon.wait_until_idle();
    let log = daemon.log();
    let ended = log.of("job").last().expect("the job's end");
    assert_eq!(ended.text("state"), "ended");
    assert!(ended.at("/leftovers").as_array().is_some_and(|left| left.len() == 1), "{ended:?}");
    assert_eq!((log.account("/lost"), log.account("/difference")), (0, 0));
    let last = log.lines().last().expect("a log has lines");
    assert_eq!(last.text("state"), "reset");
    assert!(last.text("detail").starts_with("nothing is left"), "{last:?}");
    assert_eq!(daemon.answer(&["status"])["maps"], before);
    // The receipt tells what the log tells, and both are whole.
    let path = &daemon.logs_written()[0];
    let verified =
        std::process::Command::new(daemon.program()).arg("verify").arg(path).output().expect("it can be started");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let receipt = std::fs::read_to_string(format!("{}.receipt.json", path.display())).expect("the job has a receipt");
    assert!(receipt.contains("\"mode\": \"block\"") && receipt.contains("\"tier\": \"untrusted\""), "{receipt}");
}

#[test]
fn an_end_that_a_step_forges_changes_nothing_and_is_found() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    // A step says that the job is over, and goes on.
    let script =
        format!("{TRY} start >/dev/null || exit 9; bash -c 'true'; stop >/dev/null; try after; stop >/dev/null");
    let worked = daemon.run(&script, &[]);
    assert!(worked.stdout.contains("after: refused\n"), "{worked:?}");
    daemon.wait_until_idle();
    let log = daemon.log();
    let told: Vec<&str> = log.findings("agent-tampering").map(|line| line.text("severity")).collect();
    assert_eq!(told, ["high", "medium"], "what went on, and the second announcement");
}

#[test]
fn a_signal_to_a_thread_that_was_started_for_the_job_is_one_to_the_agent() {
    needs!();
    // This tier tells such a signal by the number it was sent to.
    let daemon = daemon(&[CLOSED], "tier: tracepoint\n");
    let script = format!(
        "start >/dev/null || exit 9
         for thread in /proc/{}/task/*; do
             read -r name <$thread/comm
             [ $name = resolver ] && kill -URG ${{thread##*/}} && echo ${{thread##*/}}
         done
         stop >/dev/null",
        daemon.pid()
    );
    let worked = daemon.run(&script, &[]);
    let thread = worked.stdout.trim();
    assert!(thread.parse::<u32>().is_ok(), "the job has one resolver: {worked:?}");
    daemon.wait_until_idle();
    let log = daemon.log();
    let said: Vec<&str> = log.findings("agent-tampering").map(|line| line.text("message")).collect();
    assert!(said.iter().any(|said| said.contains("signal 23 to the agent") && said.contains(thread)), "{said:?}");
}

#[test]
fn an_end_that_nobody_announces_is_told() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    daemon.run("start >/dev/null", &[]);
    daemon.wait_until_idle();
    let log = daemon.log();
    assert_eq!(log.findings("agent-tampering").map(|line| line.text("severity")).collect::<Vec<_>>(), ["low"]);
    assert_eq!(log.of("job").last().expect("the job's end").text("state"), "ended");
}

#[test]
fn what_was_started_before_the_job_belongs_to_it() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let script = format!(
        "{TRY} mkfifo gate; (read -r <gate; try early) & start >/dev/null || exit 9; echo >gate; wait; stop >/dev/null"
    );
    let worked = daemon.run(&script, &[]);
    assert!(worked.stdout.contains("early: refused\n"), "{worked:?}");
}

#[test]
fn leftovers_that_may_stay_keep_the_job_and_its_rules() {
    needs!();
    let daemon = daemon(&[CLOSED], "on-end: { leftovers: keep }\n");
    let script = format!(
        "{TRY} mkfifo gate; start >/dev/null || exit 9; (exec >late 2>&1; read -r <gate; try late) & stop >/dev/null"
    );
    daemon.run(&script, &[]);
    assert_eq!(daemon.answer(&["status"])["jobs"], 1);
    std::fs::write(daemon.path("gate"), "\n").expect("somebody reads it");
    daemon.wait_until_idle();
    assert_eq!(std::fs::read_to_string(daemon.path("late")).expect("it has said something"), "late: refused\n");
    assert!(daemon.log().of("job").last().expect("the end").at("/leftovers").as_array().is_some_and(Vec::is_empty));
}
