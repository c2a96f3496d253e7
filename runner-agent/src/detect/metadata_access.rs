//! A cloud's metadata service, where the machine's own credentials are to be had.

use super::destination::{denied, did, fix, subject};
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{AddressClass, Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let connection = denied(event)?;
    if connection.ruling.class != AddressClass::Metadata {
        return None;
    }
    let message = format!(
        "{} {} the cloud metadata service at {}, which hands out the machine's credentials",
        super::who(event),
        did(connection),
        connection.endpoint()
    );
    let mut finding = super::finding(event, "metadata-access", Severity::High, subject(event, connection), message);
    finding.techniques = &["CA-04"];
    finding.fix = Some(fix(connection));
    Some(finding)
}
