//! An attempt at the kernel: programs, modules, settings, the clock, a restart, a disk past its file systems.

use runner_agent_common::guard::operation;

use super::attempt::Kind;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

const KIND: Kind = Kind {
    id: "kernel-tampering",
    severity: Severity::High,
    techniques: &["DE-01", "PE-04"],
    operations: &[
        operation::BPF,
        operation::KERNEL_CODE,
        operation::CLOCK,
        operation::SETTING,
        operation::REBOOT,
        operation::DISK,
    ],
    because: "whoever changes the kernel, or reaches below its file systems, stands above the agent",
};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    KIND.detect(event)
}
