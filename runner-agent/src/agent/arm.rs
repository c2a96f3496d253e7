//! Everything that must be in place before a job's first instruction, in the order in which it must be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::at_work::AtWork;
use super::block::{Closed, Hooks, Prepared};
use super::flow::now_ns;
use super::footing::Stand;
use super::gating;
use super::guarding;
use super::run::{RunError, io_error};
use super::sealing::{Seal, Sealing};
use super::self_check::{self, Received};
use super::station::Station;
use super::watched::{secret_files, watch_keys};
use crate::config::Combined;
use crate::job::Job;
use crate::kernel::LoadError;
use crate::kernel::cgroup::JobCgroup;
use crate::notice::{Account, Content, JobStarted};
use crate::policy::Policy;
use crate::redact::Redactor;
use crate::sink::Outbox;
use crate::sink::outbox::Awaited;

/// A job as it is asked for.
pub(super) struct JobOptions {
    /// Slot in the kernel's maps, free.
    pub(super) slot: u32,
    /// Unique name, as it stands in the log.
    pub(super) id: Arc<str>,
    /// Name of its cgroup.
    pub(super) name: String,
    /// The command, for people, secrets still in it.
    pub(super) command: Vec<String>,
    /// The policy.
    pub(super) policy: Policy,
    /// What the policy was made of.
    pub(super) recorded: Combined,
    /// The policy as rules, with a resolver, where it blocks.
    pub(super) prepared: Option<Prepared>,
    /// What is still to be proven before the first job.
    pub(super) proof: Option<Proof>,
    /// Takes out secrets.
    pub(super) redactor: Redactor,
    /// Where notices go.
    pub(super) outboxes: Vec<Outbox>,
    /// The log among them.
    pub(super) log: Option<PathBuf>,
    /// What signs the log, if anything does.
    pub(super) sealing: Option<Sealing>,
}

/// The check that the probes read this kernel right, and that what is forbidden is refused, if anything is to be.
pub(super) struct Proof(pub(super) Option<Closed>);

impl Station {
    /// Makes a job, of which nothing has started, and waits until those who must know of it do. Whatever fails, nothing that was made for
    /// it stays.
    pub(super) fn begin(&mut self, options: JobOptions) -> Result<(), RunError> {
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        let slot = options.slot;
        self.prepare(options)?;
        // Arming takes its own time, which is none of the sinks' that must know.
        let began = Instant::now();
        loop {
            match self.is_known(slot, began) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    self.take_in();
                    self.kernel.wait_readable(LOOK_EVERY);
                }
                Err(error) => {
                    self.end(slot, None)?;
                    return Err(error);
                }
            }
        }
    }

    /// Makes a job, of which nothing has started. Nothing may be, before it is known to all who must know of it.
    pub(super) fn prepare(&mut self, options: JobOptions) -> Result<(), RunError> {
        let slot = options.slot;
        self.arm(options).inspect_err(|_| {
            self.flow.end_job(slot);
            if let Err(error) = self.kernel.remove_job(slot) {
                tracing::error!("a job that can't be armed is left in the kernel's maps: {error}");
            }
        })?;
        // The job's log, sinks, resolver and gate have threads of their own.
        if let Err(error) = self.kernel.add_own_threads() {
            self.end(slot, None)?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Whether those who must know of a job do, that is there since then. The key that signs its log is in what they are told: once they
    /// have it, nothing that the job does can put another in its place. An error is that one of them did not take it in its time.
    pub(super) fn is_known(&self, slot: u32, since: Instant) -> Result<bool, RunError> {
        let Some(Awaited { sink, within, complaint }) = self.flow.awaits(slot) else { return Ok(true) };
        if since.elapsed() < within {
            return Ok(false);
        }
        let why = complaint.map(|why| format!(" ({why})")).unwrap_or_default();
        Err(io_error("announce the job")(std::io::Error::other(format!(
            "the sink {sink} is `required`, and did not take the job's start within {} s{why}",
            within.as_secs_f32()
        ))))
    }

    fn arm(&mut self, options: JobOptions) -> Result<(), RunError> {
        let JobOptions { slot, id, name, command, policy, recorded, prepared, proof, redactor, outboxes, log, sealing } =
            options;
        // Before the guard, which then holds its socket too.
        let gate = gating::bind(&policy, &self.runtime, &name)?;
        self.kernel.watch(slot, &watch_keys(&policy))?;
        if let Some(platform) = &mut self.platform {
            platform.look_again(&mut self.kernel)?;
        }
        guarding::arrange(&mut self.kernel, slot, &policy, log.as_deref())?;
        if let Some(gate) = &gate {
            guarding::keep_out(&mut self.kernel, slot, &gate.folders())?;
        }
        let (cgroup, blocking, rule_ids, received) = match prepared {
            None => self.audited(slot, &name, proof)?,
            Some(prepared) => self.blocked(slot, &name, &policy, prepared, proof)?,
        };
        for unkept in guarding::unkept(&policy, |hook| self.kernel.can_refuse(hook)) {
            tracing::warn!("{unkept}");
        }
        let engine = gate.map(|gate| gating::start(gate, &self.hierarchy, &cgroup)).transpose()?;
        self.flow.book.received += received.count;
        // The others are still to come.
        self.flow.book.decoded += received.count - received.others.len() as u64;
        let secret_files = secret_files(&policy);
        let command = redactor.arguments(command);
        let scope = self.scope();
        let job = Arc::new(Job { slot, id, command, policy, redactor, scope, secret_files, rule_ids });
        // The first job's account begins with the agent's own.
        let since = if self.jobs.is_empty() && received.count > 0 {
            Account::default()
        } else {
            self.flow.whole_account(&mut self.kernel)?
        };
        self.flow.start_job(job.clone(), outboxes, since);
        let ready = self.readiness();
        self.flow.announce_agent(slot, ready);
        let key = sealing.as_ref().map(|sealing| sealing.ledger.key().public().to_string());
        self.flow.announce(&job, started(&job, &cgroup, key));
        if let Some(platform) = &self.platform {
            let held = platform.held();
            let detail = format!(
                "the whole runner is held to the policy; what runs outside the job and isn't exempt: {}",
                if held.is_empty() { "nothing".to_owned() } else { held.join(", ") }
            );
            self.flow.changed(&job, "runner-in-scope", detail);
        }
        self.flow.begin_with(received.others);
        self.flow.send();
        let (began_ns, seal) = (now_ns(), sealing.map(Seal::new));
        let at_work = AtWork {
            job,
            cgroup,
            blocking,
            engine,
            stand: Stand::default(),
            began_ns,
            disarmed: None,
            announced: None,
            log,
            seal,
            recorded,
        };
        self.jobs.insert(slot, at_work);
        let covered = self.bequeath().and_then(|()| self.guard_testament());
        if let Err(error) = covered {
            self.jobs.remove(&slot);
            return Err(error);
        }
        let held = self.hold.as_ref().map(|hold| &hold.held);
        if let Some(at_work) = self.jobs.get_mut(&slot) {
            at_work.stand = guarding::stand(&at_work.job.policy, held, at_work.log.as_deref());
        }
        Ok(())
    }

    fn audited(&mut self, slot: u32, name: &str, proof: Option<Proof>) -> Result<Begun, RunError> {
        let scope = self.scope();
        let pins = self.hold.as_ref().map(|hold| hold.pins.folder());
        let Self { kernel, hierarchy, scratch, .. } = self;
        if self.platform.is_some() {
            kernel.hook(&hierarchy.mount, slot, false, pins)?;
        }
        let received = match proof {
            None => Received::default(),
            Some(_) => self_check::run(kernel, hierarchy, scratch, None, scope)?,
        };
        let cgroup = hierarchy.create_job(name)?;
        if self.platform.is_none() {
            kernel.hook(cgroup.path(), slot, false, pins)?;
        }
        kernel.add_job(&cgroup, slot)?;
        Ok((cgroup, None, Vec::new(), received))
    }

    fn blocked(
        &mut self,
        slot: u32,
        name: &str,
        policy: &Policy,
        prepared: Prepared,
        proof: Option<Proof>,
    ) -> Result<Begun, RunError> {
        let scope = self.scope();
        let Self { kernel, hierarchy, scratch, .. } = self;
        for program in prepared.missing_programs() {
            tracing::warn!("no {program} is on the PATH, so rules for it alone allow nothing");
        }
        debug_assert_eq!(prepared.slot(), slot, "rules are for the job's own slot");
        let cgroup = hierarchy.create_job(name)?;
        let rule_ids = prepared.rule_ids();
        let on = Hooks {
            cgroup: if self.platform.is_some() { &hierarchy.mount } else { cgroup.path() },
            pins: self.hold.as_ref().map(|hold| hold.pins.folder()),
        };
        let mut received = Received::default();
        let closed = proof.and_then(|Proof(closed)| closed);
        let blocking = prepared.arm(kernel, &cgroup, &on, &policy.egress, closed, |kernel, closed| {
            received = self_check::run(kernel, hierarchy, scratch, Some(closed), scope)?;
            Ok::<_, LoadError>(())
        })?;
        Ok((cgroup, Some(blocking), rule_ids, received))
    }
}

/// What a job begins with, and what the check before it brought.
type Begun = (JobCgroup, Option<super::block::Blocking>, Vec<Arc<str>>, Received);

fn started(job: &Job, cgroup: &JobCgroup, key: Option<String>) -> Content {
    let policy = &job.policy;
    let files = policy.origin.files.iter().map(|file| file.display().to_string());
    Content::JobStarted(JobStarted {
        command: job.command.clone(),
        policy: policy.name.clone(),
        policy_sha256: policy.origin.sha256.clone(),
        policy_files: files.chain(policy.origin.labels.iter().cloned()).collect(),
        mode: policy.mode,
        cgroup: cgroup.path().display().to_string(),
        key,
    })
}
