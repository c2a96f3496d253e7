//! The daemon's figures in OpenMetrics text, for whoever scrapes: over the control socket, or from a file that node_exporter's textfile
//! collector reads. No port is opened for it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::agent::Figures;
use crate::sink::courier::Standing;

/// Stands in front of every name.
const PREFIX: &str = "runner_agent";

/// The text of the figures (OpenMetrics 1.0).
pub fn text(figures: Figures) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let about = vec![("version", env!("CARGO_PKG_VERSION")), ("tier", figures.tier)];
    registry.register("agent", "The agent that says so", Info::new(about));
    registry.register_collector(Box::new(Figured(figures)));
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// The same figures in the text format before OpenMetrics: node_exporter's textfile collector reads that one, and refuses the whole
/// file for a type that it doesn't know. There what is told of a family is told of its samples' name.
pub fn for_textfile(text: &str) -> String {
    let types: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let told = ["# HELP ", "# TYPE "].into_iter().find_map(|word| Some((word, line.strip_prefix(word)?)));
        // Writing to memory does not fail.
        let _ = match told.and_then(|(word, rest)| Some((word, rest.split_once(' ')?))) {
            Some((word, (family, rest))) => {
                let (end, kind) = match types.get(family) {
                    Some(&"counter") => ("_total", "counter"),
                    Some(&"info") => ("_info", "gauge"),
                    other => ("", other.copied().unwrap_or("untyped")),
                };
                writeln!(out, "{word}{family}{end} {}", if word == "# TYPE " { kind } else { rest })
            }
            None if line.starts_with('#') => Ok(()),
            None => writeln!(out, "{line}"),
        };
    }
    out
}

/// Puts the text where a collector reads it, whole or not at all.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

#[derive(Debug)]
struct Figured(Figures);

#[derive(Clone, Debug, EncodeLabelSet)]
struct OfProbe {
    probe: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct Lost {
    probe: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct OfSink {
    sink: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct LostBySink {
    sink: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct OfFinding {
    id: &'static str,
    severity: &'static str,
}

type Encoded = Result<(), std::fmt::Error>;

/// One counter without labels.
fn count(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> Encoded {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

/// One counter with a row for each set of labels.
fn counts<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (L, u64)>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, None, ConstCounter::new(0_u64).metric_type())?;
    for (labels, value) in rows {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Collector for Figured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Encoded {
        let Figures { jobs_running, past, account, .. } = &self.0;
        let running = ConstGauge::new(*jobs_running as i64);
        let metric = encoder.encode_descriptor("jobs_running", "Jobs under way", None, running.metric_type())?;
        running.encode(metric)?;
        let encoder = &mut encoder;
        count(encoder, "jobs_begun", "Jobs that began", past.begun)?;
        count(encoder, "jobs_ended", "Jobs that ended", past.ended)?;
        count(encoder, "receipts_issued", "Ended jobs that have a receipt", past.receipts)?;
        count(encoder, "jobs_disarmed", "Jobs that were ended because blocking was taken away", past.disarmed)?;
        count(encoder, "notices_dropped", "Notices that logs of ended jobs lack", past.notices_dropped)?;
        count(encoder, "records_received", "Records that came off the rings", account.received)?;
        count(encoder, "records_refused", "Records that could not be decoded", account.refused)?;
        count(encoder, "records_unaccounted", "Records that went missing and nobody counted", account.difference())?;
        let probes = || self.0.probes();
        let seen = probes().map(|(probe, counters)| (OfProbe { probe }, counters.seen));
        counts(encoder, "records_seen", "Records that a probe set out to send", seen)?;
        let lost = probes().flat_map(|(probe, counters)| {
            let reasons = [("ring full", counters.ring_full), ("oversize", counters.oversize), ("busy", counters.busy)];
            reasons.map(|(reason, count)| (Lost { probe, reason }, count))
        });
        counts(encoder, "records_lost", "Records that a probe could not send", lost)?;
        let skipped = account.skipped.iter().map(|(&probe, &runs)| (OfProbe { probe }, runs));
        counts(encoder, "runs_skipped", "Runs of a program that the kernel left out", skipped)?;
        let findings = past
            .findings
            .iter()
            .map(|(&(id, severity), &count)| (OfFinding { id, severity: severity.as_str() }, count));
        counts(encoder, "findings_told", "Findings in ended jobs", findings)?;
        sinks(encoder, &self.0.sinks)
    }
}

fn sinks(encoder: &mut DescriptorEncoder, standings: &[Standing]) -> Encoded {
    let handed = standings.iter().map(|standing| (OfSink { sink: standing.sink }, standing.handed));
    counts(encoder, "sink_notices_handed", "Notices that a sink was handed", handed)?;
    let lost = standings.iter().flat_map(|Standing { sink, lost, .. }| {
        let reasons = [("spool full", lost.dropped), ("refused", lost.refused)];
        reasons.map(|(reason, count)| (LostBySink { sink, reason }, count))
    });
    counts(encoder, "sink_notices_lost", "Notices that a sink lost", lost)?;
    let help = "Whether a sink's receiver has failed since it last took something";
    let mut family = encoder.encode_descriptor("sink_failing", help, None, ConstGauge::new(0_i64).metric_type())?;
    for standing in standings {
        let labels = OfSink { sink: standing.sink };
        ConstGauge::new(i64::from(standing.is_failing)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use runner_agent_common::map::Counters;

    use super::*;
    use crate::agent::Past;
    use crate::notice::Account;
    use crate::policy::Severity;
    use crate::sink::courier::Lost;

    fn figures() -> Figures {
        let counters = Counters { seen: 9, submitted: 7, ring_full: 2, ..Counters::default() };
        Figures {
            tier: "tracing",
            jobs_running: 2,
            past: Past {
                begun: 5,
                ended: 3,
                receipts: 3,
                findings: BTreeMap::from([(("secret-read", Severity::High), 4)]),
                ..Past::default()
            },
            account: Account {
                probes: BTreeMap::from([("exec", counters)]),
                received: 7,
                decoded: 7,
                ..Account::default()
            },
            sinks: vec![Standing { sink: "soc", handed: 12, lost: Lost { dropped: 1, refused: 2 }, is_failing: true }],
        }
    }

    #[test]
    fn every_figure_stands_in_the_text_with_its_type_and_its_help() {
        insta::assert_snapshot!(text(figures()));
    }

    #[test]
    fn a_collector_of_files_gets_the_same_figures_under_the_names_of_its_format() {
        let (open, file) = (text(figures()), for_textfile(&text(figures())));
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(samples(&open), samples(&file));
        assert!(file.starts_with(
            "# HELP runner_agent_agent_info The agent that says so.\n# TYPE runner_agent_agent_info gauge\n"
        ));
        assert!(
            file.contains("# TYPE runner_agent_jobs_begun_total counter\nrunner_agent_jobs_begun_total 5\n"),
            "{file}"
        );
        assert!(file.contains("# TYPE runner_agent_jobs_running gauge\n") && !file.contains("# EOF"), "{file}");
    }

    #[test]
    fn a_collector_reads_the_old_text_or_the_new_and_never_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner-agent.prom");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
