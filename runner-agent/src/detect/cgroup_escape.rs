//! A process that left its job's cgroup, where the network hooks are.

use runner_agent_common::guard::operation;

use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::{Mode, Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, policy: &Policy) -> Option<Finding> {
    let how = match &event.activity {
        Activity::CgroupMove { shares: true, .. } => "was born with its parent's descriptors, and is ended for it",
        Activity::CgroupMove { inside: false, killed: true, .. } => {
            "was moved out of the job's cgroup, and is ended for it"
        }
        Activity::CgroupMove { inside: false, .. } => "was moved out of the job's cgroup",
        Activity::Exec { outside_cgroup: true, .. } => "was started outside the job's cgroup",
        Activity::Connect(connection) if connection.outside_cgroup => "connected from outside the job's cgroup",
        Activity::Attempt(attempt) if attempt.operation == operation::CGROUP => &super::attempt_in_words(attempt),
        _ => return None,
    };
    let then = match policy.mode {
        Mode::Audit => "it is followed by lineage, with less certainty",
        Mode::Block => "what the job may reach is decided there, so nothing of a blocked job may run elsewhere",
    };
    let message = format!("{} {how}; {then}", super::who(event));
    // Reaching for another cgroup's files is one thing, having left another: both are told.
    let reach = if matches!(event.activity, Activity::Attempt(_)) { " reach" } else { "" };
    let subject = format!("{}{reach}", super::exe(event));
    let mut finding = super::finding(event, "cgroup-escape", Severity::High, subject, message);
    finding.techniques = &["DE-03"];
    Some(finding)
}
