//! What is the same for every notice of a job, under the names that OpenTelemetry has for it: `cicd.*`, `vcs.*`, `host.*`,
//! and `runner_agent.*` where it has none (semantic conventions, registry of attributes).

use super::format::About;
use crate::identity::{JobIdentity, Provider};

/// Hands over each attribute that is known and not empty, always in the same order.
pub(super) fn visit(about: &About, tell: &mut impl FnMut(&'static str, &str)) {
    let mut tell = |name, value: &str| {
        if !value.is_empty() {
            tell(name, value);
        }
    };
    tell("host.name", &about.host);
    tell("runner_agent.job.id", &about.job);
    tell("runner_agent.policy.name", &about.policy);
    tell("runner_agent.policy.sha256", &about.policy_sha256);
    tell("runner_agent.policy.mode", about.mode.as_str());
    if let Some(trust) = about.trust {
        tell("runner_agent.trust", trust.as_str());
    }
    if let Some(identity) = &about.identity {
        of_identity(identity, &mut tell);
    }
}

fn of_identity(identity: &JobIdentity, tell: &mut impl FnMut(&'static str, &str)) {
    let mut maybe = |name, value: &Option<String>| {
        if let Some(value) = value {
            tell(name, value);
        }
    };
    maybe("cicd.pipeline.name", &identity.workflow);
    maybe("cicd.pipeline.run.id", &identity.run_id);
    maybe("cicd.pipeline.run.url.full", &identity.url);
    maybe("cicd.pipeline.task.name", &identity.job);
    maybe("cicd.pipeline.task.run.id", &identity.session);
    maybe("cicd.worker.name", &identity.worker);
    maybe("vcs.ref.head.revision", &identity.commit);
    maybe("vcs.ref.base.name", &identity.base_ref);
    maybe("deployment.environment.name", &identity.deployment);
    maybe("runner_agent.ci.attempt", &identity.attempt);
    maybe("runner_agent.ci.event", &identity.event);
    maybe("runner_agent.ci.actor", &identity.actor);
    tell("runner_agent.ci.provider", identity.provider.as_str());
    if let Some(repository) = &identity.repository {
        of_repository(identity, repository, tell);
    }
    let (name, kind) = head(identity);
    if let Some(name) = name {
        tell("vcs.ref.head.name", name);
    }
    if let Some(kind) = kind {
        tell("vcs.ref.head.type", kind);
    }
}

/// The conventions want owner and name apart. GitLab's groups stay together, as an owner.
fn of_repository(identity: &JobIdentity, repository: &str, tell: &mut impl FnMut(&'static str, &str)) {
    tell("runner_agent.ci.repository", repository);
    match repository.rsplit_once('/') {
        Some((owner, name)) => {
            tell("vcs.owner.name", owner);
            tell("vcs.repository.name", name);
        }
        None => tell("vcs.repository.name", repository),
    }
    // Other providers build what lies on somebody else's server.
    if matches!(identity.provider, Provider::Github | Provider::Gitlab) {
        tell("vcs.provider.name", identity.provider.as_str());
        if let Some(server) = &identity.server {
            tell("vcs.repository.url.full", &format!("{}/{repository}", server.trim_end_matches('/')));
        }
    }
}

/// The reference that the code comes from, and what it is: a branch of a change, else what was pushed.
fn head(identity: &JobIdentity) -> (Option<&str>, Option<&'static str>) {
    let git_ref = identity.git_ref.as_deref().unwrap_or_default();
    if let Some(tag) = git_ref.strip_prefix("refs/tags/") {
        return (Some(tag), Some("tag"));
    }
    if let Some(branch) = identity.head_ref.as_deref().or_else(|| git_ref.strip_prefix("refs/heads/")) {
        return (Some(branch), Some("branch"));
    }
    (identity.git_ref.as_deref(), None)
}
