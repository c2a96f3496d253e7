//! The keeper of a job whose agent is gone: takes its pins over without a gap, answers its DNS again, goes on with its log,
//! and looks after it until its last process has ended.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::account::Bookkeeper;
use super::block::Force;
use super::flow::{Flow, LOG, now_ns};
use super::run::{Armed, SLOT};
use super::signals;
use super::state::Held;
use super::succession::Testament;
use super::watched::secret_files;
use crate::job::Job;
use crate::kernel::cgroup::JobCgroup;
use crate::kernel::procfs::{self, Snapshot};
use crate::kernel::{Kernel, PinRoot};
use crate::notice::{AgentState, Content};
use crate::pipeline::Pipeline;
use crate::redact::Redactor;
use crate::rules::RuleTable;
use crate::sink::Outbox;
use crate::sink::json_lines::JsonLines;
use crate::sink::wire::Encoder;

/// What the keeper says when it has the job.
pub(super) const HAS_IT: &str = "kept";

/// How often the keeper looks whether anything of the job is left.
const LOOK: Duration = Duration::from_millis(200);

/// What a keeper is told.
pub struct KeepOptions {
    /// Where agents keep what must outlive them.
    pub runtime: PathBuf,
    /// Name of the job there.
    pub name: String,
    /// For the log.
    pub encoder: Encoder,
    /// Takes out secrets.
    pub redactor: Redactor,
}

/// Keeps a job to its end. Says on standard output whether it has it; an error is that it hasn't.
pub fn keep(options: KeepOptions) -> Result<(), String> {
    // Not a member of the session that started it, which may be about to end.
    let _ = rustix::process::setsid();
    let kept = take(options);
    let word = kept.as_ref().map_or_else(|reason| reason.replace('\n', " "), |_| HAS_IT.to_owned());
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{word}");
    let _ = out.flush();
    let armed = kept?;
    let signals = signals::receive().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("can't start the event loop: {error}"))?;
    runtime.block_on(armed.keep(signals, LOOK)).map_err(|error| error.to_string())
}

/// Takes the job over. Until all of it has succeeded nothing is held that would take rules or processes away when dropped.
fn take(options: KeepOptions) -> Result<Armed, String> {
    let KeepOptions { runtime, name, encoder, redactor } = options;
    let held = Held::take(&runtime, &name).map_err(|error| format!("somebody else has it: {error}"))?;
    let inherited = match inherit(&runtime, &name, &held, encoder, redactor) {
        Ok(inherited) => inherited,
        Err(reason) => {
            // Its folder is for another try.
            held.keep();
            return Err(reason);
        }
    };
    let Inherited { kernel, force, job, flow, cgroup, root } = inherited;
    let (Ok(cgroup), Some(pins)) = (JobCgroup::adopt(&cgroup), root.take_over(&name)) else {
        held.keep();
        return Err("its cgroup or its pins have just gone".to_owned());
    };
    let blocking = Some(force.held(&cgroup, pins, held));
    let mut armed = Armed { kernel, cgroup, job, command: Vec::new(), flow, blocking, disarmed: None };
    armed.catch_up();
    Ok(armed)
}

struct Inherited {
    kernel: Kernel,
    force: Force,
    job: Arc<Job>,
    flow: Flow,
    cgroup: PathBuf,
    root: PinRoot,
}

fn inherit(runtime: &Path, name: &str, held: &Held, encoder: Encoder, redactor: Redactor) -> Result<Inherited, String> {
    let left = Testament::read(held)?;
    let policy = left.policy()?;
    let root = PinRoot::existing(left.pins.as_deref(), runtime).ok_or("its pins are gone")?;
    let mut kernel = Kernel::take_over(&root.job(name)).map_err(|error| error.to_string())?;
    let secret_files = secret_files(&policy);
    let table = RuleTable::new(SLOT, &policy).map_err(|error| error.to_string())?;
    let rule_ids = table.ids().to_vec();
    let job = Arc::new(Job { slot: SLOT, id: left.id, command: left.command, policy, secret_files, rule_ids });
    let force = Force::take_over(&mut kernel, &job).map_err(|error| error.to_string())?;
    let mut pipeline = Pipeline::new(redactor);
    let mut outboxes = Vec::new();
    if let Some(path) = &left.log {
        // Without its log the job would be looked after and nobody could know.
        let (log, last_seq) = JsonLines::go_on(path, encoder)
            .map_err(|error| format!("can't go on with the log {}: {error}", path.display()))?;
        pipeline.go_on_after(last_seq);
        outboxes.push(Outbox::start(LOG, log, |_| true).map_err(|error| error.to_string())?);
    }
    pipeline.start_job(job.clone(), &procfs::hosts("/etc/hosts".as_ref()));
    let flow = Flow::new(pipeline, Bookkeeper::default(), outboxes, None);
    Ok(Inherited { kernel, force, job, flow, cgroup: left.cgroup, root })
}

impl Armed {
    /// Takes in what has waited on the rings, and what runs; then counts from here.
    fn catch_up(&mut self) {
        let members = self.kernel.members(SLOT).unwrap_or_default();
        for key in &members {
            if let Some(snapshot) = Snapshot::read(key.tgid).filter(|snapshot| snapshot.is(*key)) {
                self.flow.pipeline.snapshot(*key, None, snapshot.program);
            }
        }
        let detail =
            format!("the agent before is gone; {} processes of the job run on, under the same rules", members.len());
        let state = "taken-over";
        self.flow.announce(Some(&self.job), Content::Agent(AgentState::Changed { state, detail }));
        self.flow.inherit_account(&mut self.kernel, now_ns());
    }
}
