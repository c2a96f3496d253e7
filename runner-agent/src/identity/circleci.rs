//! CircleCI. A project's own file can set variables of its jobs, and what says that a change comes from a fork exists only
//! for some integrations, so its word raises trust only where the operator says so.

use super::origin::{host_in, repository_in};
use super::{Adapter, Environment, IdentityError, JobIdentity, Payload, Provider, Source, Trigger};

pub(super) const ADAPTER: Adapter = Adapter {
    provider: Provider::Circleci,
    markers: &["CIRCLECI", "CIRCLE_WORKFLOW_JOB_ID", "CIRCLE_WORKFLOW_ID"],
    workers: &["circleci-runner", "circleci-agent"],
    read,
};

/// Set for changes from forks alone.
const FORK_MARKERS: &[&str] = &["CIRCLE_PR_REPONAME", "CIRCLE_PR_USERNAME", "CIRCLE_PR_NUMBER"];

fn read(environment: &Environment, _: Option<&Payload>) -> Result<JobIdentity, IdentityError> {
    let text = |name: &str| environment.text(name);
    let slug =
        |owner: Option<String>, name: Option<String>| owner.zip(name).map(|(owner, name)| format!("{owner}/{name}"));
    let (address, branch) = (text("CIRCLE_REPOSITORY_URL")?, text("CIRCLE_BRANCH")?);
    let repository = slug(text("CIRCLE_PROJECT_USERNAME")?, text("CIRCLE_PROJECT_REPONAME")?)
        .or_else(|| address.as_deref().and_then(repository_in));
    // The branch of a fork's change is named after its number: `pull/7`.
    let is_fork = FORK_MARKERS.iter().any(|marker| environment.has(marker))
        || branch.as_deref().is_some_and(|branch| branch.starts_with("pull/"));
    let (trigger, source) = if is_fork {
        let head = slug(text("CIRCLE_PR_USERNAME")?, text("CIRCLE_PR_REPONAME")?);
        (Trigger::Change, Source::Fork(head))
    } else {
        // Whether a push, the clock or a person started it isn't told; a change of the repository's own is a branch.
        (Trigger::Push, Source::Own)
    };
    let git_ref = match text("CIRCLE_TAG")? {
        _ if is_fork => {
            let number = branch.as_deref().and_then(|branch| branch.strip_prefix("pull/"));
            number.map(|number| format!("refs/pull/{number}/head"))
        }
        Some(tag) => Some(format!("refs/tags/{tag}")),
        None => branch.map(|branch| format!("refs/heads/{branch}")),
    };
    Ok(JobIdentity {
        server: address.as_deref().and_then(host_in),
        repository,
        repository_id: text("CIRCLE_PROJECT_ID")?,
        run_id: text("CIRCLE_WORKFLOW_ID")?,
        job: text("CIRCLE_JOB")?,
        session: text("CIRCLE_WORKFLOW_JOB_ID")?,
        worker: text("CIRCLE_RUNNER_NAME")?,
        url: text("CIRCLE_BUILD_URL")?,
        commit: text("CIRCLE_SHA1")?,
        actor: text("CIRCLE_USERNAME")?,
        event: Some(if is_fork { "fork-pull-request" } else { "branch" }.to_owned()),
        git_ref,
        trigger,
        source,
        ..JobIdentity::new(Provider::Circleci)
    })
}
