//! Whether programs before functions still run. Links and maps stay as they are when ftrace is stopped (the setting
//! `kernel.ftrace_enabled`, or an error of its own), and nothing is told or refused any more: only trying shows it.

use std::time::{Duration, Instant};

use crate::kernel::{Kernel, LoadError};

/// How often it is tried.
const LOOK: Duration = Duration::from_secs(2);

/// The pulse of the tracing tier.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    is_expected: bool,
    next: Option<Instant>,
}

/// What was found when there was no pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there again.
    Restarted,
    /// It is gone for good.
    Gone,
}

impl Found {
    /// What, for people.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Restarted => {
                "programs before the kernel's functions were stopped (kernel.ftrace_enabled), and run again"
            }
            Self::Gone => {
                "programs before the kernel's functions don't run any more (kernel.ftrace_enabled): what only the tracing tier sees \
                 is not seen, and nothing of it is refused"
            }
        }
    }
}

impl Pulse {
    /// Feels for it the first time. Where it is there, it is expected from now on.
    pub(super) fn of(kernel: &mut Kernel) -> Result<Self, LoadError> {
        Ok(Self { is_expected: kernel.has_pulse()?, next: None })
    }

    /// Whether it was there the last time.
    pub(super) fn is_there(&self) -> bool {
        self.is_expected
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.next = Some(now + LOOK);
        true
    }

    /// What is found; each once.
    pub(super) fn look(&mut self, kernel: &mut Kernel) -> Result<Option<Found>, LoadError> {
        if !self.is_expected || kernel.has_pulse()? {
            return Ok(None);
        }
        Kernel::restart_ftrace();
        self.is_expected = kernel.has_pulse()?;
        Ok(Some(if self.is_expected { Found::Restarted } else { Found::Gone }))
    }
}
