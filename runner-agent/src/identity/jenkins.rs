//! Jenkins, multibranch projects. A Jenkinsfile can set every variable of its steps (`environment`, `withEnv`), and a
//! parameter of a build is one too, so its word raises trust only where the operator says so.

use super::origin::repository_in;
use super::{Adapter, Environment, IdentityError, JobIdentity, Payload, Provider, Source, Trigger};

pub(super) const ADAPTER: Adapter = Adapter {
    provider: Provider::Jenkins,
    markers: &["JENKINS_URL", "JENKINS_NODE_COOKIE", "HUDSON_URL"],
    // An inbound agent and one started over ssh are both a JVM.
    workers: &["java"],
    read,
};

fn read(environment: &Environment, _: Option<&Payload>) -> Result<JobIdentity, IdentityError> {
    let text = |name: &str| environment.text(name);
    let (branch, tag, fork) = (text("BRANCH_NAME")?, text("TAG_NAME")?, text("CHANGE_FORK")?);
    let is_change = environment.has("CHANGE_ID") || environment.has("CHANGE_FORK") || environment.has("CHANGE_TARGET");
    let (trigger, source) = match fork {
        fork @ Some(_) => (Trigger::Change, Source::Fork(fork)),
        None if is_change => (Trigger::Change, Source::Internal),
        // Whether a push, the clock or a person started a build of a branch isn't told; each takes write access.
        None if branch.is_some() || tag.is_some() => (Trigger::Push, Source::Own),
        None => {
            (Trigger::Unknown, Source::Untold("there is no BRANCH_NAME, which multibranch projects set".to_owned()))
        }
    };
    let git_ref = match (trigger, tag, branch) {
        (Trigger::Change, _, name) => name.map(|name| format!("refs/changes/{name}")),
        (_, Some(tag), _) => Some(format!("refs/tags/{tag}")),
        (_, None, branch) => branch.map(|branch| format!("refs/heads/{branch}")),
    };
    Ok(JobIdentity {
        server: text("JENKINS_URL")?,
        repository: text("GIT_URL")?.as_deref().and_then(repository_in),
        workflow: text("JOB_NAME")?,
        run_id: text("BUILD_NUMBER")?,
        job: text("JOB_BASE_NAME")?,
        session: text("BUILD_TAG")?,
        worker: text("NODE_NAME")?,
        url: text("BUILD_URL")?,
        commit: text("GIT_COMMIT")?,
        git_ref,
        base_ref: text("CHANGE_TARGET")?,
        head_ref: text("CHANGE_BRANCH")?,
        event: Some(if is_change { "change" } else { "branch" }.to_owned()),
        actor: text("CHANGE_AUTHOR")?.or(text("BUILD_USER_ID")?),
        trigger,
        source,
        ..JobIdentity::new(Provider::Jenkins)
    })
}
