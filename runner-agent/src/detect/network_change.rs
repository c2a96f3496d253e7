//! A change of the machine's network, by which packets go elsewhere than what was judged.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "network-change",
    severity: Severity::Medium,
    techniques: &["XF-12"],
    operations: &[operation::NETWORK],
    because: "by it, what was allowed to go to one place can go to another",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let finding = KIND.detect(event)?;
    Some(Finding { fix: Some("guard: { network: allow }".to_owned()), ..finding })
}
