//! io_uring: from its set-up on, the tracepoint tier doesn't see the files that this process opens.

use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let Activity::IoUring = event.activity else { return None };
    let message = format!(
        "{} set up io_uring; files that it opens through it are not seen on this tier, connects are",
        super::who(event)
    );
    let subject = super::exe(event).to_owned();
    // Some runtimes set it up by default, so it is a blind spot to know of and no alarm.
    let mut finding = super::finding(event, "io-uring", Severity::Low, subject, message);
    finding.techniques = &["DE-06"];
    Some(finding)
}
