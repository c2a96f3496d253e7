//! Buildkite. Read before the checkout (agent hooks `pre-bootstrap` and `environment`): hooks and plugins of the repository
//! run in the same environment afterwards.

use super::origin::{change, host_in, repository_in};
use super::{Adapter, Environment, IdentityError, JobIdentity, Payload, Provider, Repository, Source, Trigger};

pub(super) const ADAPTER: Adapter = Adapter {
    provider: Provider::Buildkite,
    markers: &["BUILDKITE", "BUILDKITE_JOB_ID"],
    workers: &["buildkite-agent"],
    read,
};

fn read(environment: &Environment, _: Option<&Payload>) -> Result<JobIdentity, IdentityError> {
    let text = |name: &str| environment.text(name);
    let (event, address) = (text("BUILDKITE_SOURCE")?, text("BUILDKITE_REPO")?);
    let (number, branch, tag) = (text("BUILDKITE_PULL_REQUEST")?, text("BUILDKITE_BRANCH")?, text("BUILDKITE_TAG")?);
    let (trigger, source) = match (number.as_deref(), event.as_deref()) {
        (Some("false"), Some("webhook")) => (Trigger::Push, Source::Own),
        (Some("false"), Some("schedule")) => (Trigger::Schedule, Source::Own),
        (Some("false"), Some("ui" | "api")) => (Trigger::Manual, Source::Own),
        // The build that triggered this one may have been anything.
        (Some("false"), _) => {
            (Trigger::Unknown, Source::Untold("the build's source is not one that is known".to_owned()))
        }
        (Some(_), _) => (Trigger::Change, of_addresses(text("BUILDKITE_PULL_REQUEST_REPO")?, address.as_ref())),
        (None, _) => (Trigger::Unknown, Source::Untold("BUILDKITE_PULL_REQUEST is not set".to_owned())),
    };
    // The branch of a pull request is its head's name, which may be `main` in a fork.
    let (git_ref, head_ref) = match (trigger, number, tag, branch) {
        (Trigger::Change, Some(number), _, branch) => (Some(format!("refs/pull/{number}/head")), branch),
        (_, _, Some(tag), _) => (Some(format!("refs/tags/{tag}")), None),
        (_, _, None, branch) => (branch.map(|branch| format!("refs/heads/{branch}")), None),
    };
    Ok(JobIdentity {
        server: address.as_deref().and_then(host_in),
        repository: address.as_deref().and_then(repository_in),
        workflow: text("BUILDKITE_PIPELINE_SLUG")?,
        run_id: text("BUILDKITE_BUILD_ID")?,
        attempt: text("BUILDKITE_RETRY_COUNT")?,
        job: text("BUILDKITE_STEP_KEY")?.or(text("BUILDKITE_LABEL")?),
        session: text("BUILDKITE_JOB_ID")?,
        worker: text("BUILDKITE_AGENT_NAME")?,
        url: text("BUILDKITE_BUILD_URL")?,
        commit: text("BUILDKITE_COMMIT")?,
        base_ref: text("BUILDKITE_PULL_REQUEST_BASE_BRANCH")?,
        actor: text("BUILDKITE_BUILD_CREATOR")?,
        actor_id: text("BUILDKITE_BUILD_CREATOR_ID")?,
        git_ref,
        head_ref,
        event,
        trigger,
        source,
        ..JobIdentity::new(Provider::Buildkite)
    })
}

/// Where a pull request comes from. The two addresses may be written in different ways (`git@…`, `https://…`).
fn of_addresses(head: Option<String>, base: Option<&String>) -> Source {
    let name = |address: &str| Some(format!("{}/{}", host_in(address)?, repository_in(address)?));
    let (head, base) = (head.as_deref().and_then(name), base.and_then(|base| name(base)));
    let repository = |name| Repository { name, id: None };
    change(repository(head.as_deref()), repository(base.as_deref()))
}
