//! Losses, made on purpose: counted to the event, told, and never silent.

use std::collections::BTreeMap;

use end_to_end::{Job, Log, Run, needs};

use crate::shell;

/// Kind of line, and the probes whose records become such lines.
const KINDS: [(&str, &[&str]); 4] = [
    ("exec", &["exec"]),
    ("exit", &["exit"]),
    ("file", &["file"]),
    ("connect", &["connect4", "connect6", "sendmsg4", "sendmsg6", "syscall-connect"]),
];

fn submitted(log: &Log, probes: &[&str]) -> u64 {
    probes.iter().map(|probe| log.account(&format!("/probes/{probe}/submitted"))).sum()
}

/// Records of the agent's check of itself, which are in the account and in no line.
fn checks_own(log: &Log) -> BTreeMap<&'static str, u64> {
    KINDS
        .map(|(kind, probes)| {
            let lines = log.of(kind).count() as u64;
            (kind, submitted(log, probes) - lines)
        })
        .into()
}

fn tiny(job: Job) -> Job {
    job.option("--critical-ring").option("4").option("--bulk-ring").option("4")
}

fn flood() -> Job {
    let script = "for s in 1 2 3 4; do (\"$ACT\" exec storm 150 \"s$s\" & \"$ACT\" open watched-storm ~/w 300 & \
                  \"$ACT\" net storm 1000; wait) & done; wait";
    let mut job = shell(script);
    for number in 0..300 {
        job = job.file(&format!("w/{number}/.npmrc"), "");
    }
    job
}

fn balanced(run: &Run) {
    let log = &run.log;
    assert_eq!(log.account("/difference"), 0);
    assert_eq!(log.account("/refused"), 0);
    assert_eq!(log.account("/notices_dropped"), 0);
    assert_eq!(log.account("/received"), log.account("/submitted"));
    let probes = log.ended().at("/account/probes").as_object().expect("probes by name").clone();
    for (name, counters) in &probes {
        let of = |field: &str| counters[field].as_u64().expect("a count is a number");
        assert_eq!(of("seen"), of("submitted") + of("ring_full") + of("oversize") + of("busy"), "{name}");
    }
}

#[test]
fn what_a_ring_made_tiny_loses_is_counted_to_the_event() {
    needs!();
    let quiet = shell("true").run().whole();
    let own = checks_own(&quiet.log);
    let run = tiny(flood()).run();
    assert_eq!(run.code(), 0, "{}", run.stderr);
    balanced(&run);
    let log = &run.log;
    assert!(log.account("/lost") > 0, "nothing was lost, so nothing was shown");
    for (kind, probes) in KINDS {
        let lines = log.of(kind).count() as u64;
        assert_eq!(lines + own[kind], submitted(log, probes), "{kind}: lines, and what was submitted");
    }
    // What the job did is known, so what is missing is known too. The kernel leaves out no run of a program on a cgroup; of
    // others it says how many.
    let connects: u64 = log.account("/probes/connect4/seen");
    assert_eq!(connects, 4000 + own["connect"]);
    let (skipped, opens) = (log.account("/skipped"), 1200 + own["file"]);
    let seen = log.account("/probes/file/seen");
    assert!((opens.saturating_sub(skipped)..=opens).contains(&seen), "{seen} of {opens} opens, {skipped} runs skipped");
    // Each loss was told, and what was told adds up.
    let mut told: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for loss in log.of("loss") {
        *told.entry((loss.text("place"), loss.text("reason"))).or_default() += loss.number("count");
    }
    assert_eq!(run.left_out().values().sum::<u64>(), skipped);
    let probes = log.ended().at("/account/probes").as_object().expect("probes by name").clone();
    for (name, counters) in &probes {
        for (field, reason) in [("ring_full", "ring full"), ("oversize", "oversize"), ("busy", "busy")] {
            let counted = counters[field].as_u64().unwrap();
            assert_eq!(told.get(&(name.as_str(), reason)).copied().unwrap_or(0), counted, "{name} {reason}");
        }
    }
}

#[test]
fn max_loss_turns_a_loss_into_exit_code_3() {
    needs!();
    let run = tiny(flood()).option("--max-loss").option("0").run();
    let lost = run.log.account("/lost");
    assert!(lost > 0);
    assert_eq!(run.code(), 3);
    // Runs of probes that the kernel left out are among them.
    let told = run.stderr.lines().find_map(|line| line.split_once("ending with 3: ")?.1.split_once(' '));
    let (told, rest) = told.unwrap_or_else(|| panic!("{}", run.stderr));
    let skipped = run.log.account("/skipped");
    assert!((lost..=lost + skipped).contains(&told.parse().expect("a number")), "{told}");
    assert!(
        rest.starts_with("records or notices were lost") && rest.ends_with(", more than --max-loss allows"),
        "{rest}"
    );
}

#[test]
fn max_loss_does_not_hide_the_commands_own_code() {
    needs!();
    let run = tiny(flood().variable("BASH_ENV", "")).option("--max-loss").option("1000000").run();
    assert_eq!(run.code(), 0, "{}", run.stderr);
    balanced(&run);
}

#[test]
fn fail_on_turns_a_finding_into_exit_code_3_and_keeps_the_commands_own() {
    needs!();
    let job = |script: &str, severity: &str| {
        shell(script).file(".aws/credentials", "dummy").option("--fail-on").option(severity).run()
    };
    assert_eq!(job("cat ~/.aws/credentials", "high").code(), 3);
    assert_eq!(job("cat ~/.aws/credentials; exit 7", "high").code(), 7);
    assert_eq!(job("true", "low").code(), 0);
}
