//! The daemon in figures.

use std::fs;
use std::time::Duration;

use end_to_end::host::patience;
use end_to_end::{Daemon, binary, needs, wait_until};

use crate::{ACT, CLOSED, TRY, daemon};

/// The value of a figure, by its name with labels.
fn figure(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn figures_tell_of_jobs_and_of_every_record() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    let text = || daemon.answer(&["metrics"])["metrics"].as_str().expect("text").to_owned();
    assert_eq!(figure(&text(), "runner_agent_jobs_begun_total"), Some(0));
    let script = format!("{TRY} start >/dev/null || exit 9; try during; stop >/dev/null");
    daemon.run(&script, &[]);
    daemon.wait_until_idle();
    let after = text();
    for (name, value) in [
        ("runner_agent_jobs_begun_total", 1),
        ("runner_agent_jobs_ended_total", 1),
        ("runner_agent_receipts_issued_total", 1),
        ("runner_agent_jobs_running", 0),
        ("runner_agent_records_unaccounted_total", 0),
        ("runner_agent_notices_dropped_total", 0),
        ("runner_agent_findings_told_total{id=\"egress-denied\",severity=\"medium\"}", 1),
    ] {
        assert_eq!(figure(&after, name), Some(value), "{name} in\n{after}");
    }
    let seen: u64 = after
        .lines()
        .filter_map(|line| {
            line.strip_prefix("runner_agent_records_seen_total{")?.split(' ').nth(1)?.parse::<u64>().ok()
        })
        .sum();
    let lost: u64 = after
        .lines()
        .filter(|line| line.starts_with("runner_agent_records_lost_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    let received = figure(&after, "runner_agent_records_received_total");
    assert!(seen > 0 && received == Some(seen - lost), "{seen} seen, {lost} lost, {received:?} received");
    assert!(after.ends_with("# EOF\n"), "whoever scrapes knows that this is all");
}

#[test]
fn figures_are_for_root_and_the_owner() {
    needs!();
    let daemon = daemon(&[CLOSED], "owner: 12345\n");
    let ask = format!("{} job metrics --socket {}", daemon.program().display(), daemon.path("socket").display());
    let by = |uid: u32| {
        use std::os::unix::process::CommandExt as _;
        let out = daemon.worker(&ask, &[]).uid(uid).output().expect("a shell");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = by(12346);
    assert!(code == Some(125) && said.contains("uid 12346 may not ask for figures"), "{said}");
    let (code, said) = by(12345);
    assert!(code == Some(0) && said.contains("runner_agent_jobs_running 0"), "{said}");
}

#[test]
fn a_file_has_the_figures_for_a_collector() {
    needs!();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("runner-agent.prom");
    let daemon = Daemon::start(binary::agent(ACT), &[CLOSED], &format!("metrics-file: {}\n", file.display()));
    assert!(wait_until(patience(Duration::from_secs(20)), || file.exists()), "{}", daemon.said());
    let text = fs::read_to_string(&file).expect("it is there");
    assert_eq!(figure(&text, "runner_agent_jobs_running"), Some(0), "{text}");
}
