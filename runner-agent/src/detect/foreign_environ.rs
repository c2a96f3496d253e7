//! Environment or memory of another process, read through `/proc`.

use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let Activity::File(file) = &event.activity else { return None };
    if file.owner || !is_process_file(&file.path) {
        return None;
    }
    let message = format!("{} opened {}, which belongs to another process", super::who(event), file.path);
    let subject = format!("{} {}", super::exe(event), crate::text::base_name(&file.path));
    let mut finding = super::finding(event, "foreign-environ", Severity::High, subject, message);
    finding.techniques = &["CA-02", "CA-03"];
    Some(finding)
}

/// Whether a path is a file about a process.
pub(super) fn is_process_file(path: &str) -> bool {
    path.strip_prefix("/proc/").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}
