//! The beginning of a job: armed for a worker that runs already, which comes into it once whoever must know of the job does. Until then
//! the daemon has others to look after.

use std::sync::Arc;
use std::time::Instant;

use super::moving::{has_ended, pidfd};
use super::words::own_job_refused;
use super::{BeginError, Begun, END_AGAIN, JobRequest, Kept, Service, Session};
use crate::agent::arm::JobOptions;
use crate::agent::block::Prepared;
use crate::agent::flow::{LOG, now_ns};
use crate::agent::run::{RunError, about, io_error};
use crate::agent::sealing::Sealing;
use crate::kernel::procfs::Snapshot;
use crate::policy::Mode;
use crate::sink::Outbox;
use crate::sink::json_lines::JsonLines;

/// A job of which nothing runs yet.
pub(super) struct Beginning {
    /// Who asked for it.
    asker: u32,
    /// The cgroup that the worker is in.
    from: String,
    since: Instant,
    /// Is told what comes of it.
    tell: Box<dyn FnOnce(Result<Begun, BeginError>)>,
}

impl Service {
    /// Begins a job for a worker and whatever it has started so far. `tell` hears of it when it has begun, or why it can't: at once, or
    /// in a later [`Self::look_after`] where a sink must have its start.
    pub fn begin(&mut self, asker: u32, request: JobRequest, tell: impl FnOnce(Result<Begun, BeginError>) + 'static) {
        match self.prepare(asker, request) {
            Err(error) => tell(Err(error)),
            Ok((slot, session, from)) => {
                let beginning = Beginning { asker, from, since: Instant::now(), tell: Box::new(tell) };
                self.sessions.insert(slot, Session { beginning: Some(beginning), ..session });
                self.set_out(slot);
            }
        }
    }

    /// Has the jobs begin whose time has come.
    pub(super) fn set_out_all(&mut self) {
        let waiting = self.sessions.iter().filter(|(_, session)| session.beginning.is_some());
        for slot in waiting.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            self.set_out(slot);
        }
    }

    /// Has no job begin any more.
    pub(super) fn give_up_all(&mut self) {
        for slot in self.sessions.keys().copied().collect::<Vec<_>>() {
            let over = io_error("begin the job")(std::io::Error::other("the daemon is about to end"));
            self.decide(slot, Err(over.into()));
        }
    }

    fn set_out(&mut self, slot: u32) {
        let Some(Session { beginning: Some(beginning), worker, ended, .. }) = self.sessions.get(&slot) else { return };
        let (asker, worker) = (beginning.asker, worker.tgid);
        let begun = match self.station.is_known(slot, beginning.since) {
            _ if has_ended(ended) => Err(BeginError::Gone(worker)),
            Ok(false) => return,
            Ok(true) => self.is_free(asker, worker).and_then(|()| Ok(self.take(slot, worker)?)),
            Err(error) => Err(error.into()),
        };
        self.decide(slot, begun);
    }

    /// Tells what came of a beginning. Nothing may run as if it were watched, so a worker that is in already goes back.
    fn decide(&mut self, slot: u32, begun: Result<(), BeginError>) {
        let Some(session) = self.sessions.get_mut(&slot) else { return };
        let Some(Beginning { from, tell, .. }) = session.beginning.take() else { return };
        let Err(error) = begun else {
            self.past.begun += 1;
            return tell(Ok(session.begun.clone()));
        };
        // One that can't be cleared away is tried again like one that can't be ended.
        session.again = Some(Instant::now() + END_AGAIN);
        match self.release(slot, &from).and_then(|()| self.station.end(slot, None)) {
            Ok(_) => drop(self.sessions.remove(&slot)),
            Err(error) => tracing::error!("a job that didn't begin can't be cleared away: {error}"),
        }
        tell(Err(error));
    }

    /// Arms a job. Returns its slot, its session, and the worker's cgroup.
    fn prepare(&mut self, asker: u32, request: JobRequest) -> Result<(u32, Session, String), BeginError> {
        let worker = Snapshot::read(request.worker).ok_or(BeginError::Gone(request.worker))?;
        let key = worker.rough_key();
        if let Some(known) = self.sessions.values().find(|session| session.worker == key) {
            return Err(BeginError::Known(known.begun.id.clone()));
        }
        self.is_free(asker, request.worker)?;
        let slot = self.free_slot().ok_or_else(|| self.no_slot())?;
        let ended = pidfd(request.worker).ok_or(BeginError::Gone(request.worker))?;
        if Snapshot::read(request.worker).is_none_or(|now| now.rough_key() != key) {
            return Err(BeginError::Gone(request.worker));
        }
        let JobRequest { identity, title, trust, policy, recorded, redactor, .. } = request;
        let id: Arc<str> = format!("{}-{}-{}", identity.provider, std::process::id(), now_ns()).into();
        let log = self.options.logs.join(format!("{id}.jsonl"));
        let Kept { encoder, key: signing, deliveries, .. } = &self.options;
        let file = JsonLines::create(&log, *encoder).map_err(|error| cannot_log(&log, &error))?;
        let about = about(*encoder, &id, Some(identity.clone()), Some(trust.0), &policy);
        let (tier, because) = trust.clone();
        let sealing = Sealing {
            identity: Some(identity),
            trust: Some(trust),
            ..Sealing::beside(&log, signing.clone(), *encoder)
        };
        let file = file.signed(sealing.ledger.clone());
        let mut outboxes = vec![Outbox::start(LOG, file, |_| true).map_err(io_error("start the log's thread"))?];
        outboxes.extend(deliveries.outboxes(&about).map_err(io_error("start a sink's thread"))?);
        let prepared = match policy.mode {
            Mode::Audit => None,
            Mode::Block => Some(Prepared::new(&policy, slot)?),
        };
        let begun = Begun {
            id: id.clone(),
            mode: policy.mode,
            tier: self.tier(),
            trust: Some((tier.as_str(), because)),
            policy: policy.name.clone(),
            policy_sha256: policy.origin.sha256.clone(),
            log: log.clone(),
            receipt: Some(sealing.receipt.clone()),
        };
        self.station.prepare(JobOptions {
            slot,
            id: id.clone(),
            name: format!("runner-agent-{id}"),
            command: title,
            policy,
            recorded,
            prepared,
            proof: None,
            redactor,
            outboxes,
            log: Some(log),
            sealing: Some(sealing),
        })?;
        self.last_slot = slot;
        Ok((slot, Session { begun, worker: key, ended, beginning: None, again: None }, worker.cgroup))
    }

    /// Whether neither belongs to a job.
    fn is_free(&mut self, asker: u32, worker: u32) -> Result<(), BeginError> {
        for pid in [asker, worker] {
            if let Some(slot) = self.slot_of(pid) {
                let id = self.sessions.get(&slot).map_or_else(|| "a job".into(), |session| session.begun.id.clone());
                self.station.refused(slot, &own_job_refused(pid));
                return Err(BeginError::Inside { pid, id });
            }
            if let Some(elsewhere) = self.elsewhere(pid) {
                return Err(BeginError::InsideKept { pid, elsewhere });
            }
        }
        Ok(())
    }
}

fn cannot_log(log: &std::path::Path, error: &std::io::Error) -> RunError {
    io_error("write the job's log")(std::io::Error::new(error.kind(), format!("{}: {error}", log.display())))
}
