//! Attempts at the agent, the runner and the kernel.

use runner_agent_common::guard::operation;
use runner_agent_common::record::{self, ProcessKey, flag};

use super::Pipeline;
use crate::event::{Activity, Attempt, EngineRequest};
use crate::notice::Notice;
use crate::policy::Verdict;
use crate::text;

/// A request to a container engine that asked for too much, as the agent's gate tells it.
#[derive(Clone, Debug)]
pub struct EngineAsked {
    /// When it came, nanoseconds since boot.
    pub at_ns: u64,
    /// The process that asked.
    pub pid: u32,
    /// What it asked for.
    pub request: EngineRequest,
    /// Refused or audited.
    pub verdict: Verdict,
}

impl Pipeline {
    /// Takes in what the gate to a container engine was asked.
    pub fn engine_asked(&mut self, slot: u32, asked: EngineAsked, out: &mut Vec<Notice>) {
        let header = record::Header { at_ns: asked.at_ns, job: slot, ..record::Header::default() };
        let process = self.table.latest(asked.pid).cloned();
        let attempt = Attempt {
            operation: operation::ENGINE_REQUEST,
            target: None,
            detail: 0,
            path: None,
            failed: false,
            request: Some(asked.request),
            verdict: asked.verdict,
        };
        self.happened(&header, process, Activity::Attempt(attempt), out);
    }

    /// A job reached for what isn't its own.
    pub(super) fn attempted(&mut self, fixed: &record::Guard, path: &[u8], out: &mut Vec<Notice>) {
        let header = &fixed.header;
        // A process that left no trace in the table ran before the job; what it wanted is told all the same.
        let target = Some(fixed.target).filter(|target| *target != ProcessKey::default());
        let attempt = Attempt {
            operation: fixed.operation,
            target,
            detail: fixed.detail,
            path: (!path.is_empty()).then(|| text::from_bytes(path).into()),
            failed: fixed.failed != 0,
            request: None,
            verdict: if header.flags & flag::REFUSED != 0 { Verdict::Blocked } else { Verdict::Audited },
        };
        // The agent's own child on its way into the job makes no attempts; nobody else is exempt.
        debug_assert!(usize::from(attempt.operation) < operation::COUNT, "the kernel side knows no other operations");
        self.happened_to(header, Activity::Attempt(attempt), out);
    }
}
