//! Notices: everything that leaves the agent, numbered in one row for each job.

use std::collections::BTreeMap;
use std::sync::Arc;

use runner_agent_common::map::Counters;

use crate::event::{Activity, Event, Finding};
use crate::ledger::Checkpoint;
use crate::policy::Mode;

/// One notice.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its number, from 1, without gaps as long as nothing is lost on the way out.
    pub seq: u64,
    /// When, nanoseconds since boot.
    pub at_ns: u64,
    /// Slot of the job in whose row it stands.
    pub slot: u32,
    /// Which job, if it is about one and not about the agent.
    pub job: Option<Arc<str>>,
    /// What.
    pub content: Content,
}

impl Notice {
    /// About how many bytes it takes while it waits.
    pub fn weight(&self) -> usize {
        const WITHOUT_ARGUMENTS: usize = 512;
        let arguments = match &self.content {
            Content::Event(Event { activity: Activity::Exec { argv, .. }, .. }) => {
                argv.iter().map(|argument| argument.len() + size_of::<String>()).sum()
            }
            _ => 0,
        };
        WITHOUT_ARGUMENTS + arguments
    }
}

/// What a notice tells.
#[derive(Clone, Debug)]
pub enum Content {
    /// Something happened in a job.
    Event(Event),
    /// Something that somebody should look at.
    Finding(Finding),
    /// Records or notices were lost.
    Loss(Loss),
    /// A job began.
    JobStarted(JobStarted),
    /// A job ended.
    JobEnded(JobEnded),
    /// The agent about itself.
    Agent(AgentState),
    /// The log's writer is to sign what it has written; or it has.
    Checkpoint(Option<Checkpoint>),
    /// The job's receipt is written. Not in the log, which the receipt is about.
    Receipt(ReceiptIssued),
}

/// A receipt is written: enough to know it again by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptIssued {
    /// SHA-256 of the receipt's file.
    pub sha256: String,
    /// SHA-256 of the log's file.
    pub log_sha256: String,
    /// Lines of the log.
    pub lines: u64,
    /// Hash of its last line.
    pub head: String,
    /// The public half of the key that signed, in base64.
    pub key: String,
    /// Effective mode.
    pub mode: Mode,
    /// Events seen.
    pub seen: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Findings told.
    pub findings: u64,
}

/// A job began.
#[derive(Clone, Debug)]
pub struct JobStarted {
    /// The command, secrets removed.
    pub command: Vec<String>,
    /// Name of the policy.
    pub policy: String,
    /// SHA-256 of the policy's files.
    pub policy_sha256: String,
    /// Where the policy came from.
    pub policy_files: Vec<String>,
    /// What happens to what the policy doesn't allow.
    pub mode: Mode,
    /// The job's cgroup.
    pub cgroup: String,
    /// The public half of the key that signs the log and the receipt, in base64, if one does.
    pub key: Option<String>,
}

/// A job ended.
#[derive(Clone, Debug)]
pub struct JobEnded {
    /// Exit code of the command, if it exited.
    pub exit_code: Option<i32>,
    /// Signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Processes that were still running and were ended.
    pub leftovers: Vec<String>,
    /// Processes outside the job that began while it ran and run on, where the whole runner is in scope.
    pub left_on_runner: Vec<String>,
    /// How often each finding occurred, told or not.
    pub occurrences: BTreeMap<&'static str, u64>,
    /// DNS messages that could not be read: cut by segmentation, or no DNS at all.
    pub unreadable_dns: u64,
    /// What each rule decided, where the kernel side did; rules that nothing came to are left out.
    pub rules: Vec<RuleUse>,
    /// Packets that no verdict covered.
    pub dropped_packets: u64,
    /// The account of records.
    pub account: Account,
}

/// What a rule decided, in the kernel's count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleUse {
    /// Its id, or `default`.
    pub rule: Arc<str>,
    /// Connects and addressed sends that passed.
    pub allowed: u64,
    /// Connects, addressed sends and sockets that were refused.
    pub blocked: u64,
}

/// The agent about itself.
#[derive(Clone, Debug)]
pub enum AgentState {
    /// Probes are attached and checked.
    Ready {
        /// From start to here.
        ready_ms: f64,
        /// Name of the tier.
        tier: &'static str,
        /// Kernel release.
        kernel: String,
        /// Version of the agent.
        version: &'static str,
    },
    /// Something about the agent changed while a job ran.
    Changed {
        /// `upstream-failed`, `upstream-recovered`, `admit-failed`, `repaired`, `taken-over`, `handed-over`, `tampered`, `disarmed`,
        /// `not-ended`, `not-cleared`, `sink-failing`, `sink-recovered`, `sink-refused`, `sink-disabled`, and those of the daemon's jobs.
        state: &'static str,
        /// What, for people.
        detail: String,
    },
}

/// Where records went: the loss equation.
///
/// In the kernel `seen = submitted + ring_full + oversize + busy` for each probe; in user space
/// `received = decoded + refused`; and what was submitted was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Counters by probe; probes that saw nothing are left out.
    pub probes: BTreeMap<&'static str, Counters>,
    /// Records that came off the rings.
    pub received: u64,
    /// Of these, decoded.
    pub decoded: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Notices that didn't reach the log: its queue was full, or writing failed. What the terminal missed is told as a
    /// loss and not counted here, because the log has it.
    pub notices_dropped: u64,
    /// Runs of programs that the kernel left out while the job ran, because one of the same program had begun on that CPU and not
    /// ended; programs without any are left out. Whether a record would have come of one, and for which job, nobody knows: the
    /// equation can't have them.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl Account {
    /// What has come since another account of the same agent.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let none = Counters::default();
        let probes = self.probes.iter().map(|(name, now)| {
            let then = before.probes.get(name).unwrap_or(&none);
            let counters = Counters {
                seen: now.seen - then.seen,
                submitted: now.submitted - then.submitted,
                ring_full: now.ring_full - then.ring_full,
                oversize: now.oversize - then.oversize,
                busy: now.busy - then.busy,
                map_full: now.map_full - then.map_full,
            };
            (*name, counters)
        });
        let skipped = self.skipped.iter().map(|(program, now)| {
            let then = before.skipped.get(program).copied().unwrap_or_default();
            (*program, now.saturating_sub(then))
        });
        Self {
            skipped: skipped.filter(|(_, runs)| *runs > 0).collect(),
            probes: probes.filter(|(_, counters)| *counters != none).collect(),
            received: self.received - before.received,
            decoded: self.decoded - before.decoded,
            refused: self.refused - before.refused,
            notices_dropped: self.notices_dropped,
        }
    }

    /// Records that the probes set out to send.
    pub fn seen(&self) -> u64 {
        self.probes.values().map(|counters| counters.seen).sum()
    }

    /// Records on the rings.
    pub fn submitted(&self) -> u64 {
        self.probes.values().map(|counters| counters.submitted).sum()
    }

    /// Records and notices that were lost, wherever.
    pub fn lost(&self) -> u64 {
        let kernel: u64 =
            self.probes.values().map(|counters| counters.ring_full + counters.oversize + counters.busy).sum();
        kernel + self.refused + self.notices_dropped
    }

    /// Lost, or gone without being counted anywhere, or perhaps never seen.
    pub fn missing(&self) -> u64 {
        self.lost() + self.difference() + self.told_skipped().map(|(_, runs)| runs).sum::<u64>()
    }

    /// Runs that the kernel left out, of the programs for which each one is told. Not of the one that runs at the end of every system
    /// call of every process: hardly any of its runs has something to tell.
    pub fn told_skipped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        const AT_EVERY_CALL: &str = "sys_exit";
        self.skipped.iter().filter(|(program, _)| **program != AT_EVERY_CALL).map(|(program, runs)| (*program, *runs))
    }

    /// Runs that the kernel left out, of all programs.
    pub fn skipped_runs(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// What the equation leaves over: zero, or records went missing that nobody counted.
    pub fn difference(&self) -> u64 {
        let kernel: u64 = self
            .probes
            .values()
            .map(|counters| {
                counters.seen.abs_diff(counters.submitted + counters.ring_full + counters.oversize + counters.busy)
            })
            .sum();
        kernel + self.submitted().abs_diff(self.received) + self.received.abs_diff(self.decoded + self.refused)
    }
}

/// Something was lost since the last notice of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Probe, or `user` for refused records, or the program for skipped runs, or the name of a sink for notices.
    pub place: &'static str,
    /// Why: `ring full`, `oversize`, `busy`, `map full`, `skipped`, `refused`, `queue full`, `write failed`, `spool full`.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}
