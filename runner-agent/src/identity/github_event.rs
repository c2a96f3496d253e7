//! GitHub's events: what each says of whose code runs. The payload decides; the event's name alone says who may cause it.

use super::origin::change;
use super::{IdentityError, Payload, Repository, Source, Trigger};

/// What an event says.
pub(super) struct Event {
    pub trigger: Trigger,
    pub source: Source,
    /// The branch of the run before.
    pub head: Option<String>,
    /// The environment of a deployment.
    pub deployment: Option<String>,
}

/// Events that anybody with an account can cause in a public repository. They run on the default branch, with its secrets,
/// on texts that a stranger wrote; `pull_request_target` and the reviews also on a stranger's commit, if a step fetches it.
const OUTSIDERS: &[&str] = &[
    "pull_request_target",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_comment",
    "issue_comment",
    "issues",
    "discussion",
    "discussion_comment",
    "commit_comment",
    "fork",
    "watch",
    "gollum",
];

pub(super) fn origin(
    event: Option<&str>,
    payload: Option<&Payload>,
    job_of: Repository,
) -> Result<Event, IdentityError> {
    let said = |trigger, source| Event { trigger, source, head: None, deployment: None };
    Ok(match event {
        Some("push") => said(Trigger::Push, Source::Own),
        Some("schedule") => said(Trigger::Schedule, Source::Own),
        Some("workflow_dispatch") => said(Trigger::Manual, Source::Own),
        Some("release") => said(Trigger::Release, Source::Own),
        // Only who may write can put a change into the queue, wherever it came from.
        Some("merge_group") => said(Trigger::Change, Source::Internal),
        Some("pull_request") => said(Trigger::Change, head_of(payload, "/pull_request/head/repo", job_of)?),
        Some("deployment" | "deployment_status") => {
            let deployment = payload.map(|payload| payload.text("/deployment/environment")).transpose()?.flatten();
            Event { deployment, ..said(Trigger::Deployment, Source::Own) }
        }
        Some("workflow_run") => follow_up(payload, job_of)?,
        Some(event) if OUTSIDERS.contains(&event) => said(Trigger::Outsider, Source::Own),
        _ => said(Trigger::Unknown, Source::Untold("the event is not one that is known".to_owned())),
    })
}

/// A run after another: it is what the first one was, because it works on what that one left.
fn follow_up(payload: Option<&Payload>, job_of: Repository) -> Result<Event, IdentityError> {
    let field = |pointer| Ok(payload.map(|payload| payload.text(pointer)).transpose()?.flatten());
    let head = field("/workflow_run/head_branch")?;
    let first = field("/workflow_run/event")?;
    let source = match head_of(payload, "/workflow_run/head_repository", job_of)? {
        Source::Internal => match first.as_deref() {
            Some("push" | "schedule" | "workflow_dispatch") => Source::Own,
            Some("pull_request" | "merge_group") => Source::Internal,
            Some(event) => Source::Untold(format!("the run before was started by {event}")),
            None => Source::Untold("nothing says what started the run before".to_owned()),
        },
        other => other,
    };
    Ok(Event { trigger: Trigger::FollowUp, source, head, deployment: None })
}

/// Where a change comes from, by the repository at a JSON pointer: `null` is a fork that was deleted.
fn head_of(payload: Option<&Payload>, head: &str, job_of: Repository) -> Result<Source, IdentityError> {
    let Some(payload) = payload else {
        return Ok(Source::Untold("there is no event payload to say where the change comes from".to_owned()));
    };
    let field = |at: &str, key: &str| payload.text(&format!("{at}/{key}"));
    let (name, id) = (field("/repository", "full_name")?, field("/repository", "id")?);
    // A payload left over from another job says nothing of this one.
    if (Repository { name: name.as_deref(), id: id.as_deref() }).is(job_of) != Some(true) {
        let name = name.unwrap_or_else(|| "no repository".to_owned());
        return Ok(Source::Untold(format!("the event payload is about {name}, not the job's repository")));
    }
    if !head.rsplit_once('/').is_some_and(|(parent, _)| payload.is_object(parent)) {
        return Ok(Source::Untold("the event payload has nothing about a change".to_owned()));
    }
    if !payload.is_object(head) {
        return Ok(Source::Fork(None));
    }
    let (name, id) = (field(head, "full_name")?, field(head, "id")?);
    Ok(change(Repository { name: name.as_deref(), id: id.as_deref() }, job_of))
}
