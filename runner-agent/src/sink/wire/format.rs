//! The forms in which notices leave: one notice becomes one item of bytes, and items that go together become one body.
//!
//! Items are bytes so that they can wait in a spool, over a restart too, and be sent again as they were.

use std::sync::Arc;

use super::{Encoder, alertmanager, cef, cloudevents, elastic, facts, ocsf, otlp, slack, splunk, syslog};
use crate::identity::JobIdentity;
use crate::notice::Notice;
use crate::policy::{Mode, Trust, words};

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The event log's own lines (`docs/event-log.md`), with an empty `prev`.
    Native,
    /// OCSF 1.8.0, for SIEMs and security data lakes.
    Ocsf,
    /// OTLP logs as protobuf, for any OpenTelemetry collector.
    Otlp,
    /// Syslog messages after RFC 5424; framing is left to the transport.
    Syslog,
    /// ArcSight's Common Event Format, one line each; over syslog it is the message of an RFC 5424 one.
    Cef,
    /// CloudEvents 1.0 in its JSON batch format.
    Cloudevents,
    /// Events for Splunk's HTTP event collector.
    SplunkHec,
    /// Bulk requests for Elasticsearch and OpenSearch, with ECS names.
    ElasticBulk,
    /// Messages for Slack's incoming webhooks: findings, losses, and what was done to the agent.
    Slack,
    /// Alerts for Prometheus's Alertmanager (API v2): the same notices as for Slack.
    Alertmanager,
}

words!(Format, "native, ocsf, otlp, syslog, cef, cloudevents, splunk-hec, elastic-bulk, slack, alertmanager", {
    Format::Native => "native",
    Format::Ocsf => "ocsf",
    Format::Otlp => "otlp",
    Format::Syslog => "syslog",
    Format::Cef => "cef",
    Format::Cloudevents => "cloudevents",
    Format::SplunkHec => "splunk-hec",
    Format::ElasticBulk => "elastic-bulk",
    Format::Slack => "slack",
    Format::Alertmanager => "alertmanager",
});

/// A notice's kind, as the log has it.
pub fn kind(notice: &Notice) -> &'static str {
    facts::kind(&notice.content)
}

/// Why something isn't there although the request was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It may be taken at another time.
    Now(String),
    /// It never will be.
    Ever(String),
}

/// What is the same for every notice of a job.
#[derive(Clone, Debug)]
pub struct About {
    /// Clock and view of the agent.
    pub encoder: Encoder,
    /// The job's id.
    pub job: Arc<str>,
    /// Name of the machine.
    pub host: String,
    /// Which job it is, where a provider says so.
    pub identity: Option<JobIdentity>,
    /// How far its code is trusted, where that was asked.
    pub trust: Option<Trust>,
    /// Name of its policy.
    pub policy: String,
    /// SHA-256 of the policy's files.
    pub policy_sha256: String,
    /// What happens to what the policy doesn't allow.
    pub mode: Mode,
}

impl About {
    /// What tells a notice from every other, whenever and however often it is sent.
    pub fn id(&self, notice: &Notice) -> String {
        self.id_of(notice.seq)
    }

    /// The same, of the notice with this number.
    pub fn id_of(&self, seq: u64) -> String {
        format!("{}-{seq}", self.job)
    }
}

impl Format {
    /// Every form, in the order of [`WORDS`](Self::WORDS).
    pub const ALL: &'static [Self] = &[
        Self::Native,
        Self::Ocsf,
        Self::Otlp,
        Self::Syslog,
        Self::Cef,
        Self::Cloudevents,
        Self::SplunkHec,
        Self::ElasticBulk,
        Self::Slack,
        Self::Alertmanager,
    ];

    /// Appends a notice as one item. False, and nothing is appended, when the form has no place for it: Slack and
    /// Alertmanager take what somebody should be called for, every other form takes every notice.
    pub fn encode(self, notice: &Notice, about: &About, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Native => about.encoder.encode(notice, "", out),
            Self::Ocsf => ocsf::encode(notice, about, out),
            Self::Otlp => otlp::encode(notice, about, out),
            Self::Syslog => syslog::encode(notice, about, out),
            Self::Cef => cef::encode(notice, about, out),
            Self::Cloudevents => cloudevents::encode(notice, about, out),
            Self::SplunkHec => splunk::encode(notice, about, out),
            Self::ElasticBulk => elastic::encode(notice, about, out),
            Self::Slack | Self::Alertmanager if !facts::is_alarm(notice) => return false,
            Self::Slack => slack::encode(notice, about, out),
            Self::Alertmanager => alertmanager::encode(notice, about, out),
        }
        true
    }

    /// One body of several items, in their order; at most [`most_items`](Self::most_items) of them.
    pub fn body(self, items: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Native | Self::Ocsf | Self::Syslog | Self::Cef | Self::SplunkHec | Self::ElasticBulk => {
                items.iter().flat_map(|item| item.iter().copied().chain([b'\n'])).collect()
            }
            // Each is a whole field of the request, and a message's fields may follow one another in any number.
            Self::Otlp => items.concat(),
            Self::Cloudevents | Self::Alertmanager => [&b"["[..], &items.join(&b","[..]), &b"]"[..]].concat(),
            Self::Slack => items.first().map_or_else(Vec::new, |item| item.to_vec()),
        }
    }

    /// What a receiver objects to although it says that all is well: bulk requests have a verdict for each item. `items` is how many
    /// were sent.
    pub fn objection(self, answer: &[u8], items: usize) -> Option<Objection> {
        match self {
            Self::ElasticBulk => elastic::objection(answer, items),
            _ => None,
        }
    }

    /// An item as one message after RFC 5424, for transports that carry those; `None` where the form is none for them. `host`
    /// is the machine's name. Framing is the transport's matter.
    pub fn syslog_message(self, item: &[u8], host: &str) -> Option<Vec<u8>> {
        match self {
            Self::Syslog => Some(item.to_vec()),
            Self::Cef => Some(cef::in_syslog(item, host)),
            _ => None,
        }
    }

    /// The body's media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Native | Self::Ocsf | Self::ElasticBulk => "application/x-ndjson",
            Self::Otlp => "application/x-protobuf",
            Self::Syslog | Self::Cef => "text/plain; charset=utf-8",
            Self::Cloudevents => "application/cloudevents-batch+json",
            Self::SplunkHec | Self::Slack | Self::Alertmanager => "application/json",
        }
    }

    /// The media type of one item that goes alone, for transports whose messages carry one each. `None` where items are requests to
    /// somebody's own interface, and no messages.
    pub fn item_type(self) -> Option<&'static str> {
        match self {
            Self::Native | Self::Ocsf => Some("application/json"),
            Self::Cloudevents => Some("application/cloudevents+json"),
            Self::Otlp | Self::Syslog | Self::Cef => Some(self.content_type()),
            Self::SplunkHec | Self::ElasticBulk | Self::Slack | Self::Alertmanager => None,
        }
    }

    /// How many items a body may have at most.
    pub fn most_items(self) -> usize {
        match self {
            // A webhook takes one message a call.
            Self::Slack => 1,
            // The answer has a verdict for each, and is read whole.
            Self::ElasticBulk => 500,
            _ => usize::MAX,
        }
    }
}
