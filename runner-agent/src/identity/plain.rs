//! No provider that is known: a command run by hand, or a CI that nobody wrote an adapter for.

use super::{Environment, IdentityError, JobIdentity, Provider, Source, Trigger};

/// Variables of systems that have no adapter. `CI` is the one that most of them set.
const OTHERS: &[&str] =
    &["CI", "TF_BUILD", "TEAMCITY_VERSION", "CODEBUILD_BUILD_ID", "DRONE", "TRAVIS", "BITBUCKET_BUILD_NUMBER"];

pub(super) fn read(environment: &Environment) -> Result<JobIdentity, IdentityError> {
    let text = |name: &str| environment.text(name);
    if let Some(other) = OTHERS.iter().find(|name| environment.has(name)) {
        let source = Source::Untold(format!("{other} is set, and no provider that is known set it"));
        return Ok(JobIdentity { source, ..JobIdentity::new(Provider::Unknown) });
    }
    Ok(JobIdentity {
        session: text("RUNNER_AGENT_JOB_ID")?,
        worker: text("HOSTNAME")?,
        actor: text("SUDO_USER")?.or(text("USER")?),
        trigger: Trigger::Manual,
        source: Source::Untold("a command run by hand".to_owned()),
        ..JobIdentity::new(Provider::Plain)
    })
}
