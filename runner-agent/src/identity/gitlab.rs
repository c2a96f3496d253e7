//! GitLab CI. A pipeline's own file can set any predefined variable of its jobs, `CI_COMMIT_REF_PROTECTED` included, so its
//! word raises trust only where the operator says so. The custom executor hands variables on as `CUSTOM_ENV_…`.

use super::origin::{change, repository_in};
use super::{Adapter, Environment, IdentityError, JobIdentity, Payload, Provider, Repository, Source, Trigger};

pub(super) const ADAPTER: Adapter = Adapter {
    provider: Provider::Gitlab,
    markers: &["GITLAB_CI", "CI_JOB_ID", "CI_PROJECT_ID", "CUSTOM_ENV_GITLAB_CI", "CUSTOM_ENV_CI_JOB_ID"],
    workers: &["gitlab-runner"],
    read,
};

/// Set in every pipeline of a merge request.
const MERGE_REQUEST: &[&str] = &["CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_ID", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID"];

fn read(environment: &Environment, _: Option<&Payload>) -> Result<JobIdentity, IdentityError> {
    let custom = ["CUSTOM_ENV_GITLAB_CI", "CUSTOM_ENV_CI_JOB_ID"].iter().any(|marker| environment.has(marker));
    let prefix = if custom { "CUSTOM_ENV_" } else { "" };
    let text = |name: &str| environment.text(&format!("{prefix}{name}"));
    let (event, repository_id) = (text("CI_PIPELINE_SOURCE")?, text("CI_PROJECT_ID")?);
    let (tag, branch) = (text("CI_COMMIT_TAG")?, text("CI_COMMIT_BRANCH")?);
    let git_ref = match (text("CI_MERGE_REQUEST_REF_PATH")?, tag, branch) {
        (Some(path), ..) => Some(path),
        (None, Some(tag), _) => Some(format!("refs/tags/{tag}")),
        (None, None, branch) => branch.map(|branch| format!("refs/heads/{branch}")),
    };
    let (trigger, source) = match event.as_deref() {
        // A child pipeline of a merge request has these too, under another source.
        _ if MERGE_REQUEST.iter().any(|name| environment.has(&format!("{prefix}{name}"))) => {
            let (head, base) = (text("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")?, text("CI_MERGE_REQUEST_PROJECT_ID")?);
            let source = match (&head, base.as_ref().or(repository_id.as_ref())) {
                (None, _) | (_, None) => Source::Untold("nothing says which project the change comes from".to_owned()),
                // A fork's own pipeline runs in the fork: head and project are one there, and the target is another.
                (Some(id), Some(target)) if id == target && repository_id.as_ref() == Some(target) => Source::Internal,
                (Some(_), Some(_)) => Source::Fork(head),
            };
            (Trigger::Change, source)
        }
        Some("external_pull_request_event") => {
            let head = text("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY")?;
            let base = text("CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY")?;
            let name = |name| Repository { name, id: None };
            (Trigger::Change, change(name(head.as_deref()), name(base.as_deref())))
        }
        Some("push") => (Trigger::Push, Source::Own),
        Some("schedule") => (Trigger::Schedule, Source::Own),
        Some("web" | "api") => (Trigger::Manual, Source::Own),
        _ => (Trigger::Unknown, Source::Untold("the pipeline's source is not one that is known".to_owned())),
    };
    let repository = match text("CI_PROJECT_PATH")? {
        Some(path) => Some(path),
        None => text("CI_PROJECT_URL")?.as_deref().and_then(repository_in),
    };
    Ok(JobIdentity {
        server: text("CI_SERVER_URL")?,
        repository,
        workflow: text("CI_PIPELINE_NAME")?,
        workflow_ref: text("CI_CONFIG_PATH")?,
        run_id: text("CI_PIPELINE_ID")?,
        job: text("CI_JOB_NAME")?,
        session: text("CI_JOB_ID")?,
        worker: text("CI_RUNNER_DESCRIPTION")?.or(text("CI_RUNNER_ID")?),
        url: text("CI_JOB_URL")?,
        commit: text("CI_COMMIT_SHA")?,
        base_ref: text("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")?,
        head_ref: text("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")?,
        actor: text("GITLAB_USER_LOGIN")?,
        actor_id: text("GITLAB_USER_ID")?,
        protected: text("CI_COMMIT_REF_PROTECTED")?.map(|word| word == "true"),
        deployment: text("CI_ENVIRONMENT_NAME")?,
        repository_id,
        git_ref,
        event,
        trigger,
        source,
        ..JobIdentity::new(Provider::Gitlab)
    })
}
