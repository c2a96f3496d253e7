//! Why a policy decides as it does: for one destination, or for one line of an event log.
//!
//! `ask` reads what a person wants to know, `log` finds it in a log, `egress` and `file` ask a policy, `recorded` holds what
//! they say against what the log says. The result is a form of its own, for people and as JSON; it is documented in
//! `docs/explain.md` and versioned by [`SCHEMA`].

pub mod ask;
pub mod egress;
pub mod file;
pub mod log;
pub mod recorded;
mod rule;

use serde::Serialize;

use crate::policy::Policy;

pub use rule::Rule;

/// Version of the JSON form.
pub const SCHEMA: u32 = 1;

/// Everything that is said.
#[derive(Debug, Serialize)]
pub struct Report {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The policy that was asked; none if the log's could not be had.
    pub policy: Option<Asked>,
    /// One for a destination; for a finding one for each line of its evidence that a policy decides.
    pub explanations: Vec<Explanation>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// The policy that was asked.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// The mode it was asked in.
    pub mode: &'static str,
    /// Hash of its files.
    pub sha256: String,
    /// Its files and shipped policies.
    pub files: Vec<String>,
    /// Whether it is the policy of the log's job, by its hash.
    pub of_the_job: bool,
}

impl Asked {
    /// What is said of a policy.
    pub fn new(policy: &Policy, of_the_job: bool) -> Self {
        let files = policy.origin.files.iter().map(|file| file.display().to_string());
        Self {
            name: policy.name.clone(),
            mode: policy.mode.as_str(),
            sha256: policy.origin.sha256.clone(),
            files: files.chain(policy.origin.labels.iter().cloned()).collect(),
            of_the_job,
        }
    }
}

/// Why one thing is decided as it is.
#[derive(Debug, Default, Serialize)]
pub struct Explanation {
    /// Number of the log's line.
    pub seq: Option<u64>,
    /// `connect`, `dns`, `socket` or `file`.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// What the log says was decided.
    pub recorded: Option<Decision>,
    /// Whether the name may be asked for, which comes before the connect.
    pub question: Option<Question>,
    /// What the policy says.
    pub now: Option<Decision>,
    /// Why it says so.
    pub why: String,
    /// The rule that decides, if one that stands in a file does.
    pub rule: Option<Rule>,
    /// Rules that nearly covered it, the nearest first.
    pub near: Vec<Near>,
    /// The smallest line that would allow it.
    pub allow: Option<Allow>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// A verdict and its rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// `allowed`, `audited` or `blocked`.
    pub verdict: String,
    /// The rule's id, or `default`.
    pub rule: String,
}

/// Whether a name may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The name.
    pub name: String,
    /// The verdict and the rule.
    #[serde(flatten)]
    pub decision: Decision,
    /// Why.
    pub why: String,
}

/// A rule that nearly covered it.
#[derive(Clone, Debug, Serialize)]
pub struct Near {
    /// The rule.
    pub rule: Rule,
    /// What differed, in words of a fixed set.
    pub differs: Vec<&'static str>,
    /// The same for people.
    pub why: String,
}

/// A line that would allow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// The list it is pasted below.
    pub below: &'static str,
    /// The line.
    pub line: String,
    /// Id of the rule whose line it replaces; without one it is added.
    pub replaces: Option<String>,
    /// What `policy check` would warn of.
    pub warnings: Vec<String>,
}
