//! CloudEvents 1.0: the event log's line as the data of an event in the JSON format.
//!
//! Source: the CloudEvents specification 1.0.2 with its JSON event format and batch mode. Names of extensions are lower-case
//! letters and digits only, by its rule.

use std::fmt::Write as _;

use serde::Serialize;

use super::facts;
use super::format::About;
use super::line::Line;
use crate::notice::{Content, Notice};

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    /// An extension that the specification documents: compares as text, so it has leading zeros.
    sequence: String,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runid: Option<&'a str>,
    data: Line<'a>,
}

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let identity = about.identity.as_ref();
    let event = CloudEvent {
        specversion: "1.0",
        id: about.id(notice),
        source: source(&about.host),
        event_type: match &notice.content {
            Content::Finding(finding) => format!("runner_agent.finding.{}", finding.id),
            other => format!("runner_agent.{}", facts::kind(other)),
        },
        subject: &about.job,
        time: about.encoder.timestamp(notice.at_ns),
        datacontenttype: "application/json",
        sequence: format!("{:020}", notice.seq),
        severity: facts::severity(notice).as_str(),
        repository: identity.and_then(|identity| identity.repository.as_deref()).filter(|text| !text.is_empty()),
        runid: identity.and_then(|identity| identity.run_id.as_deref()).filter(|text| !text.is_empty()),
        data: about.encoder.line(notice, ""),
    };
    super::write(&event, out);
}

/// A URI reference: whatever could mean something in one is percent-encoded (RFC 3986, unreserved characters).
fn source(host: &str) -> String {
    let mut uri = String::from("/runner-agent/");
    for byte in host.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_of_any_name_makes_a_uri_reference() {
        assert_eq!(super::source("runner-7.example.org"), "/runner-agent/runner-7.example.org");
        assert_eq!(super::source("a b/é"), "/runner-agent/a%20b%2F%C3%A9");
    }
}
