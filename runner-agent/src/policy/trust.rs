//! How far a job is trusted, which jobs a policy is for, and what of a job that is compared with.

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};

use super::words;

/// How far the code of a job is trusted. Ordered: the later is trusted more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// Code that nobody is known to have looked at but its author: a pull request, an unprotected branch, whatever an outsider
    /// can start, and every job of which too little is known.
    Untrusted,
    /// Code of the repository's protected branches.
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
/// checked when the file is read; [`select`](super::select()) compares jobs with them.
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

/// What of a job is compared with [`AppliesTo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// How far its code is trusted.
    pub trust: Trust,
    /// Whether all that follows is what the job's own file may have written.
    pub is_claim: bool,
    /// The CI system's word.
    pub provider: &'a str,
    /// `owner/name`.
    pub repository: Option<&'a str>,
    /// Every way to name its workflow: name, path, file name.
    pub workflow: Vec<&'a str>,
    /// Name of the job.
    pub job: Option<&'a str>,
    /// Full git reference.
    pub git_ref: Option<&'a str>,
    /// The CI system's word for what started it.
    pub event: Option<&'a str>,
}

/// Whether a glob means a text. `*` stays within one `/` component, `**` does not; what is no glob means nothing.
pub fn matches(glob: &str, text: &str) -> bool {
    GlobBuilder::new(glob).literal_separator(true).build().is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

impl AppliesTo {
    /// How many conditions are set.
    pub fn conditions(&self) -> usize {
        let globs = [&self.provider, &self.repository, &self.workflow, &self.job, &self.git_ref, &self.event];
        usize::from(!self.trust.is_empty()) + globs.iter().filter(|globs| !globs.is_empty()).count()
    }

    /// The first condition that a job doesn't meet, by its key; `None` where it meets all.
    ///
    /// A condition that is set is not met by what the provider doesn't tell. Workflow and job are named by whoever wrote the
    /// change, so of an untrusted job they count only in a policy that says which tiers it is for: otherwise a pull request
    /// would choose its policy by a name. Where everything is a claim, the same goes for repository, ref and event.
    pub fn unmet(&self, job: &Subject) -> Option<&'static str> {
        if !self.trust.is_empty() && !self.trust.contains(&job.trust) {
            return Some("trust");
        }
        let named = job.trust > Trust::Untrusted || !self.trust.is_empty();
        let workflow = if named { job.workflow.as_slice() } else { &[] };
        let met = |globs: &[String], values: &[&str]| {
            globs.is_empty() || globs.iter().any(|glob| values.iter().any(|value| matches(glob, value)))
        };
        let told = !job.is_claim || !self.trust.is_empty();
        let (provider, job_name) = ([job.provider], job.job.filter(|_| named));
        let [repository, git_ref, event] = [job.repository, job.git_ref, job.event].map(|value| value.filter(|_| told));
        [
            ("provider", &self.provider, &provider[..]),
            ("repository", &self.repository, repository.as_slice()),
            ("workflow", &self.workflow, workflow),
            ("job", &self.job, job_name.as_slice()),
            ("ref", &self.git_ref, git_ref.as_slice()),
            ("event", &self.event, event.as_slice()),
        ]
        .into_iter()
        .find_map(|(key, globs, values)| (!met(globs, values)).then_some(key))
    }
}
