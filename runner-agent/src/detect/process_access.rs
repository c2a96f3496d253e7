//! An attempt at the memory, or at control, of a process outside the job: the runner's worker has every secret of the job.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "process-access",
    severity: Severity::High,
    techniques: &["CA-03", "CA-02"],
    operations: &[operation::TRACE, operation::INSPECT, operation::PROBE],
    because: "the runner's own processes hold the secrets of its jobs",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
