//! Which job runs: one identity from what each CI provider tells, and how far its code is trusted.
//!
//! Pure: the caller hands over the environment and the bytes of the event's payload. What an identity rests on differs by
//! provider (`docs/trust.md`); [`TrustRules::believe`] says whose word can raise trust.

mod error;
mod environment;
mod payload;
mod origin;
mod github;
mod github_event;
mod gitlab;
mod buildkite;
mod jenkins;
mod circleci;
mod plain;
mod trust;

pub use environment::{Environment, MOST_CHARS};
pub use error::IdentityError;
pub use origin::{Repository, Source, Trigger};
pub use payload::{MOST_BYTES, Payload};
pub use trust::{ReleaseRules, TrustRules, trust};

use serde::{Deserialize, Serialize};

use crate::policy::{Subject, Trust, words};

/// Who runs the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Provider {
    /// GitHub Actions: hosted, self-hosted, and the Kubernetes controller.
    Github,
    /// GitLab CI: shell and custom executor.
    Gitlab,
    /// Buildkite.
    Buildkite,
    /// Jenkins.
    Jenkins,
    /// CircleCI.
    Circleci,
    /// Nobody: a command run by hand.
    Plain,
    /// Some CI that none of these is, or more than one of them at once.
    Unknown,
}

words!(Provider, "github, gitlab, buildkite, jenkins, circleci, plain, unknown", {
    Provider::Github => "github",
    Provider::Gitlab => "gitlab",
    Provider::Buildkite => "buildkite",
    Provider::Jenkins => "jenkins",
    Provider::Circleci => "circleci",
    Provider::Plain => "plain",
    Provider::Unknown => "unknown",
});

/// What kind of runner a job runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hosting {
    /// The provider's own machine, new for each job.
    Hosted,
    /// A machine of the user's.
    SelfHosted,
    /// A pod that GitHub's Actions Runner Controller made.
    Arc,
}

words!(Hosting, "hosted, self-hosted, arc", {
    Hosting::Hosted => "hosted",
    Hosting::SelfHosted => "self-hosted",
    Hosting::Arc => "arc",
});

/// One job. `None` means that the provider doesn't say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobIdentity {
    /// Who runs it.
    pub provider: Provider,
    /// Address of the provider's server.
    pub server: Option<String>,
    /// `owner/name`; with GitLab as many groups as there are.
    pub repository: Option<String>,
    /// The provider's number of the repository; it survives renames.
    pub repository_id: Option<String>,
    /// Name of the workflow or pipeline. Its author chooses it.
    pub workflow: Option<String>,
    /// Where the workflow is written: `owner/name/.github/workflows/ci.yml@refs/heads/main`.
    pub workflow_ref: Option<String>,
    /// The run that the job is a part of.
    pub run_id: Option<String>,
    /// Which attempt at the run.
    pub attempt: Option<String>,
    /// Name of the job. Its author chooses it, and a matrix has several of one name.
    pub job: Option<String>,
    /// What tells this job from every other: GitHub's tracking id, else the provider's own id of the job.
    pub session: Option<String>,
    /// Name of the runner.
    pub worker: Option<String>,
    /// What kind of runner.
    pub hosting: Option<Hosting>,
    /// A page about the run or job, for people.
    pub url: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The full git reference: `refs/heads/main`, `refs/tags/v1`, `refs/pull/7/merge`.
    pub git_ref: Option<String>,
    /// The branch that a change is for, without `refs/heads/`.
    pub base_ref: Option<String>,
    /// The branch that a change comes from, or that the run before was about; in a fork it may have any name.
    pub head_ref: Option<String>,
    /// The provider's word for what started the job.
    pub event: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// The provider's number of that account.
    pub actor_id: Option<String>,
    /// What started it, in words that all providers share.
    pub trigger: Trigger,
    /// Whose code it runs.
    pub source: Source,
    /// Whether the provider says that the reference is protected.
    pub protected: Option<bool>,
    /// The deployment environment that the provider says the job is for.
    pub deployment: Option<String>,
}

impl JobIdentity {
    /// A job of which nothing is known but its provider.
    fn new(provider: Provider) -> Self {
        Self {
            provider,
            server: None,
            repository: None,
            repository_id: None,
            workflow: None,
            workflow_ref: None,
            run_id: None,
            attempt: None,
            job: None,
            session: None,
            worker: None,
            hosting: None,
            url: None,
            commit: None,
            git_ref: None,
            base_ref: None,
            head_ref: None,
            event: None,
            actor: None,
            actor_id: None,
            trigger: Trigger::Unknown,
            source: Source::Untold("nothing says whose code runs".to_owned()),
            protected: None,
            deployment: None,
        }
    }

    /// Which job it is, for choosing a policy. `trust` is what [`trust()`] says of it by the same rules.
    pub fn subject(&self, trust: Trust, rules: &TrustRules) -> Subject<'_> {
        // `owner/name/.github/workflows/ci.yml@refs/heads/main`: the file may be named by its path or by its name alone.
        let file = self.workflow_ref.as_deref().map(|written| written.split('@').next().unwrap_or(written));
        let path = file.and_then(|file| {
            let rest = file.strip_prefix(self.repository.as_deref()?)?;
            rest.strip_prefix('/')
        });
        let name = file.and_then(|file| file.rsplit('/').next());
        Subject {
            trust,
            is_claim: !rules.believe.contains(&self.provider),
            provider: self.provider.as_str(),
            repository: self.repository.as_deref(),
            workflow: [self.workflow.as_deref(), path, name].into_iter().flatten().collect(),
            job: self.job.as_deref(),
            git_ref: self.git_ref.as_deref(),
            event: self.event.as_deref(),
        }
    }
}

/// One provider's adapter.
struct Adapter {
    provider: Provider,
    /// Variables that say that the provider runs the job, by being there.
    markers: &'static [&'static str],
    /// Names of the executables that start jobs.
    workers: &'static [&'static str],
    read: fn(&Environment, Option<&Payload>) -> Result<JobIdentity, IdentityError>,
}

const ADAPTERS: &[Adapter] =
    &[github::ADAPTER, gitlab::ADAPTER, buildkite::ADAPTER, jenkins::ADAPTER, circleci::ADAPTER];

impl Provider {
    /// Names of the executables of the process that starts this provider's jobs. A name is a weak identity: it helps to find
    /// the process, and proves nothing about it.
    pub fn worker_names(self) -> &'static [&'static str] {
        ADAPTERS.iter().find(|adapter| adapter.provider == self).map_or(&[], |adapter| adapter.workers)
    }
}

/// Which job an environment is of.
///
/// `payload` are the bytes of the file that `GITHUB_EVENT_PATH` names; only GitHub has one. The environment must be one that
/// the provider's own process made: that of a runner's hook, or of the worker. What a step of the job hands on is its own
/// claim.
pub fn identify(environment: &Environment, payload: Option<&[u8]>) -> Result<JobIdentity, IdentityError> {
    let speaks = |adapter: &&Adapter| adapter.markers.iter().any(|marker| environment.has(marker));
    let speaking: Vec<&Adapter> = ADAPTERS.iter().filter(speaks).collect();
    match speaking[..] {
        [] => plain::read(environment),
        [adapter] => {
            let is_read = adapter.provider == Provider::Github;
            let payload = payload.filter(|_| is_read).map(Payload::parse).transpose()?;
            (adapter.read)(environment, payload.as_ref())
        }
        // A pipeline's file can set another provider's variables, and is not to choose whose word is believed.
        [..] => {
            let names: Vec<&str> = speaking.iter().map(|adapter| adapter.provider.as_str()).collect();
            let source = Source::Untold(format!("the environment has variables of {}", names.join(" and of ")));
            Ok(JobIdentity { source, ..JobIdentity::new(Provider::Unknown) })
        }
    }
}

#[cfg(test)]
mod tests;
