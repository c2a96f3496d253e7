//! The table for people, and the single measurements for programs.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use super::agent::Footprint;
use super::ceiling;
use super::load::Kind;
use super::stats::{Ratio, median};

/// One load, all rounds.
#[derive(Debug)]
pub struct Measure {
    pub kind: Kind,
    pub baseline_ns: Vec<f64>,
    pub agent_ns: Vec<f64>,
}

impl Measure {
    pub fn new(kind: Kind) -> Self {
        Self { kind, baseline_ns: Vec::new(), agent_ns: Vec::new() }
    }

    fn ratio(&self) -> Option<Ratio> {
        Ratio::of(&self.baseline_ns, &self.agent_ns)
    }

    fn is_met(&self) -> Option<bool> {
        Some(self.ratio()?.median <= ceiling::ratio(self.kind)?)
    }
}

pub struct Report {
    pub rounds: u32,
    pub quick: bool,
    pub measures: Vec<Measure>,
    pub footprint: Footprint,
    pub binary_bytes: u64,
}

impl Report {
    pub fn markdown(&self) -> String {
        let quick = if self.quick { "; a quick run, no measurement" } else { "" };
        let mut text = format!(
            "Kernel {}, {} CPUs, {} rounds, medians{quick}.\n\n\
             | load | bare | under the agent | ratio | lowest – highest | ceiling | |\n|---|--:|--:|--:|--:|--:|---|\n",
            kernel(),
            std::thread::available_parallelism().map_or(1, usize::from),
            self.rounds
        );
        for measure in &self.measures {
            let (Some(ratio), Some(bare), Some(agent)) =
                (measure.ratio(), median(&measure.baseline_ns), median(&measure.agent_ns))
            else {
                continue;
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.3} | {:.3} – {:.3} | {} | {} |",
                measure.kind.title(),
                duration(bare),
                duration(agent),
                ratio.median,
                ratio.lowest,
                ratio.highest,
                ceiling::ratio(measure.kind).map_or_else(|| "none".to_owned(), |ceiling| format!("{ceiling:.2}")),
                verdict(measure.is_met()),
            );
        }
        text.push_str("\n| the agent itself | | ceiling | |\n|---|--:|--:|---|\n");
        for (name, value, ceiling, met) in self.own_costs() {
            let _ = writeln!(text, "| {name} | {value} | {ceiling} | {} |", verdict(met));
        }
        text
    }

    /// Name, value, ceiling, met.
    fn own_costs(&self) -> [(&'static str, String, String, Option<bool>); 3] {
        const MIB: f64 = 1024.0 * 1024.0;
        let ready = median(&self.footprint.ready_ms);
        [
            (
                "peak resident memory",
                format!("{:.1} MiB", self.footprint.peak_kib as f64 / 1024.0),
                format!("{} MiB", ceiling::PEAK_KIB / 1024),
                Some(self.footprint.peak_kib <= ceiling::PEAK_KIB),
            ),
            (
                "start to ready",
                ready.map_or_else(|| "not in the log".to_owned(), |ready| format!("{ready:.0} ms")),
                format!("{:.0} ms", ceiling::READY_MS),
                ready.map(|ready| ready <= ceiling::READY_MS),
            ),
            (
                "release binary",
                format!("{:.1} MiB", self.binary_bytes as f64 / MIB),
                format!("{:.0} MiB", ceiling::BINARY_BYTES as f64 / MIB),
                Some(self.binary_bytes <= ceiling::BINARY_BYTES),
            ),
        ]
    }

    pub fn json(&self) -> String {
        let measures: Vec<Value> = self
            .measures
            .iter()
            .map(|measure| {
                json!({
                    "load": measure.kind.word(),
                    "operations": measure.kind.count(),
                    "baseline_ns": measure.baseline_ns,
                    "agent_ns": measure.agent_ns,
                    "ratio_median": measure.ratio().map(|ratio| ratio.median),
                    "ratio_lowest": measure.ratio().map(|ratio| ratio.lowest),
                    "ratio_highest": measure.ratio().map(|ratio| ratio.highest),
                    "ceiling": ceiling::ratio(measure.kind),
                    "met": measure.is_met(),
                })
            })
            .collect();
        let report = json!({
            "kernel": kernel(),
            "rounds": self.rounds,
            "quick": self.quick,
            "measures": measures,
            "peak_kib": self.footprint.peak_kib,
            "ready_ms": self.footprint.ready_ms,
            "binary_bytes": self.binary_bytes,
        });
        format!("{report:#}\n")
    }
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "not met",
        None => "",
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 1e4 => format!("{short:.0} ns"),
        short if short < 1e7 => format!("{:.1} µs", short / 1e3),
        long if long < 1e9 => format!("{:.1} ms", long / 1e6),
        long => format!("{:.2} s", long / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(agent_ns: f64) -> Report {
        Report {
            rounds: 1,
            quick: false,
            measures: vec![Measure { kind: Kind::Connect, baseline_ns: vec![10_000.0], agent_ns: vec![agent_ns] }],
            footprint: Footprint { peak_kib: 20 * 1024, ready_ms: Vec::new() },
            binary_bytes: 13 * 1024 * 1024,
        }
    }

    #[test]
    fn the_table_says_what_is_met_and_what_is_not() {
        let text = report(11_000.0).markdown();
        assert!(
            text.contains("| TCP connect, loopback | 10.0 µs | 11.0 µs | 1.100 | 1.100 – 1.100 | 1.15 | met |"),
            "{text}"
        );
        assert!(text.contains("| release binary | 13.0 MiB | 12 MiB | not met |"), "{text}");
        assert!(report(12_000.0).markdown().contains("| 1.15 | not met |"));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_failed() {
        assert!(report(1.0).markdown().contains("| start to ready | not in the log | 300 ms |  |"));
    }
}
