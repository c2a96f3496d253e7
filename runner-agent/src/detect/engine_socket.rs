//! A connect to the socket of a container engine, which is root on the machine by another name.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "engine-socket",
    severity: Severity::Medium,
    techniques: &["PE-02"],
    operations: &[operation::ENGINE],
    because: "whoever may ask the engine is root on the machine",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
