//! What is answered by the jobs that there are.

use serde_json::json;

use super::answer;
use super::desk::{Asked, Wanted};
use super::metrics;
use super::peer::Peer;
use super::policies::Chosen;
use super::protocol::{Answer, NOT_ARMED, Request, USAGE};
use crate::agent::{BeginError, Begun, JobRequest, Service};
use crate::identity::JobIdentity;
use crate::policy::Mode;

/// Answers one question by the jobs that there are.
pub(super) fn answer_one(service: &mut Service, asked: Asked) {
    let (answer, to) = match asked {
        Asked::Join(peer, mode, to) => {
            // As for every other answer.
            let _ = to.send(service.begun_of(peer.pid).map(|begun| joined(begun, mode)));
            return;
        }
        Asked::Start(wanted, to) => (start(service, *wanted), to),
        Asked::Simple(peer, request, to) => (simple(service, peer, request), to),
    };
    // A client that has given up is told nothing; what it began goes on.
    let _ = to.send(answer);
}

/// A job that has begun, for who would have begun it.
fn joined(begun: &Begun, mode: Option<Mode>) -> Answer {
    if mode == Some(Mode::Block) && begun.mode == Mode::Audit {
        let message =
            format!("{} has begun in mode audit, and a job's mode stays as it is; begin it in mode block", begun.id);
        return Answer::refused(NOT_ARMED, message);
    }
    Answer::Done(answer::joined(begun))
}

fn start(service: &mut Service, wanted: Wanted) -> Answer {
    let Wanted { peer, worker, identity, chosen, redactor } = wanted;
    let Chosen { policy, recorded, trust, because, notes } = chosen;
    let title = title(&identity);
    let trust = (trust, because);
    match service.begin(peer.pid, JobRequest { identity, title, worker, trust, policy, recorded, redactor }) {
        Ok(begun) => {
            tracing::info!("{} began: pid {worker}, {}: {}", begun.id, begun.trust.0, begun.trust.1);
            Answer::Done(answer::begun(&begun, &notes))
        }
        Err(error) => {
            tracing::warn!("a job of pid {worker} did not begin: {error}");
            let code = if matches!(error, BeginError::Known(_)) { USAGE } else { NOT_ARMED };
            Answer::refused(code, error.to_string())
        }
    }
}

/// A job in words, in place of a command: what a log's reader knows it by.
fn title(identity: &JobIdentity) -> Vec<String> {
    let words = [&identity.repository, &identity.workflow, &identity.job, &identity.run_id, &identity.attempt];
    let words = words.into_iter().flatten().cloned();
    [identity.provider.as_str().to_owned()].into_iter().chain(words).collect()
}

fn simple(service: &mut Service, peer: Peer, request: Request) -> Answer {
    match request {
        Request::Stop { job, only_tell } => stop(service, peer, job, only_tell),
        Request::List => {
            let jobs: Vec<_> = service.standings().map(|standing| answer::standing(&standing)).collect();
            Answer::Done(json!({ "schema": answer::SCHEMA, "jobs": jobs }))
        }
        Request::Status => match service.entries() {
            Ok(entries) => Answer::Done(json!({
                "schema": answer::SCHEMA,
                "state": "ready",
                "version": env!("CARGO_PKG_VERSION"),
                "tier": service.tier(),
                "jobs": service.standings().count(),
                "job": service.job_of(peer.pid),
                "maps": entries,
            })),
            Err(error) => Answer::refused(NOT_ARMED, error.to_string()),
        },
        Request::Metrics => match service.figures() {
            Ok(figures) => Answer::Done(json!({ "schema": answer::SCHEMA, "metrics": metrics::text(figures) })),
            Err(error) => Answer::refused(NOT_ARMED, error.to_string()),
        },
        Request::Start { .. } => Answer::refused(USAGE, "a job is begun with `job start`"),
    }
}

/// Why a process is answered for no job.
fn no_job(service: &Service, pid: u32) -> String {
    let Some((id, log)) = service.job_of_another(pid) else {
        return format!("pid {pid} belongs to no job of this daemon: there was no `job start`, or its job has ended");
    };
    let log = log.map_or_else(String::new, |log| format!(", in {}", log.display()));
    format!(
        "{id} was begun by a daemon that is gone, and this one has no account of it; its rules hold, and a keeper tells what it \
         does{log}"
    )
}

/// Everybody in a job may announce its end, which changes nothing about what holds for it; root may announce any.
fn stop(service: &mut Service, peer: Peer, job: Option<String>, only_tell: bool) -> Answer {
    let own = service.job_of(peer.pid);
    let id = match (job, own) {
        (Some(job), own) if peer.uid == 0 || own.as_deref() == Some(&*job) => job,
        (Some(job), _) => {
            return Answer::refused(
                NOT_ARMED,
                format!("pid {} doesn't belong to {job}; only root may end others", peer.pid),
            );
        }
        (None, Some(own)) => own.to_string(),
        (None, None) => {
            return Answer::refused(NOT_ARMED, no_job(service, peer.pid));
        }
    };
    match service.announce_end(&id, (!only_tell).then_some(peer.pid), answer::result) {
        Ok(Some(result)) => Answer::Done(result),
        Ok(None) => Answer::refused(NOT_ARMED, format!("there is no job {id}; `job list` tells which there are")),
        Err(error) => Answer::refused(NOT_ARMED, error.to_string()),
    }
}
