//! Splunk's HTTP event collector: the event log's line as `event`, what is the same for a job as indexed `fields`.
//!
//! Source: Splunk, "Format events for HTTP Event Collector". The index is the token's; objects follow one another without
//! an array around them.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::format::About;
use super::line::Line;
use super::{attributes, facts};
use crate::notice::Notice;

#[derive(Serialize)]
struct HecEvent<'a> {
    /// Seconds since 1970. Microseconds are what the number's 53 bits have room for.
    time: f64,
    host: &'a str,
    source: &'static str,
    sourcetype: String,
    event: Line<'a>,
    fields: Fields<'a>,
}

/// A flat object of texts, which is what the collector takes.
struct Fields<'a>(&'a About, &'a Notice);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = map.serialize_entry("severity", facts::severity(self.1).as_str());
        attributes::visit(self.0, &mut |name, value| {
            // The host has a place of its own.
            if result.is_ok() && name != "host.name" {
                result = map.serialize_entry(name, value);
            }
        });
        result?;
        map.end()
    }
}

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let microseconds = about.encoder.since_1970(notice.at_ns) / 1000;
    let event = HecEvent {
        time: microseconds as f64 / 1e6,
        host: &about.host,
        source: "runner-agent",
        sourcetype: format!("runner_agent:{}", facts::kind(&notice.content)),
        event: about.encoder.line(notice, ""),
        fields: Fields(about, notice),
    };
    super::write(&event, out);
}
