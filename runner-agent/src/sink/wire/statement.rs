//! The receipt as an in-toto statement: predicate runtime-trace v0.1, whole, with the network fields of the proposed v0.2; in a DSSE
//! envelope.
//!
//! What the predicate has no word for stands in it whole, under a key that is a URI, as the specification wants extensions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::receipt;
use crate::identity::Provider;
use crate::ledger::{Envelope, IN_TOTO, PublicKey, Signature, SigningKey};
use crate::receipt::{Reached, Receipt};

/// Type of the predicate.
const PREDICATE: &str = "https://in-toto.io/attestation/runtime-trace/v0.1";

/// What kind of monitor made the statement.
const MONITOR: &str = "urn:runner-agent:monitor:1";

/// Key under which the receipt stands whole.
pub const RECEIPT: &str = "urn:runner-agent:receipt:1";

/// The statement in its envelope, as JSON.
pub fn write(receipt: &Receipt, key: &SigningKey) -> Vec<u8> {
    let payload = statement(receipt).to_string().into_bytes();
    let Envelope { payload_type, payload, key, signature } = Envelope::sign(IN_TOTO, payload, key);
    let envelope = json!({
        "payloadType": payload_type,
        "payload": STANDARD.encode(payload),
        "signatures": [{ "keyid": key, "sig": signature.to_string() }],
    });
    format!("{envelope}\n").into_bytes()
}

/// Reads an envelope with one signature; `None` when it is none.
pub fn read(bytes: &[u8]) -> Option<Envelope> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let [signed] = value["signatures"].as_array()?.as_slice() else { return None };
    Some(Envelope {
        payload_type: value["payloadType"].as_str()?.to_owned(),
        payload: STANDARD.decode(value["payload"].as_str()?).ok()?,
        key: signed["keyid"].as_str()?.to_owned(),
        signature: Signature::parse(signed["sig"].as_str()?)?,
    })
}

/// What a piece of evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A line of a log.
    Line,
    /// A receipt.
    Receipt,
    /// An envelope with a statement.
    Envelope,
}

/// What these bytes are, by what they say of themselves.
pub fn what_is(bytes: &[u8]) -> Option<Evidence> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let known = [("kind", Evidence::Line), ("payloadType", Evidence::Envelope), ("schema", Evidence::Receipt)];
    known.into_iter().find(|(field, _)| value.get(field).is_some()).map(|(_, evidence)| evidence)
}

/// The receipt's canonical text that a statement holds, without its signature.
pub fn receipt_in(payload: &[u8]) -> Option<String> {
    let statement: Value = serde_json::from_slice(payload).ok()?;
    Some(super::canonical::canonical(statement["predicate"].get(RECEIPT)?))
}

/// The key that a statement says it is signed by.
pub fn key_in(payload: &[u8]) -> Option<PublicKey> {
    let statement: Value = serde_json::from_slice(payload).ok()?;
    PublicKey::parse(statement["predicate"].get(RECEIPT)?["key"].as_str()?).ok()
}

/// A receipt's canonical text without its signature, to be compared with [`receipt_in`].
pub fn receipt_of(bytes: &[u8]) -> Option<String> {
    let mut fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    fields.remove("signature");
    Some(super::canonical::canonical(&Value::Object(fields)))
}

fn statement(receipt: &Receipt) -> Value {
    let log_name = receipt.log.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let log = json!({ "name": log_name, "digest": { "sha256": receipt.log.written.sha256 } });
    let artifacts =
        receipt.artifacts.iter().map(|file| json!({ "name": file.name, "digest": { "sha256": file.sha256 } }));
    // A job that names nothing it made has its log as what the statement is about.
    let subject: Vec<Value> = if receipt.artifacts.is_empty() { vec![log.clone()] } else { artifacts.collect() };
    let (policy, policy_sha256, policy_files) = &receipt.summary.policy;
    let mut source = json!({ "name": policy, "digest": { "sha256": policy_sha256 } });
    if let Some(file) = policy_files.first() {
        source["uri"] = json!(file);
    }
    let programs = receipt.summary.programs.iter().map(|(exe, count)| json!({ "exe": exe, "count": count }));
    let reads = receipt
        .summary
        .reads
        .iter()
        .map(|(path, who, refused)| json!({ "name": path, "annotations": { "by": who, "refused": refused } }));
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "monitor": {
                "type": MONITOR,
                "configSource": source,
                "tracePolicy": { "mode": receipt.mode.as_str(), "tier": receipt.agent.tier, "version": receipt.agent.version },
            },
            "monitoredProcess": monitored(receipt),
            "monitorLog": {
                "process": programs.collect::<Vec<_>>(),
                "network": receipt.summary.destinations.iter().flat_map(network).collect::<Vec<_>>(),
                "fileAccess": reads.chain([log]).collect::<Vec<_>>(),
            },
            "metadata": { "buildStartedOn": receipt.time.0, "buildFinishedOn": receipt.time.1 },
            RECEIPT: Value::Object(receipt::fields(receipt)),
        },
    })
}

fn monitored(receipt: &Receipt) -> Value {
    let identity = receipt.identity.as_ref();
    let server = identity.and_then(|identity| identity.server.clone());
    let url = identity.and_then(|identity| identity.url.clone());
    let kind = match identity.map(|identity| identity.provider) {
        Some(Provider::Github) => "https://actions.github.io/buildtypes/workflow/v1".to_owned(),
        other => format!("urn:runner-agent:job:{}", other.unwrap_or(Provider::Plain)),
    };
    json!({
        "hostID": server.unwrap_or_else(|| format!("urn:runner-agent:host:{}", receipt.host)),
        "type": kind,
        "event": url.unwrap_or_else(|| receipt.job.to_string()),
    })
}

/// One entry for each address of a destination. Direction and verdict are ours: v0.2 has no fields for them yet.
fn network(reached: &Reached) -> Vec<Value> {
    let is_address = reached.host.parse::<std::net::IpAddr>().is_ok();
    let hostname = (!is_address).then_some(&reached.host);
    let addresses = if is_address { std::slice::from_ref(&reached.host) } else { &reached.addresses };
    let entry = |ip: Option<&String>| {
        json!({
            "ip": ip,
            "hostname": hostname,
            "port": reached.port,
            "protocol": reached.protocol,
            "invokingProcess": reached.programs.join(", "),
            "urn:runner-agent:verdict": reached.verdict.as_str(),
            "urn:runner-agent:count": reached.count,
        })
    };
    if addresses.is_empty() { vec![entry(None)] } else { addresses.iter().map(|ip| entry(Some(ip))).collect() }
}
