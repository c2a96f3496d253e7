//! A process that holds a secret reaches for a destination that may not have it.
//!
//! Holding is followed by [`crate::job::Taints`]: the reader, its children, its pipeline, and a shell that captured the
//! reader's output. Severity falls with the doubt: a destination outside the policy is worse than one inside it that
//! isn't marked as carrying secrets, and an owner of the file may have read it for good reason.

use super::destination::{did, fix, subject};
use crate::event::{Activity, Event, Finding};
use crate::job::{JobState, Relation};
use crate::policy::{AddressClass, Policy, Severity, Verdict};

pub(super) fn detect(event: &Event, state: &JobState, _: &Policy) -> Option<Finding> {
    let Activity::Connect(connection) = &event.activity else { return None };
    let ruling = &connection.ruling;
    if ruling.may_carry_secrets || ruling.class == AddressClass::Loopback {
        return None;
    }
    let (taint, relation) = state.taints.of(event.process.as_ref()?)?;
    let is_allowed = ruling.verdict == Verdict::Allowed;
    let severity = match (taint.by_owners, is_allowed, relation) {
        (true, true, _) => return None,
        // The resolver is asked before every connect; that a name was asked for is no news by itself.
        (false, true, _) if connection.port == 53 => return None,
        (false, true, _) => Severity::Medium,
        (false, false, Relation::Direct) => Severity::Critical,
        (false, false, Relation::Captured) | (true, false, _) => Severity::High,
    };
    let titles: Vec<&str> = taint.titles.iter().map(|title| &**title).collect();
    let how = match relation {
        Relation::Direct => "after it, an ancestor or its pipeline read",
        Relation::Captured => "after a child of it read, and handed over by a pipe,",
    };
    let allowed = if is_allowed { ", to a rule without may-carry-secrets" } else { "" };
    let message = format!(
        "{} {} {}{} ({}){allowed}, {how} {}",
        super::who(event),
        did(connection),
        connection.endpoint(),
        connection.claim(),
        connection.protocol,
        titles.join(", ")
    );
    let mut finding = super::finding(event, "secret-exfiltration", severity, subject(event, connection), message);
    finding.techniques = &["CA-07", "XF-01"];
    finding.evidence.extend(&taint.reads);
    finding.evidence.sort_unstable();
    finding.evidence.dedup();
    finding.fix = Some(if is_allowed || connection.refused_for_secret {
        "the rule that allows it, with may-carry-secrets: true".to_owned()
    } else {
        fix(connection).replace(", why:", ", may-carry-secrets: true, why:")
    });
    Some(finding)
}
