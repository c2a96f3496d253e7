//! Words that several subcommands take.

use clap::ValueEnum;

use crate::policy::{Mode, Severity};

/// `--mode`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ModeArg {
    Audit,
    Block,
}

impl ModeArg {
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Audit => Mode::Audit,
            Self::Block => Mode::Block,
        }
    }
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FailOn {
    Low,
    Medium,
    High,
    Never,
}

impl FailOn {
    /// The least severity that counts, if any does.
    pub(super) fn severity(self) -> Option<Severity> {
        match self {
            Self::Low => Some(Severity::Low),
            Self::Medium => Some(Severity::Medium),
            Self::High => Some(Severity::High),
            Self::Never => None,
        }
    }
}
