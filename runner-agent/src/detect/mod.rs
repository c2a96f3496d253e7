//! Detectors: from an event, what is remembered of its job and the job's policy, to a finding. One file each.

mod agent_tampering;
mod attempt;
mod cgroup_escape;
mod destination;
mod dns_tunnel;
mod egress_denied;
mod engine_request;
mod engine_socket;
mod foreign_environ;
mod io_uring;
mod kernel_tampering;
mod lateral_movement;
mod metadata_access;
mod name_denied;
mod network_change;
mod new_namespace;
mod privilege;
mod process_access;
mod raw_socket;
mod secret_exfiltration;
mod secret_read;
mod service_manager;

pub use agent_tampering::of_change;
pub use attempt::in_words as attempt_in_words;
pub use raw_socket::{device_name, name as socket_name};

use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

/// A detector: a pure function.
pub type Detector = fn(&Event, &JobState, &Policy) -> Option<Finding>;

/// Every detector, in the order in which their findings are told.
pub const ALL: &[Detector] = &[
    secret_read::detect,
    foreign_environ::detect,
    secret_exfiltration::detect,
    metadata_access::detect,
    lateral_movement::detect,
    egress_denied::detect,
    name_denied::detect,
    dns_tunnel::detect,
    raw_socket::detect,
    io_uring::detect,
    cgroup_escape::detect,
    agent_tampering::detect,
    kernel_tampering::detect,
    network_change::detect,
    process_access::detect,
    new_namespace::detect,
    privilege::detect,
    engine_socket::detect,
    engine_request::detect,
    service_manager::detect,
];

/// Runs all detectors, drops what the policy disables, and gives each finding the severity that the policy says.
pub fn run<'a>(event: &'a Event, state: &'a JobState) -> impl Iterator<Item = Finding> + 'a {
    let policy = &state.job.policy;
    ALL.iter().filter_map(move |detector| detector(event, state, policy)).filter_map(|found| graded(found, policy))
}

/// A finding with the severity that the policy gives it; none where it is disabled.
pub fn graded(mut finding: Finding, policy: &Policy) -> Option<Finding> {
    if policy.detect.disable.contains(finding.id) {
        return None;
    }
    if let Some(severity) = policy.detect.severity.get(finding.id) {
        finding.severity = *severity;
    }
    Some(finding)
}

/// A finding about an event, to be completed by the detector.
fn finding(event: &Event, id: &'static str, severity: Severity, subject: String, message: String) -> Finding {
    let exec = event.process.as_ref().and_then(|process| process.exec_seq);
    let mut evidence: Vec<u64> = exec.into_iter().collect();
    evidence.push(event.seq);
    Finding { id, severity, message, techniques: &[], evidence, fix: None, process: event.process.clone(), subject }
}

/// The process of an event as a person would name it.
fn who(event: &Event) -> String {
    match &event.process {
        Some(process) if event.is_runners => {
            format!("{} (pid {}, outside the job)", process.name(), process.key.tgid)
        }
        Some(process) => format!("{} (pid {})", process.name(), process.key.tgid),
        None => "a process".to_owned(),
    }
}

/// The executable of an event's process, for subjects.
fn exe(event: &Event) -> &str {
    event.process.as_ref().map_or("?", |process| &process.program.exe)
}
