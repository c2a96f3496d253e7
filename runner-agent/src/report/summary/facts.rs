//! What a summary has collected, for those that print it otherwise.

use super::Summary;
use crate::event::Finding;
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
