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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Encoder;
    use super::*;
    use crate::identity::{Environment, identify};
    use crate::policy::Mode;

    fn told(variables: &[&str]) -> BTreeMap<&'static str, String> {
        let environment = Environment::parse(variables.join("\0").as_bytes());
        let about = About {
            encoder: Encoder { boot_ns: 0, mount_namespace: 0 },
            job: "j".into(),
            host: String::new(),
            identity: Some(identify(&environment, None).expect("an identity")),
            trust: None,
            policy: "p".to_owned(),
            policy_sha256: String::new(),
            mode: Mode::Block,
        };
        let mut all = BTreeMap::new();
        visit(&about, &mut |name, value| {
            assert!(
                !value.is_empty() && all.insert(name, value.to_owned()).is_none(),
                "{name} is told once, with a value"
            );
        });
        all
    }

    #[test]
    fn a_tag_is_a_tag_and_a_change_is_the_branch_it_comes_from() {
        let tag = told(&["GITHUB_ACTIONS=true", "GITHUB_REF=refs/tags/v1.2", "GITHUB_EVENT_NAME=push"]);
        assert_eq!((&*tag["vcs.ref.head.name"], &*tag["vcs.ref.head.type"]), ("v1.2", "tag"));
        let change = told(&[
            "GITHUB_ACTIONS=true",
            "GITHUB_REF=refs/pull/7/merge",
            "GITHUB_HEAD_REF=topic",
            "GITHUB_BASE_REF=main",
            "GITHUB_EVENT_NAME=push",
        ]);
        assert_eq!((&*change["vcs.ref.head.name"], &*change["vcs.ref.head.type"]), ("topic", "branch"));
        assert_eq!(change["vcs.ref.base.name"], "main");
    }

    #[test]
    fn groups_of_groups_are_an_owner() {
        let told = told(&["GITLAB_CI=true", "CI_PROJECT_PATH=org/team/app", "CI_SERVER_URL=https://git.example.org/"]);
        assert_eq!((&*told["vcs.owner.name"], &*told["vcs.repository.name"]), ("org/team", "app"));
        assert_eq!(told["vcs.repository.url.full"], "https://git.example.org/org/team/app");
        assert_eq!(told["vcs.provider.name"], "gitlab");
    }

    #[test]
    fn a_command_run_by_hand_has_no_repository() {
        let told = told(&["HOME=/home/user"]);
        assert_eq!(told["runner_agent.ci.provider"], "plain");
        assert!(!told.keys().any(|name| name.starts_with("vcs.") || name.starts_with("cicd.")), "{told:?}");
    }
}
