//! Waiting for a machine that does nothing else: a neighbour's build makes a call of 300 ns one of 600.

use std::fs;
use std::time::{Duration, Instant};

/// How long the machine is watched.
const LOOK: Duration = Duration::from_millis(400);

/// Share of its time that a quiet machine is idle.
const IDLE: f64 = 0.9;

/// Waits until the machine is quiet; false when the time is up before.
pub fn wait(at_most: Duration) -> bool {
    let deadline = Instant::now() + at_most;
    while Instant::now() < deadline {
        let before = read();
        std::thread::sleep(LOOK);
        if idle(before, read()) >= IDLE && !is_agent_about() {
            return true;
        }
    }
    at_most.is_zero()
}

/// Another agent's hooks on system calls would be paid for by every load, with and without an agent of ours.
fn is_agent_about() -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .any(|name| name.starts_with("runner-agent"))
}

/// Idle and whole time of all CPUs so far, in ticks.
fn read() -> (f64, f64) {
    parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// `cpu  user nice system idle iowait irq softirq steal …` of proc(5).
fn parse(text: &str) -> (f64, f64) {
    let line = text.lines().next().unwrap_or_default();
    let times: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|time| time.parse().ok()).collect();
    (times.iter().skip(3).take(2).sum(), times.iter().sum())
}

fn idle(before: (f64, f64), after: (f64, f64)) -> f64 {
    let whole = after.1 - before.1;
    if whole > 0.0 { (after.0 - before.0) / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_data_is_idle_too() {
        let (before, after) =
            (parse("cpu  10 0 10 100 0 0 0 0 0 0\n"), parse("cpu  15 0 10 140 5 0 0 0 0 0\ncpu0 1\n"));
        assert!((idle(before, after) - 0.9).abs() < 1e-9);
    }
}
