//! A secret file read by a program that isn't one of its owners.

use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::Policy;

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let Activity::File(file) = &event.activity else { return None };
    if file.owner || !file.read || super::foreign_environ::is_process_file(&file.path) {
        return None;
    }
    let alias = match &file.known_as {
        Some(path) => format!(", which is {path}"),
        None => String::new(),
    };
    let message = format!("{} read {}{alias} ({}) and is none of its owners", super::who(event), file.path, file.title);
    let subject = format!("{} {}", super::exe(event), file.path);
    let mut finding = super::finding(event, "secret-read", file.class_severity, subject, message);
    finding.techniques = &["CA-07"];
    finding.fix = event.process.as_ref().map(|process| {
        let path = file.known_as.as_ref().unwrap_or(&file.path);
        format!("secrets.files: - {{ path: \"{path}\", readers: [{}], why: \"…\" }}", process.name())
    });
    Some(finding)
}
