//! `sinks` of a configuration: who is sent what jobs did. Keys and secrets are read here, before any job starts.

mod nats;
mod secret;
mod target;
mod unit;

use std::collections::BTreeSet;
use std::time::Duration;

use super::check::walk::{Cursor, Fields};
use crate::sink::settings::{Batch, Bounds, Only, Settings};
use crate::sink::wire::format::Format;

/// Keys of every sink.
const COMMON: [&str; 9] = ["name", "type", "format", "only", "required", "timeout", "batch", "spool", "drain"];
/// Keys of a webhook besides.
const WEBHOOK: [&str; 7] = ["url", "sign", "hub-signature", "headers", "ca", "proxy", "compress"];
/// Keys of a syslog server besides.
const SYSLOG: [&str; 1] = ["address"];
/// Keys of a file besides.
const FILE: [&str; 1] = ["path"];
/// Keys of a stream of NATS besides.
const NATS: [&str; 5] = ["url", "subject", "login", "inbox", "ca"];
/// Types.
const TYPES: [&str; 4] = ["webhook", "syslog", "file", "nats"];

/// Keys of `batch`.
const BATCH_KEYS: &[&str] = &["bytes", "wait"];
/// Keys of `spool`.
const SPOOL_KEYS: &[&str] = &["bytes", "age"];

/// Longest name: it is a part of a file's.
const LONGEST_NAME: usize = 40;

const TIMEOUT: Duration = Duration::from_secs(15);
const DRAIN: Duration = Duration::from_secs(10);
const BATCH: Batch = Batch { bytes: 1 << 20, wait: Duration::from_secs(1) };
const BOUNDS: Bounds = Bounds { bytes: 64 << 20, age: Duration::from_hours(72) };

/// The sinks of a list, each once.
pub(super) fn sinks(list: &Cursor) -> Vec<Settings> {
    let mut names = BTreeSet::new();
    let mut sinks = Vec::new();
    for cursor in list.items() {
        let Some(settings) = sink(&cursor) else { continue };
        if names.insert(settings.name) {
            sinks.push(settings);
        } else {
            cursor.error(format!("is a second sink named {:?}; each has a name of its own", settings.name));
        }
    }
    sinks
}

fn sink(cursor: &Cursor) -> Option<Settings> {
    // The type first: it says which keys there are.
    let every = [COMMON.as_slice(), &WEBHOOK, &SYSLOG, &FILE, &NATS].concat();
    let kind = kind_of(cursor);
    let known = match kind {
        Some("webhook") => [COMMON.as_slice(), &WEBHOOK].concat(),
        Some("syslog") => [COMMON.as_slice(), &SYSLOG].concat(),
        Some("file") => [COMMON.as_slice(), &FILE].concat(),
        Some("nats") => [COMMON.as_slice(), &NATS].concat(),
        _ => every,
    };
    let fields = cursor.fields(&known)?;
    let name = fields.need("name", "say how it is called, as in `name: soc`").and_then(|cursor| name(&cursor));
    let hint = format!("say what it is, one of {}", TYPES.join(", "));
    let named = fields.need("type", &hint);
    if let Some(named) = &named
        && kind.is_none()
    {
        let word = named.text().unwrap_or_default();
        named.error(format!("{word:?} is no type of sink; write one of {}", TYPES.join(", ")));
    }
    let target = named.zip(kind).and_then(|(named, kind)| target::target(kind, &fields, &named));
    let format = form(&fields, kind);
    let only = fields.get("only").map_or(Some(Only::Findings), |word| word.word());
    let required = fields.get("required").map_or(Some(false), |truth| required(&truth, format));
    let span = |fields: &Fields, key: &str, otherwise, least, most| {
        fields.get(key).map_or(Some(otherwise), |cursor| unit::duration(&cursor, least, most))
    };
    let second = Duration::from_secs(1);
    let timeout = span(&fields, "timeout", TIMEOUT, second / 10, 60 * second);
    let drain = span(&fields, "drain", DRAIN, Duration::ZERO, 600 * second);
    let batch = part(&fields, "batch", BATCH_KEYS, Some(BATCH), |fields| {
        let bytes = fields.get("bytes").map_or(Some(BATCH.bytes as u64), |it| unit::bytes(&it, 1 << 10, 16 << 20));
        Some(Batch { bytes: bytes? as usize, wait: span(fields, "wait", BATCH.wait, Duration::ZERO, 60 * second)? })
    });
    let bounds = part(&fields, "spool", SPOOL_KEYS, Some(BOUNDS), |fields| {
        let bytes = fields.get("bytes").map_or(Some(BOUNDS.bytes), |it| unit::bytes(&it, 64 << 10, 16 << 30));
        let age = span(fields, "age", BOUNDS.age, second, Duration::from_hours(24 * 30));
        Some(Bounds { bytes: bytes?, age: age? })
    });
    Some(Settings {
        name: name?,
        target: target?,
        format: format?,
        only: only?,
        required: required?,
        batch: batch?,
        timeout: timeout?,
        bounds: bounds?,
        drain: drain?,
    })
}

/// The form; a syslog server takes those that are messages for it, a stream those whose items are messages by themselves.
fn form(fields: &Fields, kind: Option<&str>) -> Option<Format> {
    let is_syslog = kind == Some("syslog");
    let Some(cursor) = fields.get("format") else {
        return Some(if is_syslog { Format::Syslog } else { Format::Native });
    };
    let format: Format = cursor.word()?;
    if is_syslog && !matches!(format, Format::Syslog | Format::Cef) {
        cursor.error(format!("{format} is no form for a syslog server; write syslog or cef"));
        return None;
    }
    if kind == Some("nats") && format.item_type().is_none() {
        let right = Format::ALL.iter().filter(|format| format.item_type().is_some()).map(ToString::to_string);
        let right = right.collect::<Vec<_>>().join(", ");
        cursor.error(format!("{format} is no form for messages; write one of {right}"));
        return None;
    }
    Some(format)
}

/// A form that has no place for a job's start can't be waited for.
fn required(cursor: &Cursor, format: Option<Format>) -> Option<bool> {
    let truth = cursor.truth()?;
    if truth && let Some(form @ (Format::Slack | Format::Alertmanager)) = format {
        cursor.error(format!(
            "a job's start has no place in the form {form}; leave `required` out, or take another form"
        ));
        return None;
    }
    Some(truth)
}

/// The type as it stands there, if it is one.
fn kind_of(cursor: &Cursor) -> Option<&'static str> {
    let super::raw::Value::Map(entries) = &cursor.node.value else { return None };
    let (_, node) = entries.iter().find(|(key, _)| key.text == "type")?;
    let super::raw::Value::Text { text, .. } = &node.value else { return None };
    TYPES.into_iter().find(|kind| kind == text)
}

fn part<T>(
    fields: &Fields,
    key: &str,
    keys: &[&str],
    otherwise: Option<T>,
    read: impl FnOnce(&Fields) -> Option<T>,
) -> Option<T> {
    match fields.get(key) {
        None => otherwise,
        Some(cursor) => cursor.fields(keys).and_then(|fields| read(&fields)),
    }
}

/// A name, for the life of the process: losses and threads are called by it.
fn name(cursor: &Cursor) -> Option<&'static str> {
    /// Of sinks that every agent has.
    const TAKEN: [&str; 4] = ["log", "terminal", "resolver", "user"];
    let text = cursor.text()?;
    let is_word = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_word || text.len() > LONGEST_NAME || text.starts_with('-') {
        cursor.error(format!(
            "{text:?} is no name for a sink; write lower-case letters, digits and `-`, {LONGEST_NAME} at most, as in \"soc\""
        ));
        return None;
    }
    if TAKEN.contains(&text) {
        cursor.error(format!("{text:?} is the name of a part of the agent; choose another"));
        return None;
    }
    Some(Box::leak(text.to_owned().into_boxed_str()))
}

#[cfg(test)]
mod tests;
