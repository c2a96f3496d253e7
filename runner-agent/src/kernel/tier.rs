//! The tiers: how much of a job this kernel lets the agent see and refuse. Found by trying, never by a version's number.

/// A tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Raw tracepoints and cgroup hooks: opens are seen when they return.
    Tracepoint,
    /// And programs before the kernel's `security_*` functions.
    Tracing,
}

impl Tier {
    /// Its name, as `--tier`, `doctor` and the log have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tracepoint => "tracepoint",
            Self::Tracing => "tracing",
        }
    }
}

/// Which tier to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TierChoice {
    /// The best that this kernel takes.
    #[default]
    Best,
    /// This one or none.
    Only(Tier),
}
