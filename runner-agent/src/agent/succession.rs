//! What becomes of a job whose agent is gone: its rules are still in force, by their pins. The next start clears what has
//! ended, and gives what still runs to a keeper: an agent of its own, which looks after the job until its last process ends.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child::OWN_PROGRAM;
use super::handover::Handover;
use super::state::{Held, orphans, records};
use crate::config::Combined;
use crate::identity::JobIdentity;
use crate::kernel::cgroup::{JobCgroup, is_populated};
use crate::kernel::{LoadError, PinRoot, Pins};
use crate::policy::Trust;

/// What a successor needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Testament {
    /// SHA-256 of the kernel side: another one has other maps.
    pub(super) kernel_side: String,
    /// Whether the whole runner is held to the policy of the job.
    pub(super) holds_runner: bool,
    /// The folder that holds the folders of pins, where it was not the default.
    pub(super) pins: Option<PathBuf>,
    /// The jobs.
    pub(super) jobs: Vec<Word>,
}

/// What a successor needs to know of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Word {
    /// Slot in the kernel's maps.
    pub(super) slot: u32,
    /// Id of the job, as it stands in the log.
    pub(super) id: Arc<str>,
    /// The command, secrets removed.
    pub(super) command: Vec<String>,
    /// The mode that it was armed in.
    pub(super) mode: String,
    /// The job's cgroup.
    pub(super) cgroup: PathBuf,
    /// The log, if there is one.
    pub(super) log: Option<PathBuf>,
    /// What the policy was made of.
    pub(super) policy: Combined,
    /// SHA-256 of the policy's sources.
    pub(super) policy_sha256: String,
    /// Which job it is, where a provider says so.
    pub(super) identity: Option<JobIdentity>,
    /// How far its code is trusted, and why.
    pub(super) trust: Option<(Trust, String)>,
}

impl Testament {
    pub(super) fn write(&self, held: &Held) -> std::io::Result<()> {
        held.write(&serde_json::to_vec(self).map_err(std::io::Error::other)?)
    }

    pub(super) fn read(held: &Held) -> Result<Self, String> {
        let bytes = held.read().map_err(|error| format!("its agent left no word of it: {error}"))?;
        let testament: Self =
            serde_json::from_slice(&bytes).map_err(|error| format!("its agent's word can't be read: {error}"))?;
        if testament.kernel_side != crate::kernel::load::object_hash() {
            return Err("its agent was another version, whose maps this one doesn't know".to_owned());
        }
        Ok(testament)
    }
}

impl Word {
    /// The policy, exactly as it was armed.
    pub(super) fn policy(&self) -> Result<crate::policy::Policy, String> {
        let mut policy = self.policy.load()?;
        if policy.origin.sha256 != self.policy_sha256 {
            return Err("its policy doesn't load as it did, because this version ships other policies".to_owned());
        }
        policy.mode = self.mode.parse().map_err(|error| format!("the mode that it was armed in: {error}"))?;
        Ok(policy)
    }
}

/// What outlives an agent that goes.
#[must_use = "the next start finds it, unless a keeper has it until then"]
pub(super) struct Left {
    /// Where agents keep what must outlive them.
    pub(super) runtime: PathBuf,
    /// Name of the folder there.
    pub(super) name: String,
    /// What only this agent knows.
    pub(super) handover: Option<Handover>,
    /// The configuration with the sinks.
    pub(super) sinks: Option<PathBuf>,
}

impl Left {
    /// Gives it to a keeper at once. That is this agent's own program, whose maps these are: the next daemon may be of a version that
    /// has others. Where no keeper can be started, the next start finds what is left.
    pub(super) fn to_keeper(&self) {
        let Self { runtime, name, handover, sinks } = self;
        match keep(runtime, name, sinks.as_deref(), handover.as_ref()) {
            Ok(()) => tracing::info!("{name}: a keeper looks after the jobs that run on"),
            Err(reason) => tracing::warn!(
                "{name}: no keeper looks after the jobs that run on, until the next daemon starts: {reason}"
            ),
        }
    }
}

/// What the testament of every version has: enough to see whether a job runs, and to clear it away when none does.
#[derive(Debug, Deserialize)]
struct Traces {
    pins: Option<PathBuf>,
    jobs: Vec<Trace>,
}

/// The same of a job.
#[derive(Debug, Deserialize)]
pub(super) struct Trace {
    pub(super) cgroup: PathBuf,
    #[serde(default)]
    pub(super) id: Arc<str>,
    #[serde(default)]
    pub(super) log: Option<PathBuf>,
}

impl Traces {
    /// Nothing, where the agent died before it wrote: then nothing of the job had started.
    fn read(held: &Held) -> Result<Option<Self>, String> {
        let bytes = match held.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string())
    }
}

/// Looks for jobs whose agent is gone. What has ended is cleared away; what still runs is given to a keeper. Problems are
/// told and don't keep the new job from starting: the old one's rules stay in force. What their keepers tell goes to the `sinks` of that
/// configuration.
pub(super) fn settle_orphans(runtime: &Path, pins: Option<&Path>, sinks: Option<&Path>) {
    let found = match orphans(runtime) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!("can't look for jobs of agents that are gone in {}: {error}", runtime.display());
            return;
        }
    };
    for held in found {
        let name = held.name().to_owned();
        // Whether it can be kept is another question: rules of a job that runs are never taken away.
        let left = match Traces::read(&held) {
            Ok(left) => left,
            Err(reason) => {
                tracing::error!(
                    "{name}: its agent is gone and what it left can't be read: {reason}; its rules stay in force"
                );
                held.keep();
                continue;
            }
        };
        if left.as_ref().is_some_and(|left| left.jobs.iter().any(|job| is_populated(&job.cgroup))) {
            // The keeper takes the lock; whoever is faster gets the job, and only one can be.
            held.keep();
            match keep(runtime, &name, sinks, None) {
                Ok(()) => tracing::warn!("{name}: its agent is gone; a keeper looks after what still runs"),
                Err(reason) => tracing::error!(
                    "{name}: its agent is gone and what still runs can't be looked after: {reason}; its rules stay in \
                     force as they are, and no new name is let in"
                ),
            }
            continue;
        }
        let pins = left.as_ref().map_or(pins, |left| left.pins.as_deref());
        match clear(left.as_ref(), &name, runtime, pins) {
            Ok(()) => {
                tracing::warn!("{name}: its agent is gone and so are its processes; cleared what was left");
                drop(held);
            }
            Err(error) => {
                tracing::warn!("{name}: can't clear what an agent that is gone left: {error}");
                held.keep();
            }
        }
    }
}

/// Takes away what is left of a job that has ended.
fn clear(left: Option<&Traces>, name: &str, runtime: &Path, pins: Option<&Path>) -> Result<(), LoadError> {
    let pins: Option<Pins> = PinRoot::existing(pins, runtime).and_then(|root| root.take_over(name));
    for job in left.iter().flat_map(|left| &left.jobs) {
        if let Ok(cgroup) = JobCgroup::adopt(&job.cgroup) {
            cgroup.remove()?;
        }
    }
    drop(pins);
    Ok(())
}

/// The jobs of other agents than `own`, and where the keeper of each is asked. Read without the lock, which its keeper holds; the file
/// is whole at any moment.
pub(super) fn jobs_of_others(runtime: &Path, own: Option<&str>) -> impl Iterator<Item = (Trace, PathBuf)> {
    let left = |record| serde_json::from_slice::<Traces>(&std::fs::read(record).ok()?).ok();
    records(runtime, own)
        .filter_map(move |(record, desk)| Some((left(record)?, desk)))
        .flat_map(|(left, desk)| left.jobs.into_iter().map(move |trace| (trace, desk.clone())))
}

/// How long a keeper may take for each of its words: whoever waits for them has a watchdog that waits for him.
const HEAR_WITHIN: Duration = Duration::from_secs(20);

/// Starts a keeper, hands it what there is to hand over, and waits until it has the job, or says why not.
fn keep(runtime: &Path, name: &str, sinks: Option<&Path>, handover: Option<&Handover>) -> Result<(), String> {
    let handed = handover.map(Handover::bytes).transpose()?.unwrap_or_default();
    let no_socket = |error: std::io::Error| format!("no socket to a keeper: {error}");
    let (mut own, theirs) = UnixStream::pair().map_err(no_socket)?;
    own.set_read_timeout(Some(HEAR_WITHIN))
        .and_then(|()| own.set_write_timeout(Some(HEAR_WITHIN)))
        .map_err(no_socket)?;
    Command::new(OWN_PROGRAM)
        .arg("keep")
        .arg("--state")
        .arg(runtime)
        .args(sinks.iter().flat_map(|file| [OsStr::new("--config"), file.as_os_str()]))
        .arg(name)
        // Whoever set these for the job's next step did not mean the one that goes on with the last.
        .env_remove("LD_PRELOAD")
        .env_remove("LD_AUDIT")
        .env_remove("LD_LIBRARY_PATH")
        .stdin(OwnedFd::from(theirs.try_clone().map_err(no_socket)?))
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("no keeper can be started: {error}"))?;
    let mut output = BufReader::new(own.try_clone().map_err(no_socket)?);
    let mut hear = || {
        let mut said = String::new();
        let heard = output.read_line(&mut said);
        heard.map(|_| said.trim().to_owned()).map_err(|error| format!("the keeper can't be heard: {error}"))
    };
    let mut said = hear()?;
    if said == super::keeper::GUARDED {
        // One that is gone before it has read that says nothing either, which is told below.
        let _ = own.write_all(&handed);
        let _ = own.shutdown(Shutdown::Write);
        said = hear()?;
    }
    match said.as_str() {
        super::keeper::HAS_IT => Ok(()),
        "" => Err("the keeper ended without a word".to_owned()),
        reason => Err(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_behind(runtime: &Path, name: &str, word: Option<&str>) {
        let held = Held::create(runtime, name).unwrap();
        if let Some(word) = word {
            held.write(word.as_bytes()).unwrap();
        }
        held.keep();
    }

    #[test]
    fn a_word_that_cannot_be_read_is_left_alone_and_an_agent_that_wrote_none_had_started_nothing() {
        let runtime = tempfile::tempdir().unwrap();
        left_behind(runtime.path(), "unreadable", Some("{"));
        left_behind(runtime.path(), "unwritten", None);
        settle_orphans(runtime.path(), Some(&runtime.path().join("pins")), None);
        let names: Vec<_> = orphans(runtime.path()).unwrap().iter().map(|held| held.name().to_owned()).collect();
        assert_eq!(names, ["unreadable"]);
    }

    #[test]
    fn a_process_is_known_to_be_of_another_agents_job_by_its_cgroup() {
        let runtime = tempfile::tempdir().unwrap();
        let word = serde_json::json!({
            "kernel_side": "", "holds_runner": false, "pins": null,
            "jobs": [{
                "slot": 1, "id": "theirs-1", "command": [], "mode": "block", "cgroup": "/c/theirs", "log": "/l",
                "policy": Combined::default(), "policy_sha256": "", "identity": null, "trust": null,
            }],
        });
        left_behind(runtime.path(), "theirs", Some(&word.to_string()));
        let id = |own, cgroup: &'static str| {
            let mut others = jobs_of_others(runtime.path(), own);
            others.find(|(trace, _)| Path::new(cgroup).starts_with(&trace.cgroup)).map(|(trace, _)| trace.id)
        };
        assert_eq!(id(None, "/c/theirs/below").as_deref(), Some("theirs-1"));
        assert_eq!(id(None, "/c/theirs-2"), None);
        assert_eq!(id(Some("theirs"), "/c/theirs"), None, "it is no other's");
        let desks: Vec<_> = jobs_of_others(runtime.path(), None).map(|(_, desk)| desk).collect();
        assert_eq!(desks, [runtime.path().join("jobs/theirs/keeper.sock")]);
        assert!(jobs_of_others(&runtime.path().join("nothing"), None).next().is_none());
    }

    #[test]
    fn a_job_of_another_version_is_seen_to_run_though_it_cannot_be_kept() {
        let runtime = tempfile::tempdir().unwrap();
        let cgroup = runtime.path().join("cgroup");
        std::fs::create_dir(&cgroup).unwrap();
        std::fs::write(cgroup.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let word =
            serde_json::json!({ "pins": null, "jobs": [{ "cgroup": cgroup }], "of another version": true }).to_string();
        left_behind(runtime.path(), "theirs", Some(&word));
        let held = Held::take(runtime.path(), "theirs").unwrap();
        assert!(Testament::read(&held).is_err());
        assert!(is_populated(&Traces::read(&held).unwrap().unwrap().jobs[0].cgroup));
    }
}
