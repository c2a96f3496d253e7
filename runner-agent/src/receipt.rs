//! The receipt: what an agent states of a job when it has ended, for those who were not there.
//!
//! It says how deep the agent looked and what it missed before it says what it saw: without that a clean receipt would mean nothing.

use std::path::PathBuf;
use std::sync::Arc;

use crate::event::Finding;
use crate::identity::JobIdentity;
use crate::ledger::{PublicKey, Written};
use crate::notice::Account;
use crate::policy::{Mode, Severity, Trust, Verdict};
use crate::report::summary::Summary;

/// Rows of each of its lists; the log has them all, and the receipt says how many were left out.
pub const MOST_ROWS: usize = 1000;

/// What an agent states of a job.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The job's id.
    pub job: Arc<str>,
    /// Name of the machine.
    pub host: String,
    /// Which job it is, where a provider says so.
    pub identity: Option<JobIdentity>,
    /// How far its code is trusted, and why, where that was asked.
    pub trust: Option<(Trust, String)>,
    /// When it began and ended, RFC 3339.
    pub time: (String, String),
    /// How the agent was set up.
    pub agent: Setup,
    /// What happened to what the policy doesn't allow.
    pub mode: Mode,
    /// Why the job had to be ended before its end: the mode no longer held.
    pub disarmed: Option<String>,
    /// What was seen.
    pub summary: Facts,
    /// Where records went.
    pub account: Account,
    /// The log, as it was written.
    pub log: LogState,
    /// Files that the statement is about besides the log.
    pub artifacts: Vec<Artifact>,
    /// The key that signs.
    pub key: PublicKey,
}

/// How the agent was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Its version.
    pub version: &'static str,
    /// Name of the tier.
    pub tier: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Each hook of the tracing tier, and how it was taken: `fmod_ret`, `lsm`, `fentry`, or what the kernel said.
    pub hooks: Vec<HookTaken>,
}

/// A hook, and how it was taken, or what the kernel said.
pub type HookTaken = (String, Result<String, String>);

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Where it was written.
    pub file: PathBuf,
    /// How far.
    pub written: Written,
}

/// A file and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its name, as it was given.
    pub name: String,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

/// What was seen, in sum.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The command, secrets removed.
    pub command: Vec<String>,
    /// Name of the policy, the SHA-256 of its files, and where they came from.
    pub policy: (String, String, Vec<String>),
    /// Exit code of the command, where it was seen.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Programs started.
    pub execs: u64,
    /// Executables, and how often each was started.
    pub programs: Vec<(String, u64)>,
    /// Destinations.
    pub destinations: Vec<Reached>,
    /// Secret files: path, by whom, whether it was refused.
    pub reads: Vec<(String, String, bool)>,
    /// Findings: id, severity, message, how often.
    pub findings: Vec<(&'static str, Severity, String, u64)>,
    /// Where the evidence has holes.
    pub gaps: Vec<String>,
    /// Rows that were left out of these lists.
    pub left_out: usize,
}

/// A destination, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// What was decided.
    pub verdict: Verdict,
    /// Name or address.
    pub host: String,
    /// Addresses that the name stood for.
    pub addresses: Vec<String>,
    /// Port.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `ip-N`.
    pub protocol: String,
    /// Names of the programs.
    pub programs: Vec<String>,
    /// Id of the rule.
    pub rule: String,
    /// How often.
    pub count: u64,
}

impl Facts {
    /// Takes out of a summary what a receipt states. `occurrences` says how often a finding occurred.
    pub fn of(summary: &Summary, occurrences: &dyn Fn(&Finding) -> u64) -> Self {
        let mut left_out = 0;
        let mut programs: Vec<(String, u64)> = summary.programs().map(|(exe, count)| (exe.to_owned(), count)).collect();
        programs.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        left_out += cut(&mut programs);
        // What was not allowed comes first, as in the summary.
        let mut destinations: Vec<Reached> = summary.destinations().map(Reached::of).collect();
        destinations.reverse();
        left_out += cut(&mut destinations);
        let read = |(path, who, refused): (&str, &str, bool)| (path.to_owned(), who.to_owned(), refused);
        let mut reads: Vec<_> = summary.secret_reads().map(read).collect();
        left_out += cut(&mut reads);
        let told = |found: &Finding| (found.id, found.severity, found.message.clone(), occurrences(found));
        let mut findings: Vec<_> = summary.findings().iter().map(told).collect();
        findings.sort_by_key(|(_, severity, _, _)| std::cmp::Reverse(*severity));
        left_out += cut(&mut findings);
        let mut gaps = summary.gaps().to_vec();
        left_out += cut(&mut gaps);
        let (started, ended) = (summary.started(), summary.ended());
        Self {
            command: started.map(|started| started.command.clone()).unwrap_or_default(),
            policy: started
                .map(|started| (started.policy.clone(), started.policy_sha256.clone(), started.policy_files.clone()))
                .unwrap_or_default(),
            exit_code: ended.and_then(|ended| ended.exit_code),
            signal: ended.and_then(|ended| ended.signal),
            execs: summary.execs(),
            programs,
            destinations,
            reads,
            findings,
            gaps,
            left_out,
        }
    }
}

/// Cuts a list to what a receipt holds, and says how much that took away.
fn cut<T>(rows: &mut Vec<T>) -> usize {
    let over = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    over
}

impl Reached {
    fn of(reached: crate::report::summary::Destination<'_>) -> Self {
        let (host, port) = reached.endpoint.rsplit_once(':').unwrap_or((reached.endpoint, ""));
        Self {
            verdict: reached.verdict,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            addresses: reached.addresses.to_vec(),
            port: port.parse().ok(),
            protocol: reached.protocol.to_owned(),
            programs: reached.programs.to_vec(),
            rule: reached.rule.to_owned(),
            count: reached.count,
        }
    }
}
