//! How long it takes from a system call of a job to a signed alert at a receiver on this machine.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use end_to_end::{Receiver, needs, wait_until};

use crate::{closing, job, webhook};

/// Attempts, each at a port of its own: a finding is told once for each subject.
const ATTEMPTS: u64 = 300;

/// What the project promises where a machine has processors to spare, median and 99th percentile; held to it with
/// [`QUIET`] set.
const PROMISED: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(30)];

/// On a machine that others use, only where something waits that must not (a batch, a second's tick) the test fails.
const AT_MOST: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// Says that this machine has nothing else to do.
const QUIET: &str = "RUNNER_AGENT_TEST_QUIET_MACHINE";

#[test]
fn an_alert_is_at_its_receiver_within_milliseconds_of_the_system_call() {
    needs!();
    let (receiver, kept) = Receiver::keeping();
    let script = format!(
        "for port in $(seq 20001 {}); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; read -t 0.01 < pipe; done; true",
        20000 + ATTEMPTS
    );
    let run = job(&format!("mkfifo pipe; exec 4<>pipe; {script}").replace("< pipe", "<&4"), &webhook(&receiver, ""))
        .policy(&closing(&format!("20001-{}", 20000 + ATTEMPTS)))
        .run()
        .whole();
    assert!(wait_until(Duration::from_secs(20), || receiver.count() >= ATTEMPTS));
    assert_eq!(run.log.findings("egress-denied").count() as u64, ATTEMPTS);
    let mut took: Vec<Duration> = Vec::new();
    for received in &*kept.lock().expect("no holder panicked") {
        let Ok(line) = serde_json::from_slice::<serde_json::Value>(&received.body) else { continue };
        if line["kind"] != "finding" || line["id"] != "egress-denied" {
            continue;
        }
        assert!(received.header("webhook-signature").starts_with("v1,"));
        took.push(received.at.duration_since(moment(line["ts"].as_str().expect("a time"))).unwrap_or_default());
    }
    took.sort_unstable();
    assert_eq!(took.len() as u64, ATTEMPTS);
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    let told = format!(
        "latency, system call to signed alert, {ATTEMPTS} alerts: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, worst {:.2?}\n",
        at(50),
        at(90),
        at(99),
        took[took.len() - 1]
    );
    std::io::stderr().write_all(told.as_bytes()).expect("it can be told");
    let [median, worst] = if std::env::var_os(QUIET).is_some() { PROMISED } else { AT_MOST };
    assert!(at(50) <= median && at(99) <= worst, "{told}");
}

/// `2026-01-15T09:20:23.213088588Z` as a moment, by the civil calendar (days from March on, so that leap days come last).
fn moment(text: &str) -> SystemTime {
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().expect("digits");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // Days between 0000-03-01 and 1970-01-01.
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    UNIX_EPOCH + Duration::new(seconds, number(20..29) as u32)
}
