//! Elasticsearch and OpenSearch: an action line and a document with ECS names for the bulk interface.
//!
//! Source: Elastic, "Bulk API" (`create`, which data streams take and which a repetition can't double) and the Elastic Common
//! Schema 8.11. What ECS has no name for is in `runner_agent`, which is the event log's line as it is.

use std::net::IpAddr;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::format::{About, Objection};
use super::line::Line;
use super::{attributes, facts, key_text};
use crate::event::{Activity, Process};
use crate::notice::{Content, Notice};
use crate::policy::{Severity, Verdict};
use crate::text::base_name;

const ECS: &str = "8.11.0";

#[derive(Serialize)]
struct Action<'a> {
    create: Id<'a>,
}

#[derive(Serialize)]
struct Id<'a> {
    _id: &'a str,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    message: String,
    #[serde(rename = "ecs.version")]
    ecs: &'static str,
    event: EcsEvent<'a>,
    #[serde(rename = "host.name")]
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<EcsProcess<'a>>,
    #[serde(rename = "user.id", skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(rename = "file.path", skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<EcsDestination<'a>>,
    #[serde(rename = "network.transport", skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    #[serde(rename = "dns.question.name", skip_serializing_if = "Option::is_none")]
    question: Option<&'a str>,
    #[serde(rename = "dns.resolved_ip", skip_serializing_if = "<[_]>::is_empty")]
    resolved: &'a [IpAddr],
    #[serde(rename = "rule.name", skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    labels: Labels<'a>,
    runner_agent: Line<'a>,
}

#[derive(Serialize)]
struct EcsEvent<'a> {
    id: &'a str,
    kind: &'static str,
    category: &'static [&'static str],
    #[serde(rename = "type")]
    types: &'static [&'static str],
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The higher the worse; 0 to 100 as Elastic's own rules have it.
    severity: u32,
    sequence: u64,
    module: &'static str,
    dataset: &'static str,
}

#[derive(Serialize)]
struct EcsProcess<'a> {
    entity_id: String,
    pid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    executable: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    args: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    working_directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u32>,
    #[serde(rename = "parent.entity_id", skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

#[derive(Serialize)]
struct EcsDestination<'a> {
    address: String,
    ip: IpAddr,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
}

/// ECS's labels are keywords without dots in their names.
struct Labels<'a>(&'a About);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        attributes::visit(self.0, &mut |name, value| {
            if result.is_ok() && name != "host.name" {
                result = map.serialize_entry(&name.replace('.', "_"), value);
            }
        });
        result?;
        map.end()
    }
}

/// Appends a notice: two lines, without a line feed after the second.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let content = &notice.content;
    let id = about.id(notice);
    super::write(&Action { create: Id { _id: &id } }, out);
    out.push(b'\n');
    let process = facts::process(content);
    let mut document = Document {
        timestamp: about.encoder.timestamp(notice.at_ns),
        message: facts::sentence(notice),
        ecs: ECS,
        event: event(notice, &id),
        host: &about.host,
        process: process.map(|process| ecs_process(process, content)),
        user: process.map(|process| process.program.uid.to_string()),
        file: None,
        destination: None,
        transport: None,
        question: None,
        resolved: &[],
        rule: facts::rule(content),
        labels: Labels(about),
        runner_agent: about.encoder.line(notice, ""),
    };
    if let Content::Event(happened) = content {
        of_activity(&happened.activity, &mut document);
    }
    if let Content::Finding(finding) = content {
        document.rule = Some(finding.id);
    }
    super::write(&document, out);
}

fn of_activity<'a>(activity: &'a Activity, document: &mut Document<'a>) {
    match activity {
        Activity::File(file) => document.file = Some(&file.path),
        Activity::Attempt(attempt) => document.file = attempt.path.as_deref(),
        Activity::Connect(connection) => {
            document.destination = Some(EcsDestination {
                address: connection.host(),
                ip: connection.address,
                port: connection.port,
                domain: connection.names.first().map(|name| &**name),
            });
            document.transport = Some(connection.protocol.to_string());
        }
        Activity::Dns(message) => {
            document.destination = Some(EcsDestination {
                address: message.server.to_string(),
                ip: message.server,
                port: 53,
                domain: None,
            });
            document.question = Some(&message.name);
            document.resolved = &message.addresses;
        }
        Activity::Exit { status } => {
            if let Some(process) = &mut document.process {
                process.exit_code = super::exit_of(*status).code();
            }
        }
        Activity::Exec { .. }
        | Activity::Socket { .. }
        | Activity::Device { .. }
        | Activity::IoUring
        | Activity::CgroupMove { .. } => {}
    }
}

/// Category and types are words that ECS lists; `process` and `info` are its nearest for what it has no word for.
fn event<'a>(notice: &'a Notice, id: &'a str) -> EcsEvent<'a> {
    let content = &notice.content;
    let (category, types): (&[&str], &[&str]) = match content {
        Content::Event(event) => match &event.activity {
            Activity::Exec { .. } => (&["process"], &["start"]),
            Activity::Exit { .. } => (&["process"], &["end"]),
            Activity::File(_) | Activity::Device { .. } => (&["file"], &["access"]),
            Activity::Connect(_) | Activity::Socket { .. } => (&["network"], &["connection", "start"]),
            Activity::Dns(_) => (&["network"], &["protocol"]),
            Activity::IoUring | Activity::CgroupMove { .. } | Activity::Attempt(_) => (&["process"], &["info"]),
        },
        Content::Finding(_) => (&["intrusion_detection"], &["info"]),
        Content::JobStarted(_) => (&["session"], &["start"]),
        Content::JobEnded(_) => (&["session"], &["end"]),
        Content::Loss(_) | Content::Agent(_) | Content::Checkpoint(_) | Content::Receipt(_) => (&["host"], &["info"]),
    };
    EcsEvent {
        id,
        kind: if facts::is_alarm(notice) { "alert" } else { "event" },
        category,
        types,
        action: if facts::is_alarm(notice) { facts::alarm_name(content) } else { facts::kind(content) },
        outcome: facts::verdict(content).map(|verdict| if verdict == Verdict::Blocked { "failure" } else { "unknown" }),
        severity: match facts::severity(notice) {
            Severity::Info => 0,
            Severity::Low => 21,
            Severity::Medium => 47,
            Severity::High => 73,
            Severity::Critical => 99,
        },
        sequence: notice.seq,
        module: "runner_agent",
        dataset: "runner_agent.notice",
    }
}

fn ecs_process<'a>(process: &'a Process, content: &'a Content) -> EcsProcess<'a> {
    EcsProcess {
        entity_id: key_text(process.key),
        pid: process.key.tgid,
        executable: &process.program.exe,
        name: base_name(&process.program.exe),
        args: facts::arguments(process, content).0,
        working_directory: &process.program.cwd,
        exit_code: None,
        parent: process.parent_key.map(key_text),
    }
}

/// What a bulk request's answer objects to: `errors` says that some item was not taken, each has its own status. An item that is
/// there already (409) came before; with several it is left to who sends them one by one to find out which.
pub(super) fn objection(answer: &[u8], items: usize) -> Option<Objection> {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(answer) else {
        return Some(Objection::Now("the answer is none of a bulk request".to_owned()));
    };
    if answer["errors"] == false {
        return None;
    }
    let results: Vec<&serde_json::Value> =
        answer["items"].as_array().into_iter().flatten().filter_map(|item| item.as_object()?.values().next()).collect();
    let is_bad = |result: &&&serde_json::Value| !matches!(result["status"].as_u64(), Some(200..=299 | 409));
    let bad: Vec<_> = results.iter().filter(is_bad).collect();
    if bad.is_empty() && results.len() == items {
        return None;
    }
    let why = bad.first().map_or_else(
        || "it answers for other items".to_owned(),
        |result| format!("{}: {}", result["status"], result["error"]["reason"].as_str().unwrap_or("no reason given")),
    );
    let is_busy = |result: &&&&serde_json::Value| matches!(result["status"].as_u64(), None | Some(429 | 500..));
    Some(if bad.is_empty() || bad.iter().any(|result| is_busy(&result)) {
        Objection::Now(why)
    } else {
        Objection::Ever(why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &str, items: usize) -> Option<Objection> {
        objection(answer.as_bytes(), items)
    }

    #[test]
    fn an_item_that_was_not_taken_is_found_in_an_answer_that_says_200() {
        assert_eq!(said(r#"{"took":1,"errors":false,"items":[]}"#, 2), None);
        let refused = r#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":400,"error":{"reason":"no mapping"}}}]}"#;
        assert_eq!(said(refused, 2), Some(Objection::Ever("400: no mapping".to_owned())));
        let busy = r#"{"errors":true,"items":[{"create":{"status":429,"error":{"reason":"queue full"}}},{"create":{"status":400}}]}"#;
        assert_eq!(said(busy, 2), Some(Objection::Now("429: queue full".to_owned())));
    }

    #[test]
    fn an_item_that_came_before_is_there() {
        let known = r#"{"errors":true,"items":[{"create":{"status":409,"error":{"reason":"version conflict"}}}]}"#;
        assert_eq!(said(known, 1), None);
        assert_eq!(said(known, 2), Some(Objection::Now("it answers for other items".to_owned())));
    }

    #[test]
    fn what_is_no_answer_to_a_bulk_request_is_no_delivery() {
        assert!(matches!(said("ok", 1), Some(Objection::Now(_))));
    }
}
