//! A destination that the policy doesn't name.

use runner_agent_common::record::probe;

use super::destination::{denied, did, fix, subject};
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{AddressClass, Policy, Severity};

/// Private, link-local and metadata addresses have detectors of their own.
pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let connection = denied(event)?;
    if matches!(connection.ruling.class, AddressClass::Private | AddressClass::LinkLocal | AddressClass::Metadata) {
        return None;
    }
    let what = did(connection);
    let rule = match &connection.ruling.rule {
        Some(rule) if connection.refused_for_secret => format!("because it holds a secret, which {rule} may not carry"),
        _ if connection.hook == PACKET_HOOK => "a packet that no verdict covers".to_owned(),
        rule => rule_says(rule.as_deref()),
    };
    let message = format!(
        "{} {what} {}{} ({}), {rule}",
        super::who(event),
        connection.endpoint(),
        connection.claim(),
        connection.protocol
    );
    let mut finding = super::finding(event, "egress-denied", Severity::Medium, subject(event, connection), message);
    finding.techniques = &["XF-01", "XF-03"];
    finding.fix = Some(fix(connection));
    Some(finding)
}

/// Name of the hook behind all others.
const PACKET_HOOK: &str = probe::NAMES[probe::PACKET as usize];

fn rule_says(rule: Option<&str>) -> String {
    match rule {
        Some(rule) => format!("which {rule} denies"),
        None => "which no rule of the policy allows".to_owned(),
    }
}
