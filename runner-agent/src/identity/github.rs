//! GitHub Actions. A workflow can't set `GITHUB_*` and `RUNNER_*` of its jobs, and a hook of the runner gets them before any
//! step; hosted, self-hosted and controller-made runners set the same ones.

use super::github_event::{Event, origin};
use super::{Adapter, Environment, Hosting, IdentityError, JobIdentity, Payload, Provider, Repository};

pub(super) const ADAPTER: Adapter = Adapter {
    provider: Provider::Github,
    markers: &["GITHUB_ACTIONS", "GITHUB_RUN_ID", "RUNNER_TRACKING_ID"],
    workers: &["Runner.Worker"],
    read,
};

/// What the controller adds to the runner's user agent.
const CONTROLLER: &str = "actions-runner-controller/";

fn read(environment: &Environment, payload: Option<&Payload>) -> Result<JobIdentity, IdentityError> {
    let text = |name: &str| environment.text(name);
    let (server, repository, run_id) = (text("GITHUB_SERVER_URL")?, text("GITHUB_REPOSITORY")?, text("GITHUB_RUN_ID")?);
    let (repository_id, attempt) = (text("GITHUB_REPOSITORY_ID")?, text("GITHUB_RUN_ATTEMPT")?);
    let url = server.as_ref().zip(repository.as_ref()).zip(run_id.as_ref()).map(|((server, repository), run)| {
        let attempt = attempt.as_ref().map(|attempt| format!("/attempts/{attempt}")).unwrap_or_default();
        format!("{server}/{repository}/actions/runs/{run}{attempt}")
    });
    let controlled = text("GITHUB_ACTIONS_RUNNER_EXTRA_USER_AGENT")?.is_some_and(|agent| agent.contains(CONTROLLER));
    let hosting = match text("RUNNER_ENVIRONMENT")?.as_deref() {
        Some("github-hosted") => Some(Hosting::Hosted),
        Some("self-hosted") if controlled => Some(Hosting::Arc),
        Some("self-hosted") => Some(Hosting::SelfHosted),
        _ => None,
    };
    let event = text("GITHUB_EVENT_NAME")?;
    let job_of = Repository { name: repository.as_deref(), id: repository_id.as_deref() };
    let Event { trigger, source, head, deployment } = origin(event.as_deref(), payload, job_of)?;
    Ok(JobIdentity {
        workflow: text("GITHUB_WORKFLOW")?,
        workflow_ref: text("GITHUB_WORKFLOW_REF")?,
        job: text("GITHUB_JOB")?,
        session: text("RUNNER_TRACKING_ID")?,
        worker: text("RUNNER_NAME")?,
        hosting,
        url,
        commit: text("GITHUB_SHA")?,
        git_ref: text("GITHUB_REF")?,
        base_ref: text("GITHUB_BASE_REF")?,
        head_ref: head.or(text("GITHUB_HEAD_REF")?),
        actor: text("GITHUB_ACTOR")?,
        actor_id: text("GITHUB_ACTOR_ID")?,
        protected: text("GITHUB_REF_PROTECTED")?.map(|word| word == "true"),
        server,
        repository,
        repository_id,
        run_id,
        attempt,
        event,
        trigger,
        source,
        deployment,
        ..JobIdentity::new(Provider::Github)
    })
}
