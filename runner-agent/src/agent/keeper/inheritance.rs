//! What a keeper finds of jobs whose agent is gone, and what it was handed besides.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{GUARDED, say};
use crate::agent::account::Bookkeeper;
use crate::agent::block::Force;
use crate::agent::flow::{Flow, LOG};
use crate::agent::handover::Handover;
use crate::agent::platform::Platform;
use crate::agent::run::about;
use crate::agent::sealing::{Seal, Sealing};
use crate::agent::state::Held;
use crate::agent::succession::{Testament, Word};
use crate::agent::watched::secret_files;
use crate::config::Combined;
use crate::job::{Job, Scope};
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::{Kernel, PinRoot};
use crate::notice::Account;
use crate::policy::Mode;
use crate::redact::Redactor;
use crate::rules::RuleTable;
use crate::sink::json_lines::JsonLines;
use crate::sink::wire::Encoder;
use crate::sink::{Deliveries, Outbox};

/// A job as the agent before left it.
pub(super) struct Taken {
    pub(super) job: Arc<Job>,
    pub(super) force: Option<Force>,
    pub(super) cgroup: PathBuf,
    pub(super) log: Option<PathBuf>,
    /// Number of its log's last line.
    pub(super) last_seq: u64,
    /// What signs the log, where its key was handed over.
    pub(super) seal: Option<Seal>,
    pub(super) recorded: Combined,
}

/// What a keeper goes on with.
pub(super) struct Means {
    pub(super) encoder: Encoder,
    pub(super) redactor: Redactor,
    pub(super) deliveries: Box<dyn FnOnce() -> Result<Deliveries, String>>,
}

pub(super) struct Inherited {
    pub(super) kernel: Kernel,
    pub(super) hierarchy: Hierarchy,
    pub(super) jobs: Vec<Taken>,
    pub(super) platform: Option<Platform>,
    pub(super) flow: Flow,
    pub(super) root: PinRoot,
    pub(super) asked: Option<PathBuf>,
    /// What the agent before handed over, if it was there to do so.
    pub(super) handover: Option<Handover>,
    pub(super) deliveries: Deliveries,
    /// Why there are no sinks where there should be some.
    pub(super) no_sinks: Option<String>,
}

pub(super) fn inherit(runtime: &Path, name: &str, held: &Held, means: Means) -> Result<Inherited, String> {
    let Means { encoder, redactor, deliveries } = means;
    let mut left = Testament::read(held)?;
    // One that has ended, where the agent before could not write that down.
    left.jobs.retain(|word| word.cgroup.exists());
    let root = PinRoot::existing(left.pins.as_deref(), runtime).ok_or("its pins are gone")?;
    let slots: Vec<(u32, bool)> =
        left.jobs.iter().map(|word| (word.slot, word.mode == Mode::Block.to_string())).collect();
    let mut kernel = Kernel::take_over(&root.job(name), &slots).map_err(|error| error.to_string())?;
    kernel.add_agent(std::process::id()).map_err(|error| error.to_string())?;
    // No key and no secret comes here before: where a hook can, it refuses the jobs a look at them from now on.
    say(GUARDED);
    let handover = Handover::receive().unwrap_or_else(|reason| {
        tracing::warn!("{name}: {reason}");
        None
    });
    let key = handover.as_ref().and_then(|handover| {
        // Without it the job is kept all the same.
        handover.key().inspect_err(|error| tracing::warn!("{name}: {error}")).ok()
    });
    let (deliveries, no_sinks) = match deliveries() {
        Ok(deliveries) => (deliveries, None),
        Err(reason) => (Deliveries::default(), Some(reason)),
    };
    let hierarchy = Hierarchy::find().map_err(|error| error.to_string())?;
    let scope = if left.holds_runner { Scope::Runner } else { Scope::Job };
    let mut platform = None;
    let mut flow = Flow::new(handover.as_ref().map_or_else(Bookkeeper::after_another, Handover::book), None);
    let programs: Vec<&'static str> = kernel.skipped_runs().into_keys().collect();
    let mut jobs = Vec::new();
    for word in left.jobs {
        let policy = word.policy()?;
        let secret_files = secret_files(&policy);
        let is_blocked = policy.mode == Mode::Block;
        let rule_ids = if is_blocked {
            RuleTable::new(word.slot, &policy).map_err(|error| error.to_string())?.ids().to_vec()
        } else {
            Vec::new()
        };
        let Word { slot, id, command, cgroup, log, policy: recorded, identity, trust, .. } = word;
        let about = about(encoder, &id, identity.clone(), trust.as_ref().map(|(tier, _)| *tier), &policy);
        let share = handover.as_ref().and_then(|handover| handover.jobs.get(&slot));
        let redactor = redactor.clone().and(share.map(|share| share.secrets.clone()).unwrap_or_default());
        let job = Arc::new(Job { slot, id, command, policy, redactor, scope, secret_files, rule_ids });
        if scope == Scope::Runner {
            let mut again = Platform::of(&job.policy.platform, &hierarchy);
            again.arrange(&mut kernel).map_err(|error| error.to_string())?;
            platform = Some(again);
        }
        let on = match scope {
            Scope::Job => std::fs::metadata(&cgroup).map_err(|error| format!("its cgroup is gone: {error}"))?.ino(),
            Scope::Runner => 0,
        };
        let force = if is_blocked {
            Some(Force::take_over(&mut kernel, &job, on).map_err(|error| error.to_string())?)
        } else {
            None
        };
        let (mut outboxes, mut last_seq, mut seal, mut altered) = (Vec::new(), 0, None, None);
        if let Some(path) = &log {
            // Without its log the job would be looked after and nobody could know.
            let (mut file, seq) = JsonLines::go_on(path, encoder)
                .map_err(|error| format!("can't go on with the log {}: {error}", path.display()))?;
            last_seq = seq;
            if let (Some(share), Some(key)) = (share, &key) {
                match file.recount(&share.log) {
                    Ok(()) => {
                        let sealing = Sealing { identity, trust, ..Sealing::beside(path, key.clone(), encoder) };
                        file = file.signed(sealing.ledger.clone());
                        seal = Some(Seal::new(sealing));
                    }
                    Err(error) => {
                        altered = Some(format!("the log that the agent before left can't be signed: {error}"));
                    }
                }
            }
            outboxes.push(Outbox::start(LOG, file, |_| true).map_err(|error| error.to_string())?);
        }
        outboxes.extend(deliveries.outboxes(&about).map_err(|error| error.to_string())?);
        flow.start_job(job.clone(), outboxes, Account::default());
        // A number that a receiver has seen isn't given again, whether its line came to stand in the log or not.
        flow.pipeline.go_on_after(slot, share.map_or(last_seq, |share| last_seq.max(share.last_seq)));
        if let Some(share) = share {
            let (beginning, so_far) = share.accounts(&programs);
            flow.resume_account(slot, beginning, &so_far);
            flow.pipeline.go_on_with(slot, share.found(), share.unreadable_dns);
        }
        if let Some(detail) = altered {
            flow.changed(&job, "tampered", detail);
        }
        jobs.push(Taken { job, force, cgroup, log, last_seq, seal, recorded });
    }
    Ok(Inherited { kernel, hierarchy, jobs, platform, flow, root, asked: left.pins, handover, deliveries, no_sinks })
}
