//! Which jobs a policy is for.

use super::words;

/// How far the code of a job is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// Code that nobody with write access has looked at: a pull request from a fork.
    Untrusted,
    /// Code of the repository's own branches.
    Trusted,
    /// Jobs that publish or deploy, and therefore hold the secrets to do so.
    Release,
}

words!(Trust, "untrusted, trusted, release", {
    Trust::Untrusted => "untrusted",
    Trust::Trusted => "trusted",
    Trust::Release => "release",
});

/// Conditions of a policy, as written: a job must meet every condition that is set; an empty list is not set.
///
/// The values are globs (`*` stays within one `/` component, `**` does not); several mean any of them. They are
/// checked when the file is read; matching jobs against them belongs to policy selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliesTo {
    /// Trust tiers.
    pub trust: Vec<Trust>,
    /// CI systems: `github`, `gitlab`, …
    pub provider: Vec<String>,
    /// Repositories, `owner/name`.
    pub repository: Vec<String>,
    /// Workflow names or files.
    pub workflow: Vec<String>,
    /// Job names.
    pub job: Vec<String>,
    /// Git references, `refs/heads/main`.
    pub git_ref: Vec<String>,
    /// Events that started the job: `pull_request`, `push`, …
    pub event: Vec<String>,
}
