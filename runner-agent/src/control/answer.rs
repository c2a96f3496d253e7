//! What the daemon says of jobs, as JSON. The form's name is in each answer; what it has is never renamed or left out within it.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::agent::{Begun, Standing};
use crate::event::Finding;
use crate::notice::Account;
use crate::policy::{Severity, Verdict};
use crate::report::style::Style;
use crate::report::summary::{Destination, Summary};

/// Name and version of the form.
pub const SCHEMA: &str = "runner-agent/job/1";

/// Rows of a table that are handed out; the log has them all.
const MOST_ROWS: usize = 500;

type Fields = Map<String, Value>;

fn facts(begun: &Begun, state: &str) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in [
        ("schema", json!(SCHEMA)),
        ("job", json!(&*begun.id)),
        ("state", json!(state)),
        ("mode", json!(begun.mode.as_str())),
        ("tier", json!(begun.tier)),
        ("policy", json!(begun.policy)),
        ("policy_sha256", json!(begun.policy_sha256)),
        ("log", json!(begun.log)),
        ("receipt", json!(begun.receipt)),
    ] {
        fields.insert(key.to_owned(), value);
    }
    fields
}

pub(super) fn begun(begun: &Begun, notes: &[String]) -> Value {
    let mut fields = facts(begun, "running");
    let (trust, because) = begun.trust.as_ref().map(|(trust, because)| (*trust, because.as_str())).unzip();
    fields.insert("trust".to_owned(), json!(trust));
    fields.insert("trust_reason".to_owned(), json!(because));
    fields.insert("notes".to_owned(), json!(notes));
    Value::Object(fields)
}

/// A job that had begun before it was asked for.
pub(super) fn joined(begun: &Begun) -> Value {
    let mut value = self::begun(begun, &["it had begun already".to_owned()]);
    value["joined"] = json!(true);
    value
}

/// Who looks after a job.
#[derive(Clone, Copy)]
pub(super) enum Looker {
    /// The daemon that answers.
    Daemon,
    /// The keeper of a job that an earlier daemon began.
    Keeper,
}

pub(super) fn standing(standing: &Standing, looker: Looker) -> Value {
    let mut fields = facts(standing.begun, if standing.is_announced { "ending" } else { "running" });
    let looker = match looker {
        Looker::Daemon => "daemon",
        Looker::Keeper => "keeper",
    };
    fields.insert("kept_by".to_owned(), json!(looker));
    fields.insert("processes".to_owned(), json!(standing.processes));
    fields.insert("worker".to_owned(), json!(standing.worker));
    Value::Object(fields)
}

/// A job that nobody looks after: its rules stay in force, and that is what is known.
pub(super) fn unkept(id: &str, log: Option<&Path>) -> Value {
    let unknown = ["mode", "tier", "policy", "policy_sha256", "receipt", "kept_by", "processes", "worker"];
    let mut fields: Fields = unknown.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    for (key, value) in
        [("schema", json!(SCHEMA)), ("job", json!(id)), ("state", json!("running")), ("log", json!(log))]
    {
        fields.insert(key.to_owned(), value);
    }
    Value::Object(fields)
}

/// What a job has done until its end was announced.
pub(super) fn result(
    begun: &Begun,
    summary: &Summary,
    account: &Account,
    occurrences: &dyn Fn(&Finding) -> u64,
) -> Value {
    let blocked: u64 = denied(summary, Verdict::Blocked).map(|reached| reached.count).sum();
    let mut findings = Fields::new();
    for severity in Severity::WORDS {
        let count = summary.findings().iter().filter(|found| found.severity.as_str() == *severity).count();
        findings.insert((*severity).to_owned(), json!(count));
    }
    let counts = json!({ "seen": account.seen(), "lost": account.missing(), "blocked": blocked, "findings": findings });
    let mut fields = facts(begun, "ending");
    for (key, value) in [
        ("verdict", json!(verdict(summary, account, blocked))),
        ("counts", counts),
        (
            "findings",
            summary.findings().iter().take(MOST_ROWS).map(|found| finding(found, occurrences(found))).collect(),
        ),
        ("destinations", summary.destinations().take(MOST_ROWS).map(|reached| destination(&reached)).collect()),
        ("summary", json!(summary.render(Style::PLAIN, Some(&begun.log), None))),
    ] {
        fields.insert(key.to_owned(), value);
    }
    Value::Object(fields)
}

/// In a word: what weighs most. Evidence that is missing weighs more than what the rest shows.
fn verdict(summary: &Summary, account: &Account, blocked: u64) -> &'static str {
    let worst = |is: &dyn Fn(&Finding) -> bool| {
        summary.findings().iter().filter(|found| is(found)).map(|found| found.severity).max()
    };
    if worst(&|found| found.id == "agent-tampering") >= Some(Severity::Medium) {
        "tampered"
    } else if account.missing() > 0 {
        "degraded"
    } else if blocked > 0 {
        "blocked"
    } else if worst(&|_| true) >= Some(Severity::Medium) || denied(summary, Verdict::Audited).next().is_some() {
        "violations"
    } else {
        "clean"
    }
}

fn denied(summary: &Summary, verdict: Verdict) -> impl Iterator<Item = Destination<'_>> {
    summary.destinations().filter(move |reached| reached.verdict == verdict)
}

fn finding(found: &Finding, occurrences: u64) -> Value {
    json!({
        "id": found.id,
        "severity": found.severity.as_str(),
        "title": found.message,
        "occurrences": occurrences,
        "evidence": found.evidence,
        "fix": found.fix,
    })
}

fn destination(reached: &Destination) -> Value {
    let (host, port) = reached.endpoint.rsplit_once(':').unwrap_or((reached.endpoint, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = |text: &&str| text.parse::<std::net::IpAddr>().is_ok();
    let address = Some(host).filter(is_address);
    json!({
        "verdict": reached.verdict.as_str(),
        "host": if address.is_some() { None } else { Some(host) },
        "ip": address.or(reached.addresses.first().map(String::as_str).filter(is_address)),
        "port": port.parse::<u16>().ok(),
        "protocol": reached.protocol,
        "by": reached.programs.join(", "),
        "rule": reached.rule,
        "count": reached.count,
    })
}
