//! What a summary has collected, for those that print it otherwise.

use super::Summary;
use crate::event::Finding;
use crate::notice::{JobEnded, JobStarted};
use crate::policy::Verdict;

/// A destination, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// What was decided.
    pub verdict: Verdict,
    /// Name or address, and port.
    pub endpoint: &'a str,
    /// Protocol.
    pub protocol: &'a str,
    /// Id of the rule that decided.
    pub rule: &'a str,
    /// How often.
    pub count: u64,
    /// Names of the programs.
    pub programs: &'a [String],
    /// Addresses that the name stood for, or names that were claimed for the address.
    pub addresses: &'a [String],
}

impl Summary {
    /// Programs started so far.
    pub fn execs(&self) -> u64 {
        self.execs
    }

    /// Where the evidence has holes, or was reached for, in words.
    pub fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// What was said at the job's beginning.
    pub fn started(&self) -> Option<&JobStarted> {
        self.started.as_ref()
    }

    /// What was said at its end.
    pub fn ended(&self) -> Option<&JobEnded> {
        self.ended.as_ref()
    }

    /// How often each program was started, by its executable's path.
    pub fn programs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.programs.iter().map(|(exe, count)| (exe.as_str(), *count))
    }

    /// Secret files that were read or kept from being read: path, by whom, whether refused.
    pub fn secret_reads(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.reads.iter().map(|read| (read.path.as_str(), read.who.as_str(), read.refused))
    }

    /// Findings so far, in the order in which they were told.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Destinations so far.
    pub fn destinations(&self) -> impl Iterator<Item = Destination<'_>> {
        self.destinations.iter().map(|((verdict, endpoint, protocol, rule), reached)| Destination {
            verdict: *verdict,
            endpoint,
            protocol,
            rule,
            count: reached.count,
            programs: &reached.programs,
            addresses: &reached.addresses,
        })
    }
}
