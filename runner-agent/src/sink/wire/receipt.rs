//! Receipts as JSON, signed, and read back. `docs/receipt.md` says what each field means.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::canonical::canonical;
use crate::identity::JobIdentity;
use crate::ledger::{PublicKey, Signature, SigningKey};
use crate::notice::Account;
use crate::receipt::{Reached, Receipt};

/// Name and version of the form. Under one version fields are only added.
pub const SCHEMA: &str = "runner-agent/receipt/1";

/// What stands before the text that is signed, so that a signature over anything else is never taken for one over a receipt.
const SIGNED_AS: &str = "runner-agent receipt 1\n";

/// A receipt as it was read.
#[derive(Clone, Debug)]
pub struct Read {
    fields: Map<String, Value>,
    key: PublicKey,
    signature: Signature,
}

/// Why something is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No JSON object.
    #[error("it is no JSON object ({0})")]
    NoObject(String),
    /// Another form.
    #[error("its `schema` is {0:?}, and {SCHEMA:?} is known here")]
    Schema(String),
    /// Something that a receipt has is missing, or of another kind.
    #[error("`{0}` is missing, or not what it should be")]
    Field(&'static str),
}

/// The receipt as JSON, for people too, with its signature.
pub fn write(receipt: &Receipt, key: &SigningKey) -> Vec<u8> {
    let mut fields = fields(receipt);
    let signature = key.sign(text(&fields).as_bytes());
    fields.insert("signature".to_owned(), json!(signature.to_string()));
    let mut bytes =
        serde_json::to_vec_pretty(&fields).expect("writing to memory does not fail, and every key is a string");
    bytes.push(b'\n');
    bytes
}

/// Reads what [`write()`] wrote. Nothing of it is believed yet.
pub fn read(bytes: &[u8]) -> Result<Read, ReadError> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| ReadError::NoObject(error.to_string()))?;
    match fields.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        other => return Err(ReadError::Schema(other.unwrap_or_default().to_owned())),
    }
    let signature = fields.remove("signature").as_ref().and_then(Value::as_str).and_then(Signature::parse);
    let signature = signature.ok_or(ReadError::Field("signature"))?;
    let key = fields.get("key").and_then(Value::as_str).and_then(|key| PublicKey::parse(key).ok());
    let key = key.ok_or(ReadError::Field("key"))?;
    Ok(Read { fields, key, signature })
}

impl Read {
    /// The key that it says has signed it.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Whether that key did.
    pub fn is_signed(&self) -> bool {
        self.key.verifies(text(&self.fields).as_bytes(), self.signature)
    }

    /// Text at a path such as `log.head`; empty when there is none.
    pub fn text(&self, path: &str) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number at a path.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.get(path).and_then(Value::as_u64)
    }

    fn get(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.fields.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }
}

/// What is signed.
fn text(fields: &Map<String, Value>) -> String {
    format!("{SIGNED_AS}{}", canonical(&Value::Object(fields.clone())))
}

/// Everything but the signature.
pub(super) fn fields(receipt: &Receipt) -> Map<String, Value> {
    let Receipt { job, host, identity, trust, time, agent, mode, disarmed, summary, account, log, artifacts, key } =
        receipt;
    let hooks: BTreeMap<&str, Value> = agent
        .hooks
        .iter()
        .map(|(hook, taken)| match taken {
            Ok(way) => (hook.as_str(), json!(way)),
            Err(refused) => (hook.as_str(), json!({ "missing": refused })),
        })
        .collect();
    let (policy, policy_sha256, policy_files) = &summary.policy;
    let findings = summary.findings.iter().map(
        |(id, severity, message, count)| json!({ "id": id, "severity": severity.as_str(), "message": message, "count": count }),
    );
    let reads = summary.reads.iter().map(|(path, who, refused)| json!({ "path": path, "by": who, "refused": refused }));
    let value = json!({
        "schema": SCHEMA,
        "job": &**job,
        "host": host,
        "identity": identity.as_ref().map(identity_value),
        "trust": trust.as_ref().map(|(trust, because)| json!({ "tier": trust.as_str(), "because": because })),
        "began": time.0,
        "ended": time.1,
        "command": summary.command,
        "exit_code": summary.exit_code,
        "signal": summary.signal,
        "mode": if disarmed.is_some() { "disarmed" } else { mode.as_str() },
        "disarmed": disarmed,
        "policy": { "name": policy, "sha256": policy_sha256, "files": policy_files },
        "agent": { "version": agent.version, "tier": agent.tier, "kernel": agent.kernel, "hooks": hooks },
        "account": account_value(account),
        "gaps": summary.gaps,
        "findings": findings.collect::<Vec<_>>(),
        "destinations": summary.destinations.iter().map(reached_value).collect::<Vec<_>>(),
        "secret_reads": reads.collect::<Vec<_>>(),
        "execs": summary.execs,
        "rows_left_out": summary.left_out,
        "log": { "file": log.file, "lines": log.written.lines, "head": log.written.head, "sha256": log.written.sha256 },
        "artifacts": artifacts.iter().map(|file| json!({ "name": file.name, "sha256": file.sha256 })).collect::<Vec<_>>(),
        "key": key.to_string(),
        "key_id": key.id(),
    });
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn identity_value(identity: &JobIdentity) -> Value {
    json!({
        "provider": identity.provider.as_str(),
        "server": identity.server,
        "repository": identity.repository,
        "repository_id": identity.repository_id,
        "workflow": identity.workflow,
        "workflow_ref": identity.workflow_ref,
        "run_id": identity.run_id,
        "attempt": identity.attempt,
        "job": identity.job,
        "worker": identity.worker,
        "url": identity.url,
        "commit": identity.commit,
        "ref": identity.git_ref,
        "event": identity.event,
        "actor": identity.actor,
    })
}

fn account_value(account: &Account) -> Value {
    let probes: BTreeMap<&str, Value> = account
        .probes
        .iter()
        .map(|(probe, counters)| {
            let lost = counters.ring_full + counters.oversize + counters.busy;
            (*probe, json!({ "seen": counters.seen, "lost": lost, "map_full": counters.map_full }))
        })
        .collect();
    json!({
        "seen": account.seen(),
        "lost": account.lost(),
        "unaccounted": account.difference(),
        "notices_dropped": account.notices_dropped,
        "skipped": account.skipped,
        "probes": probes,
    })
}

fn reached_value(reached: &Reached) -> Value {
    json!({
        "verdict": reached.verdict.as_str(),
        "host": reached.host,
        "addresses": reached.addresses,
        "port": reached.port,
        "protocol": reached.protocol,
        "by": reached.programs,
        "rule": reached.rule,
        "count": reached.count,
    })
}
