//! A new namespace: a container, a sandbox, or the first step out of one.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "new-namespace",
    severity: Severity::Low,
    techniques: &["PE-03"],
    operations: &[operation::NAMESPACE],
    because: "what runs there is followed all the same",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
