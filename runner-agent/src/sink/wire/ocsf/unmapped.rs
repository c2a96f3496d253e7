//! What the schema has no attribute for, under the names of the event log and of OpenTelemetry.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::super::attributes;
use super::super::facts::{self, Value};
use super::super::format::About;
use crate::notice::Content;

/// Fields of the log that have a place elsewhere in the object.
const PLACED: &[&str] = &[
    "verdict",
    "rule",
    "exit_code",
    "path",
    "destination.ip",
    "destination.port",
    "destination.protocol",
    "server",
    "name",
    "query_type",
    "answer_code",
    "addresses",
    "id",
    "severity",
    "message",
    "technique",
    "evidence",
    "fix",
    "count",
    "operation",
    "state",
    "version",
];

/// Attributes that have one too.
const PLACED_ATTRIBUTES: &[&str] = &["host.name", "runner_agent.policy.name", "runner_agent.policy.sha256"];

pub(super) struct Unmapped<'a> {
    pub(super) content: &'a Content,
    pub(super) about: &'a About,
}

impl Serialize for Unmapped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        attributes::visit(self.about, &mut |name, value| {
            if result.is_ok() && !PLACED_ATTRIBUTES.contains(&name) {
                result = map.serialize_entry(name, value);
            }
        });
        facts::details(self.content, &mut |name, value| {
            if result.is_ok() && !PLACED.contains(&name) && !value.says_nothing() {
                result = map.serialize_entry(name, &value);
            }
        });
        result?;
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Number(number) => serializer.serialize_u64(*number),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::List(items) => serializer.collect_seq(items),
        }
    }
}
