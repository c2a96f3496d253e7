//! The daemon in figures, from its start on.

use std::collections::BTreeMap;

use runner_agent_common::map::Counters;

use super::Service;
use crate::agent::run::{Outcome, RunError};
use crate::notice::Account;
use crate::policy::Severity;
use crate::sink::courier::Standing;

/// Figures; all but `jobs_running` only grow.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Name of the tier.
    pub tier: &'static str,
    /// Jobs under way.
    pub jobs_running: usize,
    /// What came of the jobs.
    pub past: Past,
    /// Where records went, over all jobs.
    pub account: Account,
    /// How the sinks stand.
    pub sinks: Vec<Standing>,
}

/// What came of jobs.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Jobs that began.
    pub begun: u64,
    /// Jobs that ended.
    pub ended: u64,
    /// Of these, with a receipt.
    pub receipts: u64,
    /// Of these, whose blocking was taken away.
    pub disarmed: u64,
    /// Notices that their logs lack.
    pub notices_dropped: u64,
    /// Findings told, by id and severity.
    pub findings: BTreeMap<(&'static str, Severity), u64>,
}

impl Past {
    /// Takes in what came of a job.
    pub(super) fn end(&mut self, outcome: &Outcome) {
        self.ended += 1;
        self.receipts += u64::from(outcome.receipt.is_some());
        self.disarmed += u64::from(outcome.disarmed.is_some());
        self.notices_dropped += outcome.account.notices_dropped;
        for finding in outcome.summary.findings() {
            *self.findings.entry((finding.id, finding.severity)).or_default() += 1;
        }
    }
}

impl Figures {
    /// Each probe and what became of its records.
    pub fn probes(&self) -> impl Iterator<Item = (&'static str, &Counters)> {
        self.account.probes.iter().map(|(probe, counters)| (*probe, counters))
    }
}

impl Service {
    /// The daemon in figures.
    pub fn figures(&mut self) -> Result<Figures, RunError> {
        self.station.take_in();
        let account = self.station.flow.whole_account(&mut self.station.kernel)?;
        let sinks = self.options.deliveries.standings();
        Ok(Figures { tier: self.tier(), jobs_running: self.sessions.len(), past: self.past.clone(), account, sinks })
    }
}
