//! An attempt at the agent itself: to end, stop, starve or take control of it, or to take away what it stands on.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "agent-tampering",
    severity: Severity::High,
    techniques: &["DE-01"],
    operations: &[
        operation::SIGNAL,
        operation::TRACE_AGENT,
        operation::PRIORITY,
        operation::MOUNT,
        operation::WRITE,
        operation::REMOVE,
    ],
    because: "an agent that a job can silence proves nothing",
};

/// What the agent found out about itself, where that is somebody's doing: no event of a job says so, because nothing was
/// hooked where it was done.
pub fn of_change(state: &str, detail: &str, seq: u64) -> Option<Finding> {
    let severity = match state {
        "taken-over" | "tampered" | "disarmed" | "repaired" | "went-on" | "control-refused" => KIND.severity,
        "end-announced-again" | "not-ended" | "not-cleared" => Severity::Medium,
        // A runner that is shut down ends so too; an upgrade asks an agent to end.
        "unannounced-end" | "handed-over" => Severity::Low,
        _ => return None,
    };
    Some(Finding {
        id: KIND.id,
        severity,
        message: format!("{detail}; {}", KIND.because),
        techniques: KIND.techniques,
        evidence: vec![seq],
        fix: None,
        process: None,
        subject: detail.to_owned(),
    })
}

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
