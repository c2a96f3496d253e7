//! A program that gives its caller another user's rights.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "privilege",
    severity: Severity::Medium,
    techniques: &["PE-01"],
    operations: &[operation::PRIVILEGE],
    because: "root on a runner reaches everything that the next job uses",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
