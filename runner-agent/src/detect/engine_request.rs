//! A request to a container engine that gives the machine away.

use runner_agent_common::guard::operation;

use super::attempt::in_words;
use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let Activity::Attempt(attempt) = &event.activity else { return None };
    let request = attempt.request.as_ref().filter(|_| attempt.operation == operation::ENGINE_REQUEST)?;
    let message = format!("{} {}; whoever gets that may be root on the machine", super::who(event), in_words(attempt));
    // By what was asked for, and not by what it was about: whoever mounts many folders asks for one thing.
    let mut kinds: Vec<&str> = request.asks.iter().filter_map(|ask| ask.split(' ').next()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let subject = format!("{} {}", super::exe(event), kinds.join(" "));
    let mut finding = super::finding(event, "engine-request", Severity::High, subject, message);
    finding.techniques = &["PE-02"];
    Some(finding)
}
