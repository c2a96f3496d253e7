//! A destination that the policy doesn't name.

use super::destination::{denied, fix, subject};
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{AddressClass, Policy, Severity, Verdict};

/// Private, link-local and metadata addresses have detectors of their own.
pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let connection = denied(event)?;
    if matches!(connection.ruling.class, AddressClass::Private | AddressClass::LinkLocal | AddressClass::Metadata) {
        return None;
    }
    let what = if connection.ruling.verdict == Verdict::Blocked { "was kept from" } else { "reached for" };
    let rule = match &connection.ruling.rule {
        Some(rule) => format!("which {rule} denies"),
        None => "which no rule of the policy allows".to_owned(),
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
