//! A process that left its job's cgroup, where the network hooks are.

use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let how = match &event.activity {
        Activity::CgroupMove { inside: false, .. } => "was moved out of the job's cgroup",
        Activity::Exec { outside_cgroup: true, .. } => "was started outside the job's cgroup",
        Activity::Connect(connection) if connection.outside_cgroup => "connected from outside the job's cgroup",
        _ => return None,
    };
    let message = format!("{} {how}; it is followed by lineage, with less certainty", super::who(event));
    let subject = super::exe(event).to_owned();
    let mut finding = super::finding(event, "cgroup-escape", Severity::High, subject, message);
    finding.techniques = &["DE-03"];
    Some(finding)
}
