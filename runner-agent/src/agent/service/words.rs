//! What is asked of the daemon's jobs, and what it says of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::Elsewhere;
use crate::agent::run::{Outcome, RunError};
use crate::config::Combined;
use crate::identity::JobIdentity;
use crate::policy::{Mode, Policy, Trust};
use crate::redact::Redactor;

/// A job as it is asked for.
pub struct JobRequest {
    /// Which job it is; its provider's name is the first word of the job's.
    pub identity: JobIdentity,
    /// What it is, for people.
    pub title: Vec<String>,
    /// The process whose descendants run its steps.
    pub worker: u32,
    /// How far its code is trusted, and why.
    pub trust: (Trust, String),
    /// The policy.
    pub policy: Policy,
    /// What the policy was made of.
    pub recorded: Combined,
    /// Takes out its secrets.
    pub redactor: Redactor,
}

/// A job that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its name in the log and for everybody.
    pub id: Arc<str>,
    /// In which mode.
    pub mode: Mode,
    /// Name of the tier.
    pub tier: &'static str,
    /// How far its code is trusted, in a word, and why; not known of a job whose daemon was
    /// killed.
    pub trust: Option<(&'static str, String)>,
    /// Name of the policy.
    pub policy: String,
    /// SHA-256 of the policy's sources.
    pub policy_sha256: String,
    /// Where its log is.
    pub log: PathBuf,
    /// Where its receipt will be; whoever goes on with a job whose agent was killed has not the key for one.
    pub receipt: Option<PathBuf>,
}

/// How a job stands.
#[derive(Debug)]
pub struct Standing<'a> {
    /// What it began with.
    pub begun: &'a Begun,
    /// Whether its end was announced.
    pub is_announced: bool,
    /// Processes in it.
    pub processes: usize,
    /// Process id of its worker; not known of a job that another daemon began.
    pub worker: Option<u32>,
}

/// Why a job can't begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// There is one.
    #[error("{0} has this worker already; a job begins once, and its end is announced with `job stop`")]
    Known(Arc<str>),
    /// It was asked for from inside one.
    #[error("pid {pid} belongs to {id}: a job can't begin another")]
    Inside {
        /// Who asked, or was named.
        pid: u32,
        /// The job that it belongs to.
        id: Arc<str>,
    },
    /// The same, and the job is one that a daemon before this one began.
    #[error("pid {pid} belongs to {}: a job can't begin another", elsewhere.id)]
    InsideKept {
        /// Who asked, or was named.
        pid: u32,
        /// The job that it belongs to.
        elsewhere: Elsewhere,
    },
    /// No slot is free.
    #[error("{0} jobs are under way, as many as the configuration allows (`jobs`)")]
    Full(usize),
    /// The whole runner is held to the policy of another.
    #[error(
        "the whole runner is held to the policy of {0} (`scope: runner` in the configuration), and to one job's at a time; begin this \
         one when that has ended"
    )]
    Held(Arc<str>),
    /// The worker has gone.
    #[error("the worker, pid {0}, has ended")]
    Gone(u32),
    /// The agent could not arm.
    #[error(transparent)]
    Arm(#[from] RunError),
}

/// What is told of somebody in a job who wants one of his own.
pub(super) fn own_job_refused(pid: u32) -> String {
    format!("pid {pid} asked for a job of its own")
}

impl BeginError {
    /// The job of another daemon whose keeper is to be told of this, and what.
    pub fn for_keeper(&self) -> Option<(Elsewhere, String)> {
        match self {
            Self::InsideKept { pid, elsewhere } => Some((elsewhere.clone(), own_job_refused(*pid))),
            _ => None,
        }
    }
}

/// What came of a job.
pub struct Ended {
    /// What it began with.
    pub begun: Begun,
    /// What it did.
    pub outcome: Outcome,
}
