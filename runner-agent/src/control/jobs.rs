//! What is answered by the jobs that there are.

use serde_json::json;
use tokio::sync::oneshot;

use super::answer::{self, Looker};
use super::desk::{Asked, Wanted};
use super::kept;
use super::metrics;
use super::peer::Peer;
use super::policies::Chosen;
use super::protocol::{Answer, NOT_ARMED, Request, USAGE};
use crate::agent::{BeginError, Begun, Elsewhere, JobRequest, Service};
use crate::identity::JobIdentity;
use crate::policy::Mode;

/// Answers one question by the jobs that there are.
pub(super) fn answer_one(service: &mut Service, asked: Asked) {
    let (answer, to) = match asked {
        Asked::Join(peer, mode, to) => {
            let ours = service.begun_of(peer.pid).map(|begun| joined(begun, mode));
            let elsewhere = if ours.is_none() { service.elsewhere(peer.pid) } else { None };
            match elsewhere {
                Some(elsewhere) => drop(tokio::spawn(async move { to.send(Some(kept::join(&elsewhere, mode).await)) })),
                // Who has given up is told nothing, as for every other answer.
                None => drop(to.send(ours)),
            }
            return;
        }
        Asked::Start(wanted, to) => {
            start(service, *wanted, to);
            return;
        }
        Asked::Simple(peer, Request::Stop { job, only_tell }, to) => {
            let by = (!only_tell).then_some(peer.pid);
            match whose(service, peer, job) {
                Ok(Whose::Ours(id)) => (stop(service, &id, by), to),
                Ok(Whose::Kept(elsewhere)) => {
                    // Its keeper takes its time, and others are answered meanwhile.
                    tokio::spawn(async move { to.send(kept::stop(&elsewhere, by).await) });
                    return;
                }
                Err(answer) => (answer, to),
            }
        }
        Asked::Simple(_, Request::List, to) => {
            list(service, to);
            return;
        }
        Asked::Simple(peer, request, to) => (simple(service, peer, &request), to),
    };
    // A client that has given up is told nothing; what it began goes on.
    let _ = to.send(answer);
}

/// A job that has begun, for who would have begun it.
pub(super) fn joined(begun: &Begun, mode: Option<Mode>) -> Answer {
    if mode == Some(Mode::Block) && begun.mode == Mode::Audit {
        let message =
            format!("{} has begun in mode audit, and a job's mode stays as it is; begin it in mode block", begun.id);
        return Answer::refused(NOT_ARMED, message);
    }
    Answer::Done(answer::joined(begun))
}

/// Begins a job. It is answered when it has begun, or can't.
fn start(service: &mut Service, wanted: Wanted, to: oneshot::Sender<Answer>) {
    let Wanted { peer, worker, identity, chosen, redactor } = wanted;
    let Chosen { policy, recorded, trust, because, notes } = chosen;
    let title = title(&identity);
    let trust = (trust, because);
    let request = JobRequest { identity, title, worker, trust, policy, recorded, redactor };
    service.begin(peer.pid, request, move |begun| {
        // A client that has given up is told nothing; what it began goes on.
        let _ = to.send(started(worker, begun, &notes));
    });
}

fn started(worker: u32, begun: Result<Begun, BeginError>, notes: &[String]) -> Answer {
    match begun {
        Ok(begun) => {
            let (tier, because) = begun.trust.as_ref().map_or(("", ""), |(tier, because)| (*tier, because));
            tracing::info!("{} began: pid {worker}, {tier}: {because}", begun.id);
            Answer::Done(answer::begun(&begun, notes))
        }
        Err(error) => {
            tracing::warn!("a job of pid {worker} did not begin: {error}");
            if let Some((elsewhere, detail)) = error.for_keeper() {
                tokio::spawn(kept::tell_refused(elsewhere, detail));
            }
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

fn simple(service: &mut Service, peer: Peer, request: &Request) -> Answer {
    match request {
        Request::Status => match service.entries() {
            Ok(entries) => Answer::Done(json!({
                "schema": answer::SCHEMA,
                "state": "ready",
                "version": env!("CARGO_PKG_VERSION"),
                "tier": service.tier(),
                "jobs": service.standings().count(),
                "job": service.job_of(peer.pid).or_else(|| service.elsewhere(peer.pid).map(|elsewhere| elsewhere.id)),
                "maps": entries,
            })),
            Err(error) => Answer::refused(NOT_ARMED, error.to_string()),
        },
        Request::Metrics => match service.figures() {
            Ok(figures) => Answer::Done(json!({ "schema": answer::SCHEMA, "metrics": metrics::text(figures) })),
            Err(error) => Answer::refused(NOT_ARMED, error.to_string()),
        },
        Request::Start { .. } | Request::Stop { .. } | Request::List => {
            Answer::refused(USAGE, "a job is begun with `job start`, and ended with `job stop`")
        }
    }
}

/// All jobs that this daemon or its predecessors began. Keepers are asked while others are answered.
fn list(service: &Service, to: oneshot::Sender<Answer>) {
    let mut jobs: Vec<_> = service.standings().map(|standing| answer::standing(&standing, Looker::Daemon)).collect();
    let elsewhere = service.kept_elsewhere();
    tokio::spawn(async move {
        for elsewhere in &elsewhere {
            jobs.push(kept::standing(elsewhere).await);
        }
        to.send(Answer::Done(json!({ "schema": answer::SCHEMA, "jobs": jobs })))
    });
}

/// Who has a job that somebody wants to end.
enum Whose {
    /// This daemon, under that id.
    Ours(String),
    /// The keeper of a job that an earlier daemon began.
    Kept(Elsewhere),
}

/// Everybody in a job may announce its end, which changes nothing about what holds for it; root may announce any.
fn whose(service: &Service, peer: Peer, wanted: Option<String>) -> Result<Whose, Answer> {
    let refused = |message: String| Err(Answer::refused(NOT_ARMED, message));
    let (pid, own) = (peer.pid, service.job_of(peer.pid));
    let elsewhere = if own.is_none() { service.elsewhere(pid) } else { None };
    let id = own.clone().or_else(|| elsewhere.as_ref().map(|elsewhere| elsewhere.id.clone()));
    match wanted {
        Some(job) if peer.uid != 0 && id.as_deref() != Some(&*job) => {
            refused(format!("pid {pid} doesn't belong to {job}; only root may end others"))
        }
        Some(job) => Ok(service.elsewhere_named(&job).map_or(Whose::Ours(job), Whose::Kept)),
        None => match (own, elsewhere) {
            (Some(own), _) => Ok(Whose::Ours(own.to_string())),
            (None, Some(elsewhere)) => Ok(Whose::Kept(elsewhere)),
            (None, None) => refused(format!(
                "pid {pid} belongs to no job of this daemon: there was no `job start`, or its job has ended"
            )),
        },
    }
}

fn stop(service: &mut Service, id: &str, by: Option<u32>) -> Answer {
    match service.announce_end(id, by, answer::result) {
        Ok(Some(result)) => Answer::Done(result),
        Ok(None) => Answer::refused(NOT_ARMED, format!("there is no job {id}; `job list` tells which there are")),
        Err(error) => Answer::refused(NOT_ARMED, error.to_string()),
    }
}
