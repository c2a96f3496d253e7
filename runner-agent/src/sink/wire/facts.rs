//! What several forms say of a notice in the same words: its kind, how bad it is, one sentence, and its fields.

mod fields;
mod sentence;

pub(super) use fields::{Value, details, of_process};
pub(super) use sentence::sentence;

use crate::event::{Activity, DnsMessage, Event, Process};
use crate::notice::{AgentState, Content, Notice};
use crate::policy::{Severity, Verdict};

/// The word of the event log for what a notice is.
pub(super) fn kind(content: &Content) -> &'static str {
    match content {
        Content::Event(event) => match &event.activity {
            Activity::Exec { .. } => "exec",
            Activity::Exit { .. } => "exit",
            Activity::File(_) => "file",
            Activity::Connect(_) => "connect",
            Activity::Socket { .. } => "socket",
            Activity::Device { .. } => "device",
            Activity::IoUring => "io-uring",
            Activity::CgroupMove { .. } => "cgroup",
            Activity::Dns(_) => "dns",
            Activity::Attempt(_) => "attempt",
        },
        Content::Finding(_) => "finding",
        Content::Loss(_) => "loss",
        Content::JobStarted(_) | Content::JobEnded(_) => "job",
        Content::Agent(_) => "agent",
        Content::Checkpoint(_) => "checkpoint",
        Content::Receipt(_) => "receipt",
    }
}

/// The process that a notice is about.
pub(super) fn process(content: &Content) -> Option<&Process> {
    match content {
        Content::Event(event) => event.process.as_deref(),
        Content::Finding(finding) => finding.process.as_deref(),
        _ => None,
    }
}

/// All arguments where a program was started, else what is remembered of them; and whether that is all.
pub(super) fn arguments<'a>(process: &'a Process, content: &'a Content) -> (&'a [String], bool) {
    match content {
        Content::Event(Event { activity: Activity::Exec { argv, argv_whole, .. }, .. }) => (argv, *argv_whole),
        _ => (&process.program.argv, process.program.argv_whole),
    }
}

/// The policy's word on what happened.
pub(super) fn verdict(content: &Content) -> Option<Verdict> {
    let Content::Event(event) = content else { return None };
    match &event.activity {
        Activity::File(file) => Some(file.verdict),
        Activity::Connect(connection) => Some(connection.ruling.verdict),
        Activity::Socket { verdict, .. } => Some(*verdict),
        Activity::Dns(message) => message.decided.as_ref().map(|decided| decided.verdict),
        Activity::Attempt(attempt) => Some(attempt.verdict),
        // There are such notices only where it was refused.
        Activity::Device { .. } => Some(Verdict::Blocked),
        Activity::Exec { .. } | Activity::Exit { .. } | Activity::IoUring | Activity::CgroupMove { .. } => None,
    }
}

/// The rule that the verdict rests on, or `default`.
pub(super) fn rule(content: &Content) -> Option<&str> {
    let Content::Event(event) = content else { return None };
    match &event.activity {
        Activity::Connect(connection) => Some(connection.ruling.rule.as_deref().unwrap_or("default")),
        Activity::Dns(message) => message.decided.as_ref()?.rule.as_deref(),
        _ => None,
    }
}

/// How bad it is. A finding says so itself; of the rest: what was refused is medium, what would have been is low, and so is a
/// refused name that honest programs ask for all the time.
pub(super) fn severity(notice: &Notice) -> Severity {
    match &notice.content {
        Content::Event(Event { activity: Activity::Dns(DnsMessage { decided: Some(decided), .. }), .. })
            if decided.refusal.is_some_and(|refusal| refusal.is_quiet) =>
        {
            Severity::Low
        }
        Content::Event(_) => match verdict(&notice.content) {
            Some(Verdict::Blocked) => Severity::Medium,
            Some(Verdict::Audited) => Severity::Low,
            Some(Verdict::Allowed) | None => Severity::Info,
        },
        Content::Finding(finding) => finding.severity,
        Content::Loss(_) => Severity::Medium,
        Content::JobStarted(_)
        | Content::JobEnded(_)
        | Content::Checkpoint(_)
        | Content::Receipt(_)
        | Content::Agent(AgentState::Ready { .. }) => Severity::Info,
        Content::Agent(AgentState::Changed { state, .. }) => match *state {
            "tampered" | "disarmed" => Severity::Critical,
            "repaired" | "taken-over" => Severity::High,
            "upstream-failed" | "admit-failed" | "not-ended" | "not-cleared" => Severity::Medium,
            _ => Severity::Info,
        },
    }
}

/// Whether somebody should be called: findings, losses, and what was done to the agent.
pub(super) fn is_alarm(notice: &Notice) -> bool {
    match &notice.content {
        Content::Finding(_) | Content::Loss(_) => true,
        Content::Agent(AgentState::Changed { .. }) => severity(notice) >= Severity::High,
        _ => false,
    }
}

/// A short name of what should be looked at: a finding's id, `loss`, or the agent's state.
pub(super) fn alarm_name(content: &Content) -> &str {
    match content {
        Content::Finding(finding) => finding.id,
        Content::Agent(AgentState::Changed { state, .. }) => state,
        other => kind(other),
    }
}
