//! OTLP logs as protobuf: one record a notice, with the job's attributes as its resource.
//!
//! Source: the OpenTelemetry protocol 1.x (`opentelemetry.proto.logs.v1`) and the semantic conventions' registry of attributes. An
//! item is a whole `LogsData` of one record. Its only field is repeated, so items that follow one another are one message
//! again: a body is their concatenation, and is an `ExportLogsServiceRequest`, which has the same field.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::attributes;
use super::facts::{self, Value};
use super::format::About;
use crate::event::Activity;
use crate::notice::{Content, Notice};
use crate::policy::Severity;

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let version = env!("CARGO_PKG_VERSION");
    let mut resource = vec![text("service.name", "runner-agent"), text("service.version", version)];
    attributes::visit(about, &mut |name, value| resource.push(text(name, value)));
    let scope =
        InstrumentationScope { name: "runner-agent".to_owned(), version: version.to_owned(), ..Default::default() };
    let logs = ScopeLogs { scope: Some(scope), log_records: vec![record(notice, about)], ..Default::default() };
    let of_job = ResourceLogs {
        resource: Some(Resource { attributes: resource, ..Default::default() }),
        scope_logs: vec![logs],
        ..Default::default()
    };
    out.extend(LogsData { resource_logs: vec![of_job] }.encode_to_vec());
}

fn record(notice: &Notice, about: &About) -> LogRecord {
    let content = &notice.content;
    let at = u64::try_from(about.encoder.since_1970(notice.at_ns)).unwrap_or_default();
    let severity = facts::severity(notice);
    let mut attributes = vec![text("log.record.uid", about.id(notice)), number("runner_agent.seq", notice.seq)];
    if let Some(process) = facts::process(content) {
        facts::of_process(process, content, &mut |name, value| push(process_name(name), value, &mut attributes));
        if let Some(parent) = process.parent_key {
            attributes.push(number("process.parent_pid", parent.tgid.into()));
        }
    }
    if let Content::Event(event) = content
        && let Activity::Connect(connection) = &event.activity
    {
        attributes.push(text("destination.address", connection.host()));
    }
    facts::details(content, &mut |name, value| {
        // A finding's message is the body.
        if name != "message" {
            push(detail_name(name), value, &mut attributes);
        }
    });
    let name = match content {
        Content::Finding(finding) => format!("runner_agent.finding.{}", finding.id),
        other => format!("runner_agent.{}", facts::kind(other)),
    };
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: severity_number(severity).into(),
        severity_text: severity.as_str().to_owned(),
        event_name: name,
        body: Some(AnyValue { value: Some(Any::StringValue(facts::sentence(notice))) }),
        attributes,
        ..Default::default()
    }
}

fn push(name: Cow<'static, str>, value: Value<'_>, attributes: &mut Vec<KeyValue>) {
    if value.says_nothing() {
        return;
    }
    let string = |text: Cow<'_, str>| AnyValue { value: Some(Any::StringValue(text.into_owned())) };
    let value = match value {
        Value::Text(text) => string(text),
        Value::Number(number) => AnyValue { value: Some(Any::IntValue(number.cast_signed())) },
        Value::Flag(flag) => AnyValue { value: Some(Any::BoolValue(flag)) },
        Value::List(items) => {
            let values = items.into_iter().map(string).collect();
            AnyValue { value: Some(Any::ArrayValue(ArrayValue { values })) }
        }
    };
    attributes.push(KeyValue { key: name.into_owned(), value: Some(value), ..Default::default() });
}

fn text(name: &str, value: impl Into<String>) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.into())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..Default::default() }
}

fn number(name: &str, value: u64) -> KeyValue {
    let value = AnyValue { value: Some(Any::IntValue(value.cast_signed())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..Default::default() }
}

/// The registry's name for a process's field, or one of ours.
fn process_name(name: &'static str) -> Cow<'static, str> {
    match name {
        "pid" => "process.pid".into(),
        "exe" => "process.executable.path".into(),
        "argv" => "process.command_args".into(),
        "cwd" => "process.working_directory".into(),
        "uid" => "process.user.id".into(),
        other => format!("runner_agent.process.{other}").into(),
    }
}

/// The registry's name for another field, or one of ours.
fn detail_name(name: &'static str) -> Cow<'static, str> {
    match name {
        "path" => "file.path".into(),
        "destination.ip" | "server" => "network.peer.address".into(),
        "destination.port" => "network.peer.port".into(),
        "destination.protocol" => "network.transport".into(),
        "name" => "dns.question.name".into(),
        "addresses" => "dns.answers".into(),
        "exit_code" => "process.exit.code".into(),
        other => format!("runner_agent.{other}").into(),
    }
}

fn severity_number(severity: Severity) -> SeverityNumber {
    match severity {
        Severity::Info => SeverityNumber::Info,
        Severity::Low => SeverityNumber::Info2,
        Severity::Medium => SeverityNumber::Warn,
        Severity::High => SeverityNumber::Error,
        Severity::Critical => SeverityNumber::Fatal,
    }
}
