//! Forms that libraries from outside know: `outside.py` asks them, each in its pinned version.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Bodies, Row};
use crate::{build, setup, step};

/// Comes with this program, so that it and the forms' names can't drift apart.
const SCRIPT: &str = include_str!("outside.py");

/// The same for npm's.
const BY_NODE: &str = include_str!("outside.mjs");

/// Form, receiver, validator.
const FORMS: [(&str, &str, &str); 9] = [
    ("ocsf", "OCSF 1.8.0", "ocsf-json-schema: strict schema of each class"),
    ("otlp", "OTLP logs", "opentelemetry-proto: no unknown field; semantic-conventions: names"),
    ("cloudevents", "CloudEvents 1.0", "cloudevents: attributes; data is the log's line"),
    ("cef", "CEF", "pycef: header and extension, compared with the log"),
    ("elastic-bulk", "Elastic bulk", "elasticsearch: what its client sends of the same documents"),
    ("slack", "Slack", "slack_sdk: each block's type and limits, written again as it was"),
    ("receipt", "receipt", "rfc8785: what is signed; cryptography: ed25519"),
    (
        "statement",
        "in-toto, DSSE",
        "securesystemslib: signature; in-toto-attestation: statement; the predicate's fields",
    ),
    ("fleet", "ClickHouse", "chdb: the queries of docs/fleet find what is in seven jobs"),
];

pub fn rows(bodies: &Bodies) -> Result<Vec<Row>> {
    FORMS.iter().map(|&(form, receiver, validator)| row(bodies, form, receiver, validator)).collect()
}

/// Names the folder that the tests' receiver writes requests to.
pub const RECORD: &str = "RUNNER_AGENT_SINKS_RECORD";

/// Webhooks as they arrived at the tests' own receiver, which writes them down: their signatures, by libraries for receivers.
pub fn webhooks(bodies: &Bodies) -> Result<Vec<Row>> {
    let receiver = "Standard Webhooks";
    eprintln!("── {receiver}");
    let folder = tempfile::tempdir().context("a folder for requests")?;
    let mut cargo = build::tests();
    cargo.args(["--quiet", "--test", "sinks", "answers"]);
    cargo.env(RECORD, folder.path());
    step::run("tests of delivery, which write down what arrived", &mut cargo)?;
    let sent = fs::read_dir(folder.path())?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "body"));
    let sent = sent.count();
    let by_python = "standardwebhooks (Python): each signature, and that a changed body has none";
    let mut rows = vec![asked("webhook", receiver, by_python, folder.path(), sent, &bodies.one("native")?.path)?];
    if let Some((items, problems)) = by_node(folder.path())? {
        let validator = "standardwebhooks (npm): the same, of what is one JSON object";
        rows.push(Row { receiver, sent: items, received: items, validator, problems });
    }
    Ok(rows)
}

fn row(bodies: &Bodies, form: &'static str, receiver: &'static str, validator: &'static str) -> Result<Row> {
    eprintln!("── {receiver}");
    let native = &bodies.one("native")?.path;
    let mut row = Row { receiver, sent: 0, received: 0, validator, problems: Vec::new() };
    // Forms that take one item a body have several.
    for body in bodies.all(form) {
        let of_body = asked(form, receiver, validator, &body.path, body.items, native)?;
        row.sent += of_body.sent;
        row.received += of_body.received;
        row.problems.extend(of_body.problems);
    }
    Ok(row)
}

/// What is wrong with the signatures of the requests in a folder, by both libraries.
pub fn signatures(folder: &Path, native: &Path) -> Result<Vec<String>> {
    let mut problems = asked("webhook", "", "", folder, 0, native)?.problems;
    problems.extend(by_node(folder)?.map(|(_, problems)| problems).unwrap_or_default());
    Ok(problems)
}

/// How many requests npm's verifier has read, and what it objects to; nothing where it isn't there.
fn by_node(folder: &Path) -> Result<Option<(usize, Vec<String>)>> {
    let Some(packages) = setup::receivers::webhooks() else { return Ok(None) };
    let mut node = Command::new("node");
    node.args(["--input-type=module", "-e", BY_NODE, "-"]).arg(packages).arg(folder).stdin(Stdio::null());
    verdict(&step::output(&mut node)?).map(Some)
}

fn asked(
    form: &str,
    receiver: &'static str,
    validator: &'static str,
    body: &Path,
    sent: usize,
    native: &Path,
) -> Result<Row> {
    let mut python = Command::new(setup::receivers::python()?);
    python.args(["-c", SCRIPT, form]).arg(body).arg(native).stdin(Stdio::null());
    let (items, problems) = verdict(&step::output(&mut python)?)?;
    Ok(Row { receiver, sent, received: items, validator, problems })
}

/// How many items a validator has read, and what it objects to.
fn verdict(said: &str) -> Result<(usize, Vec<String>)> {
    let said: Value = serde_json::from_str(said).context("what the validator said")?;
    let problems = said["problems"].as_array().context("the validator said nothing of problems")?;
    let items = said["received"].as_u64().context("the validator counted nothing")?;
    Ok((usize::try_from(items)?, problems.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
}
