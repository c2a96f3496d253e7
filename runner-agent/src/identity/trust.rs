//! How far a job's code is trusted. Every way to more trust is a condition that is met; whatever isn't known is untrusted.

use std::collections::BTreeSet;

use super::{JobIdentity, Provider, Source, Trigger};
use crate::policy::Trust;
use crate::policy::trust::matches;

/// What the operator of a runner says about trust. Lists are globs, as in [`AppliesTo`](crate::policy::AppliesTo).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRules {
    /// Providers whose word can raise trust. Others' jobs are untrusted, because their own files can set what they say.
    pub believe: BTreeSet<Provider>,
    /// Branches whose code was looked at, without `refs/heads/`.
    pub protected: Vec<String>,
    /// Whether a branch that the provider calls protected is one too.
    pub provider_protects: bool,
    /// Whether a change from a branch of the repository itself is trusted.
    pub internal_pull_requests: bool,
    /// Whether a command run by hand is trusted.
    pub plain: bool,
    /// What makes a job one that publishes or deploys.
    pub release: ReleaseRules,
}

/// What makes a trusted job one that publishes or deploys. Any of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseRules {
    /// Tags, without `refs/tags/`.
    pub tags: Vec<String>,
    /// Deployment environments.
    pub environments: Vec<String>,
    /// Events, in the provider's words.
    pub events: Vec<String>,
}

impl Default for TrustRules {
    /// What holds for a repository that nobody configured. A change of the repository's own is untrusted: it is code that
    /// nobody but its author has looked at, and new dependencies arrive in it.
    fn default() -> Self {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self {
            believe: [Provider::Github].into(),
            protected: own(&["main", "master"]),
            provider_protects: false,
            internal_pull_requests: false,
            plain: false,
            release: ReleaseRules { tags: own(&["v*"]), environments: own(&["production"]), events: own(&["release"]) },
        }
    }
}

/// What a git reference is.
enum Place<'a> {
    Branch(&'a str),
    Tag(&'a str),
    Other,
}

impl<'a> Place<'a> {
    fn of(git_ref: Option<&'a str>) -> Self {
        let git_ref = git_ref.unwrap_or_default();
        match (git_ref.strip_prefix("refs/heads/"), git_ref.strip_prefix("refs/tags/")) {
            (Some(branch), _) => Self::Branch(branch),
            (None, Some(tag)) => Self::Tag(tag),
            (None, None) => Self::Other,
        }
    }
}

/// The tier of a job, and why, as a fragment for people.
pub fn trust(identity: &JobIdentity, rules: &TrustRules) -> (Trust, String) {
    match trusted(identity, rules) {
        Err(reason) => (Trust::Untrusted, reason),
        Ok(reason) => match release(identity, &rules.release) {
            Some(release) => (Trust::Release, release),
            None => (Trust::Trusted, reason),
        },
    }
}

/// Why the job is trusted, or why not.
fn trusted(identity: &JobIdentity, rules: &TrustRules) -> Result<String, String> {
    let event = identity.event.as_deref().unwrap_or("no event");
    match identity.provider {
        Provider::Unknown => return Err(format!("no provider that is known: {}", untold(&identity.source))),
        Provider::Plain if rules.plain => return Ok("a command run by hand".to_owned()),
        Provider::Plain => return Err("a command run by hand: nothing says whose code it runs".to_owned()),
        provider if !rules.believe.contains(&provider) => {
            return Err(format!(
                "what {provider} tells of a job can be set by the job's own file, and is not believed"
            ));
        }
        _ => {}
    }
    if identity.trigger == Trigger::Outsider {
        return Err(format!("anybody with an account can cause {event}"));
    }
    match &identity.source {
        Source::Fork(Some(name)) => return Err(format!("{event} from the fork {name}")),
        Source::Fork(None) => return Err(format!("{event} from a fork that is gone")),
        Source::Untold(reason) => return Err(format!("{event}: {reason}")),
        Source::Internal if !rules.internal_pull_requests => {
            return Err(format!(
                "{event} from a branch of the repository itself, which is not configured to be trusted"
            ));
        }
        Source::Internal => return Ok(format!("{event} from a branch of the repository itself")),
        Source::Own => {}
    }
    let any = |globs: &[String], text: &str| globs.iter().any(|glob| matches(glob, text));
    match (identity.trigger, Place::of(identity.git_ref.as_deref())) {
        (Trigger::Unknown | Trigger::Change | Trigger::Outsider, _) => Err(format!("{event} is not known")),
        (Trigger::FollowUp, place) => {
            let before = identity.head_ref.as_deref().unwrap_or_default();
            match place {
                Place::Branch(branch) if any(&rules.protected, branch) && any(&rules.protected, before) => {
                    Ok(format!("{event} after a run on the protected branch {before}"))
                }
                _ => Err(format!("{event} after a run on {before:?}, which is no protected branch")),
            }
        }
        (_, Place::Branch(branch)) if any(&rules.protected, branch) => {
            Ok(format!("{event} on the protected branch {branch}"))
        }
        (_, Place::Branch(branch)) if rules.provider_protects && identity.protected == Some(true) => {
            Ok(format!("{event} on the branch {branch}, which {} protects", identity.provider))
        }
        (_, Place::Branch(branch)) => Err(format!("{event} on the branch {branch}, which is no protected one")),
        (_, Place::Tag(tag)) if any(&rules.release.tags, tag) => Ok(format!("{event} on the release tag {tag}")),
        (Trigger::Release, Place::Tag(tag)) if any(&rules.release.events, event) => Ok(format!("{event} of {tag}")),
        (_, Place::Tag(tag)) => Err(format!("{event} on the tag {tag}, which is no release tag")),
        (_, Place::Other) => Err(format!(
            "{event} on {}, which is neither branch nor tag",
            identity.git_ref.as_deref().unwrap_or("no reference")
        )),
    }
}

/// Why a trusted job is one that publishes or deploys. A proposed change is none, whatever environment it names.
fn release(identity: &JobIdentity, rules: &ReleaseRules) -> Option<String> {
    if identity.source != Source::Own {
        return None;
    }
    let any = |globs: &[String], text: &str| globs.iter().any(|glob| matches(glob, text));
    if let Place::Tag(tag) = Place::of(identity.git_ref.as_deref())
        && any(&rules.tags, tag)
    {
        return Some(format!("the release tag {tag}"));
    }
    if let Some(environment) = identity.deployment.as_deref().filter(|name| any(&rules.environments, name)) {
        return Some(format!("a deployment to {environment}"));
    }
    let event = identity.event.as_deref().filter(|event| any(&rules.events, event))?;
    Some(format!("the event {event}"))
}

fn untold(source: &Source) -> &str {
    match source {
        Source::Untold(reason) => reason,
        _ => "nothing more is told",
    }
}
