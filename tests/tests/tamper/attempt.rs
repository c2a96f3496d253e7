//! What an attempt is: a command inside a job, and what each tier is claimed to make of it.

/// What becomes of an attempt. Ordered: the later is the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It had its way and nothing was said.
    Missed,
    /// It had its way, and the log says so.
    Found,
    /// It failed, and nothing that the agent stands on is other than before.
    Denied,
}

/// What in the log counts as its having been found.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// A finding of this id.
    Finding(&'static str),
    /// A line about the agent of this state.
    Agent(&'static str),
    /// So many programs that the attempt starts, each recorded: for what wants to tire the agent out.
    Programs(usize),
    /// A loss that was told.
    Loss,
}

/// Which job an attempt runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    /// With others, where the policy refuses.
    Block,
    /// With others, where the policy only watches.
    Audit,
    /// In one of its own, with rings that are soon full.
    Flooded,
    /// In one of its own, whose log lies on a file system of one MiB.
    SmallDisk,
    /// In one of its own, which shares a limit of memory with the agent.
    SmallMemory,
}

/// One attempt.
#[derive(Clone, Copy)]
pub struct Attempt {
    pub name: &'static str,
    /// What is tried, in a few words.
    pub what: &'static str,
    /// A shell's command, with the placeholders of [`Session::expand`](crate::session::Session::expand).
    pub act: &'static str,
    pub told: &'static [Told],
    pub job: In,
    pub tracepoint: Outcome,
    pub tracing: Outcome,
    /// Kernels before this release (major, minor) deny it by themselves.
    pub denied_before: Option<(u32, u32)>,
    /// Before this release no hook stands before it, and the tracing tier makes of it what the other does.
    pub hook_since: Option<(u32, u32)>,
    /// Where it had its way, the agent is gone, or its job is.
    pub is_fatal: bool,
    /// Why it may run in guests alone, if that is so.
    pub guest: Option<&'static str>,
}

const AGENT: &[Told] = &[Told::Finding("agent-tampering"), Told::Finding("foreign-environ")];
const STATE: &[Told] = &[Told::Finding("agent-tampering"), Told::Agent("tampered"), Told::Agent("disarmed")];
const KERNEL: &[Told] = &[Told::Finding("kernel-tampering")];

/// An attempt at the agent, which only the tracing tier refuses.
pub const fn attempt(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    Attempt {
        name,
        what,
        act,
        told: AGENT,
        job: In::Block,
        tracepoint: Outcome::Found,
        tracing: Outcome::Denied,
        denied_before: None,
        hook_since: None,
        is_fatal: false,
        guest: None,
    }
}

/// An attempt at what the agent stands on, found by looking at it where no hook is.
pub const fn footing(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    Attempt { told: STATE, ..attempt(name, what, act) }
}

/// An attempt at the kernel.
pub const fn kernel(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    Attempt { told: KERNEL, ..attempt(name, what, act) }
}

impl Attempt {
    /// What counts as found.
    pub const fn told(self, told: &'static [Told]) -> Self {
        Self { told, ..self }
    }

    /// What the tiers make of it: tracepoint, tracing.
    pub const fn expect(self, tracepoint: Outcome, tracing: Outcome) -> Self {
        Self { tracepoint, tracing, ..self }
    }

    /// Both tiers make the same of it.
    pub const fn always(self, outcome: Outcome) -> Self {
        self.expect(outcome, outcome)
    }

    /// Kernels before this release deny it by themselves.
    pub const fn denied_before(self, major: u32, minor: u32) -> Self {
        Self { denied_before: Some((major, minor)), ..self }
    }

    /// Before this release no hook stands before it.
    pub const fn hook_since(self, major: u32, minor: u32) -> Self {
        Self { hook_since: Some((major, minor)), ..self }
    }

    /// The job that it runs in.
    pub const fn in_job(self, job: In) -> Self {
        Self { job, ..self }
    }

    /// Nothing more can be tried in this job unless it is denied.
    pub const fn fatal(self) -> Self {
        Self { is_fatal: true, ..self }
    }

    /// In guests alone.
    pub const fn guest(self, reason: &'static str) -> Self {
        Self { guest: Some(reason), ..self }
    }

    /// What this tier is claimed to make of it.
    pub fn expected(&self, tier: &str) -> Outcome {
        if self.denied_before.is_some_and(|release| end_to_end::host::kernel() < release) {
            return Outcome::Denied;
        }
        let has_hook = self.hook_since.is_none_or(|release| end_to_end::host::kernel() >= release);
        if tier == "tracing" && has_hook { self.tracing } else { self.tracepoint }
    }

    /// Whether it needs a job of its own at this tier.
    pub fn is_alone(&self, tier: &str) -> bool {
        !matches!(self.job, In::Block | In::Audit) || (self.is_fatal && self.expected(tier) != Outcome::Denied)
    }
}

impl Outcome {
    /// As the table says it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Found => "found",
            Self::Missed => "missed",
        }
    }
}
