//! A private or link-local address that the policy doesn't name: the way from a runner into the network around it.

use super::destination::{denied, did, fix, subject};
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{AddressClass, Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let connection = denied(event)?;
    if !matches!(connection.ruling.class, AddressClass::Private | AddressClass::LinkLocal) {
        return None;
    }
    let message = format!(
        "{} {} {}{} ({}), a {} address that the policy doesn't name",
        super::who(event),
        did(connection),
        connection.endpoint(),
        connection.claim(),
        connection.protocol,
        connection.ruling.class
    );
    let mut finding = super::finding(event, "lateral-movement", Severity::High, subject(event, connection), message);
    finding.techniques = &["LM-05", "DI-04"];
    finding.fix = Some(fix(connection));
    Some(finding)
}
