//! A connect to a daemon that starts programs for whoever asks: what it starts isn't the job's, and no rule of the job holds it.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "service-manager",
    severity: Severity::Medium,
    techniques: &["DE-03", "PS-04"],
    operations: &[operation::SERVICES],
    because: "what it is asked to start is outside the job",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
