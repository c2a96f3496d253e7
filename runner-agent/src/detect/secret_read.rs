//! A secret file read by a program that isn't one of its owners, or about to be lost sight of.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Activity, Event, FileAccess, Finding};
use crate::job::JobState;
use crate::policy::secret::smallest;
use crate::policy::{Policy, Reader, Severity, Verdict};

/// Another name for a file that could then be read by it.
const HIDDEN: Kind = Kind {
    id: "secret-read",
    severity: Severity::High,
    techniques: &["CA-07"],
    operations: &[operation::READ_SECRET],
    because: "by that name nothing would say that it is secret",
};

pub(super) fn detect(event: &Event, _: &JobState, policy: &Policy) -> Option<Finding> {
    let Activity::File(file) = &event.activity else { return HIDDEN.detect(event) };
    if file.owner || !file.read || super::foreign_environ::is_process_file(&file.path) {
        return None;
    }
    let alias = match &file.known_as {
        Some(path) => format!(", which is {path}"),
        None => String::new(),
    };
    let did = match (file.verdict, file.inherited) {
        (Verdict::Blocked, true) => "was kept from reading, by a descriptor that another opened,",
        (Verdict::Blocked, false) => "was kept from reading",
        _ => "read",
    };
    let message =
        format!("{} {did} {}{alias} ({}) and is none of its owners", super::who(event), file.path, file.title);
    let subject = format!("{} {}", super::exe(event), file.path);
    let mut finding = super::finding(event, "secret-read", file.class_severity, subject, message);
    finding.techniques = &["CA-07"];
    finding.fix = fix(event, file, policy);
    Some(finding)
}

/// The entry that would make the program an owner; none for one that can't be.
fn fix(event: &Event, file: &FileAccess, policy: &Policy) -> Option<String> {
    let process = event.process.as_ref()?;
    let path = file.known_as.as_ref().unwrap_or(&file.path);
    let program = &process.program;
    if program.exe_unlinked {
        return None;
    }
    let reader = Reader { exe: &program.exe, argv: &program.argv, pid: process.key.tgid, path };
    Some(format!("secrets.files: {}", smallest::line(policy.secrets.classify(path)?, &reader)?))
}
