//! What came of a sample that `sink test` sent, as JSON: `--format json`.

use std::time::Duration;

use crate::sink::receiver::{Answer, Attempt};
use crate::sink::settings::Settings;
use crate::text::from_bytes;

/// Version of the form.
const SCHEMA: u32 = 1;

/// One object: `schema`, `sink`, `type`, `target`, `id`, `result` (`delivered`, `failed`, `refused`, `gone`), `why`, `status`,
/// `latency_ms`, `retry_after_seconds`, `body`.
pub fn json(settings: &Settings, id: &str, attempt: &Attempt, answer: &Answer, took: Duration) -> serde_json::Value {
    let (result, why, wait) = match attempt {
        Attempt::Delivered => ("delivered", None, None),
        Attempt::Failed { why, wait } => ("failed", Some(why.as_str()), *wait),
        Attempt::Refused { why } => ("refused", Some(why.as_str()), None),
        Attempt::Gone => ("gone", Some("410 Gone"), None),
    };
    serde_json::json!({
        "schema": SCHEMA,
        "sink": settings.name,
        "type": settings.target.kind(),
        "target": settings.target.to_string(),
        "id": id,
        "result": result,
        "why": why,
        "status": answer.status,
        "latency_ms": (took.as_secs_f64() * 1e6).round() / 1e3,
        "retry_after_seconds": wait.map(|wait| wait.as_secs()),
        "body": from_bytes(&answer.body),
    })
}
