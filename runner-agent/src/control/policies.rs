//! The machine's policies: which there are, and which of them is a job's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::protocol::GivenPolicy;
use crate::config::ecosystem::{Ecosystem, Resolved};
use crate::config::raw::SyntaxError;
use crate::config::{
    self, Answers, Combined, DaemonConfig, Problem, Recorded, Runtime, Surroundings, combine, load_recording,
};
use crate::identity::{JobIdentity, TrustRules, trust};
use crate::policy::secret::Place;
use crate::policy::{Mode, Policy, Service, Trust, select};

/// The policies of the configuration's folder, and its floor.
#[derive(Clone, Debug)]
pub struct Policies {
    floor: Option<PathBuf>,
    /// The services that the floor exempts, as it is without a job.
    platform: Vec<Service>,
    /// Each as it is without a job, for its conditions.
    known: Vec<Policy>,
    /// Their files, in the same order.
    files: Vec<PathBuf>,
    trust: TrustRules,
    /// As each was loaded last: jobs of one runner have the same surroundings, and compiling its patterns takes most of a
    /// job's beginning.
    latest: Arc<Mutex<BTreeMap<PathBuf, (Policy, Recorded)>>>,
}

/// A job's policy.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) policy: Policy,
    pub(super) recorded: Combined,
    pub(super) trust: Trust,
    pub(super) because: String,
    /// Why this policy, and what it kept of the machine's although the job's said otherwise.
    pub(super) notes: Vec<String>,
}

impl Policies {
    /// Reads all of them. Everything that is wrong with any is said at once.
    pub fn read(config: &DaemonConfig) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut found: Vec<PathBuf> = match std::fs::read_dir(&config.policies) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| is_policy(path)).collect(),
            Err(error) => {
                problems.push(format!("the folder of policies {} can't be read: {error}", config.policies.display()));
                Vec::new()
            }
        };
        found.sort();
        let is_floor = |file: &PathBuf| config.floor.as_ref().is_some_and(|floor| same_file(file, floor));
        found.retain(|file| !is_floor(file));
        let (mut known, mut files, mut under) = (Vec::new(), Vec::new(), None);
        let (machine, answers) = (Runtime::from_env(), Answers::default());
        for file in found.iter().chain(&config.floor) {
            let one = std::slice::from_ref(file);
            match config::load(one, &answers.of(&machine.including(None, one))) {
                Ok((policy, _)) if is_floor(file) => under = Some(policy),
                Ok((policy, _)) => {
                    known.push(policy);
                    files.push(file.clone());
                }
                Err(wrong) => problems.extend(wrong.iter().map(Problem::to_string)),
            }
        }
        if known.is_empty() && problems.is_empty() {
            problems.push(format!(
                "there is no policy in {}; put one there, for instance all.yml with `version: 1`, `name: all`, `mode: audit`, \
                 `include: [presets/default]`",
                config.policies.display()
            ));
        }
        // What would widen the floor is wrong now, and not when its first job begins.
        for policy in known.iter().filter(|_| under.is_some()) {
            problems.extend(combine(under.clone(), Policy::clone(policy), None).err().into_iter().flatten());
        }
        let floor = config.floor.clone();
        if problems.is_empty() {
            let platform = under.map(|floor| floor.platform).unwrap_or_default();
            Ok(Self { floor, platform, known, files, trust: config.trust.clone(), latest: Arc::default() })
        } else {
            Err(problems)
        }
    }

    /// The policies as they are without a job.
    pub fn all(&self) -> &[Policy] {
        &self.known
    }

    /// The services that no job's policy holds for, where the whole runner is in scope.
    pub fn platform(&self) -> &[Service] {
        &self.platform
    }

    /// Chooses, and loads what was chosen for the job's own environment. The error is for whoever asked.
    pub(super) fn choose(
        &self,
        job: &JobIdentity,
        runtime: &Runtime,
        given: &[GivenPolicy],
        mode: Option<Mode>,
    ) -> Result<Chosen, String> {
        let (trust, because) = trust(job, &self.trust);
        let selection = select(&self.known, &job.subject(trust, &self.trust)).map_err(|error| error.to_string())?;
        let index = self.known.iter().position(|policy| std::ptr::eq(policy, selection.policy));
        let file = index.and_then(|index| self.files.get(index)).ok_or("the chosen policy has no file")?;
        let answers = Answers::default();
        let load = |file: &PathBuf| self.load(file, runtime, &answers);
        let (floor, floor_recorded) = self.floor.as_ref().map(load).transpose()?.unzip();
        let (policy, recorded) = load(file)?;
        let (given, given_recorded) = load_given(given, &answers.of(runtime))?.unzip();
        let mut notes = vec![selection.because.clone()];
        let (mut policy, kept) = combine(floor, policy, given).map_err(|widenings| widenings.join("\n"))?;
        notes.extend(kept);
        match mode {
            Some(Mode::Block) => policy.mode = Mode::Block,
            Some(Mode::Audit) if policy.mode == Mode::Block => {
                return Err(format!(
                    "--mode audit would widen {}, which blocks; a job can only narrow the machine's policy",
                    policy.name
                ));
            }
            _ => {}
        }
        let recorded = Combined { floor: floor_recorded, policy: recorded, given: given_recorded };
        Ok(Chosen { policy, recorded, trust, because, notes })
    }

    fn load(&self, file: &Path, runtime: &Runtime, answers: &Answers) -> Result<(Policy, Recorded), String> {
        let files = [file.to_owned()];
        let machine = runtime.including(None, &files);
        let surroundings = answers.of(&machine);
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned();
        if let Some((policy, recorded)) = latest
            && recorded.still_holds(&surroundings)
        {
            return Ok((policy, recorded));
        }
        let (policy, _, recorded) = load_recording(&files, &surroundings).map_err(|problems| told(&problems))?;
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.insert(file.to_owned(), (policy.clone(), recorded.clone()));
        Ok((policy, recorded))
    }
}

fn is_policy(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.extension().is_some_and(|extension| extension == "yml")
        && !name.ends_with(".cases.yml")
        && !name.starts_with('.')
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok().zip(other.canonicalize().ok()).is_some_and(|(one, other)| one == other)
}

fn load_given(given: &[GivenPolicy], machine: &dyn Surroundings) -> Result<Option<(Policy, Recorded)>, String> {
    if given.is_empty() {
        return Ok(None);
    }
    let files: Vec<PathBuf> = given.iter().map(|policy| policy.name.clone()).collect();
    let texts = given.iter().map(|policy| (policy.name.clone(), policy.text.clone().into_bytes())).collect();
    let loaded = load_recording(&files, &Handed { machine, texts });
    loaded.map(|(policy, _, recorded)| Some((policy, recorded))).map_err(|problems| told(&problems))
}

fn told(problems: &[Problem]) -> String {
    problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The machine, with files that were handed over as text. No other is opened for whoever handed them over.
struct Handed<'a> {
    machine: &'a dyn Surroundings,
    texts: BTreeMap<PathBuf, Vec<u8>>,
}

impl Surroundings for Handed<'_> {
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved {
        self.machine.hosts(ecosystem)
    }

    fn proxies(&self) -> Resolved {
        self.machine.proxies()
    }

    fn resolvers(&self) -> Vec<IpAddr> {
        self.machine.resolvers()
    }

    fn place(&self) -> Place {
        self.machine.place()
    }

    fn policy_dir(&self) -> Option<&Path> {
        None
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, SyntaxError> {
        self.texts.get(path).cloned().ok_or_else(|| {
            SyntaxError::whole("was not handed over; a policy given to `job start` may include presets alone")
        })
    }
}
