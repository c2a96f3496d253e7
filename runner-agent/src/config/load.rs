//! From files to one effective policy: includes followed, ecosystems resolved, everything combined.

mod expand;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::check::{AllowLine, Draft, Include, check, did_you_mean, pairs};
use super::ecosystem::{Ecosystem, Resolved, Surroundings};
use super::problem::Problem;
use super::raw::At;
use super::shipped::{DEFAULT, SHIPPED, find};
use crate::policy::secret::{Place, SecretClass, SecretPolicy};
use crate::policy::{EgressPolicy, Origin, Policy, Written};

pub use expand::PROXY_RULE;

use expand::expanded;

/// Reads policy files, and what they include, into one policy for this machine. No file means the shipped `default`.
///
/// Returns the policy and its warnings, or everything that is wrong. A policy with an error is never applied in part.
pub fn load(files: &[PathBuf], surroundings: &dyn Surroundings) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        match surroundings.read(file) {
            Ok(bytes) => sources.push(Source { name: file.clone(), shipped: false, bytes }),
            Err(error) => problems.push(Problem::error(file, error.at, "", error.message)),
        }
    }
    if files.is_empty() {
        sources.extend(Source::shipped(DEFAULT));
    }
    assemble(sources, problems, surroundings)
}

/// The shipped policy that every policy ends with.
const CATALOGUE: &str = "secrets";

/// As [`load`], for one of the policies in the binary.
pub fn load_shipped(name: &str, surroundings: &dyn Surroundings) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    match Source::shipped(name) {
        Some(source) => assemble(vec![source], Vec::new(), surroundings),
        None => Err(vec![Problem::error(format!("presets/{name}"), At::START, "", unknown_preset(name))]),
    }
}

/// A policy before it is read.
struct Source {
    /// The path as given, or `presets/NAME`.
    name: PathBuf,
    shipped: bool,
    bytes: Vec<u8>,
}

impl Source {
    fn shipped(name: &str) -> Option<Self> {
        let shipped = find(name)?;
        Some(Self { name: format!("presets/{name}").into(), shipped: true, bytes: shipped.policy.into() })
    }
}

fn unknown_preset(name: &str) -> String {
    let names: Vec<&str> = SHIPPED.iter().map(|shipped| shipped.name).collect();
    match did_you_mean(name, &names) {
        Some(near) => format!("there is no preset {name:?}; did you mean \"presets/{near}\"?"),
        None => format!("there is no preset {name:?}; there are {}", names.join(", ")),
    }
}

fn assemble(
    sources: Vec<Source>,
    problems: Vec<Problem>,
    surroundings: &dyn Surroundings,
) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let mut loader = Loader {
        surroundings,
        place: Arc::new(surroundings.place()),
        problems,
        resolved: BTreeMap::new(),
        done: BTreeSet::new(),
        names: BTreeMap::new(),
        hash: Sha256::new(),
    };
    let mut whole: Option<Policy> = None;
    for source in sources {
        let part = loader.tree(&source, &mut Vec::new());
        whole = Some(match whole {
            // Read before, or wrong: nothing to add, and nothing that may silence or quieten the rest.
            Some(whole) if part.name.is_empty() => whole,
            Some(whole) => whole.merge(part),
            None => part,
        });
    }
    let mut policy = whole.unwrap_or_default();
    // Secret files are secret under every policy. What the policy itself says of a file comes first.
    if let Some(source) = Source::shipped(CATALOGUE)
        && !loader.done.contains(&source.name)
    {
        let catalogue = loader.tree(&source, &mut Vec::new());
        policy.secrets = policy.secrets.merge(catalogue.secrets);
        policy.origin.labels.extend(catalogue.origin.labels);
    }
    loader.proxies(&mut policy);
    loader.closed(&policy);
    policy.egress.resolvers = surroundings.resolvers();
    policy.origin.sha256 = crate::text::hex(&loader.hash.finalize());
    if loader.problems.iter().any(Problem::is_error) { Err(loader.problems) } else { Ok((policy, loader.problems)) }
}

struct Loader<'a> {
    surroundings: &'a dyn Surroundings,
    place: Arc<Place>,
    problems: Vec<Problem>,
    /// Programs are asked once, however many rules want to know.
    resolved: BTreeMap<Ecosystem, Resolved>,
    /// What was read already; a second include of it adds nothing.
    done: BTreeSet<PathBuf>,
    /// Which source has which policy name: rule ids start with it.
    names: BTreeMap<String, PathBuf>,
    hash: Sha256,
}

impl Loader<'_> {
    /// One source and all it includes. `above` are the sources that led here.
    fn tree(&mut self, source: &Source, above: &mut Vec<PathBuf>) -> Policy {
        if !self.done.insert(source.name.clone()) {
            return Policy::default();
        }
        for part in [source.name.to_string_lossy().as_bytes(), &source.bytes] {
            self.hash.update((part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
        let (draft, problems) = check(&source.name, &source.bytes);
        self.problems.extend(problems);
        let Some(mut draft) = draft else {
            return Policy::default();
        };
        if let Some(other) = self.names.insert(draft.name.clone(), source.name.clone()) {
            let message = format!(
                "{:?} is also the name in {}; rule ids start with it, so give each its own",
                draft.name,
                other.display()
            );
            self.problems.push(Problem::error(&source.name, At::START, "name", message));
        }
        let includes = std::mem::take(&mut draft.include);
        let mut policy = self.policy(draft, source);
        above.push(source.name.clone());
        for include in includes {
            let Some(found) = self.included(&include, source, above) else {
                continue;
            };
            let part = self.tree(&found, above);
            // An include adds rules; the including file alone grades and silences detectors, and says which jobs it is for.
            let (name, detect, applies_to) = (policy.name.clone(), policy.detect.clone(), policy.applies_to.clone());
            policy = Policy { name, applies_to, detect, ..policy.merge(part) };
        }
        above.pop();
        policy
    }

    /// Allow rules of one file that a deny rule of another leaves nothing of; within a file, `check` says so. Shipped
    /// policies are meant to be narrowed, so nothing is said of their rules.
    fn closed(&mut self, policy: &Policy) {
        for rule in policy.egress.allow.iter().filter(|rule| rule.source.is_none()) {
            let Some(at) = policy.origin.written.get(&rule.id).filter(|at| policy.origin.files.contains(&at.file))
            else {
                continue;
            };
            if let Some(deny) = pairs::closed_by(rule, &policy.egress.deny) {
                let by = match policy.origin.written.get(&deny.id) {
                    Some(place) => format!("{} in {place}", deny.id),
                    None => deny.id.to_string(),
                };
                let place = At { line: at.line, column: at.column };
                self.problems.push(Problem::warning(&at.file, place, pairs::key(&rule.id), pairs::closed(&by)));
            }
        }
    }

    fn included(&mut self, include: &Include, from: &Source, above: &[PathBuf]) -> Option<Source> {
        let mut wrong = |message: String| {
            self.problems.push(Problem::error(&from.name, include.at, &include.path, message));
        };
        let found = if let Some(name) = include.name.strip_prefix("presets/") {
            let found = Source::shipped(name);
            if found.is_none() {
                wrong(unknown_preset(name));
            }
            found?
        } else {
            let Some(directory) = self.surroundings.policy_dir() else {
                wrong(format!(
                    "{:?} would be a file in the policy directory, and none is given; give one, or include a shipped \
                     policy as \"presets/NAME\"",
                    include.name
                ));
                return None;
            };
            let name = directory.join(format!("{}.yml", include.name));
            match self.surroundings.read(&name) {
                Ok(bytes) => Source { name, shipped: false, bytes },
                Err(error) => {
                    wrong(format!("{} {}", name.display(), error.message));
                    return None;
                }
            }
        };
        if let Some(start) = above.iter().position(|name| *name == found.name) {
            let mut way: Vec<String> = above[start..].iter().map(|name| name.display().to_string()).collect();
            way.push(found.name.display().to_string());
            wrong(format!("leads back to itself ({}); take one of these includes out", way.join(" -> ")));
            return None;
        }
        Some(found)
    }

    fn policy(&mut self, draft: Draft, source: &Source) -> Policy {
        let mut egress = EgressPolicy { deny: draft.deny, refuse_with: draft.refuse_with, ..EgressPolicy::default() };
        for line in draft.allow {
            match line {
                AllowLine::Rule(rule) => egress.allow.push(rule),
                AllowLine::Ecosystem { ecosystem, template, ports, at, path } => {
                    let surroundings = self.surroundings;
                    let resolved =
                        self.resolved.entry(ecosystem).or_insert_with(|| surroundings.hosts(ecosystem)).clone();
                    let mut warn = |message: String| {
                        self.problems.push(Problem::warning(&source.name, at, &path, message));
                    };
                    let before = egress.allow.len();
                    resolved.warnings.into_iter().for_each(&mut warn);
                    for host in &resolved.hosts {
                        match expanded(host, &template, ports.as_ref()) {
                            Ok(rule) => egress.allow.push(rule),
                            Err(message) => warn(message),
                        }
                    }
                    if egress.allow.len() == before {
                        warn(format!("{ecosystem} names no host on this runner, so the rule allows nothing"));
                    }
                }
            }
        }
        let mut classes = Vec::new();
        for spec in draft.secrets {
            let id = spec.id.clone();
            match SecretClass::new(spec, &self.place) {
                Ok(class) => classes.push(class),
                // Checked before without a runner; what is left depends on it: too many home directories.
                Err(errors) => self.problems.extend(
                    errors
                        .into_iter()
                        .map(|(_, error)| Problem::error(&source.name, At::START, &*id, error.to_string())),
                ),
            }
        }
        let written = |At { line, column }| Written { file: source.name.clone(), line, column };
        let written = draft.written.into_iter().map(|(id, at)| (id, written(at))).collect();
        let mut origin = Origin { written, ..Origin::default() };
        if source.shipped {
            origin.labels.push(source.name.display().to_string());
        } else {
            origin.files.push(source.name.clone());
        }
        Policy {
            name: draft.name,
            mode: draft.mode,
            applies_to: draft.applies_to,
            egress,
            secrets: SecretPolicy::new(classes, draft.on_read),
            carry: draft.carry,
            guard: draft.guard,
            platform: draft.platform,
            detect: draft.detect,
            origin,
        }
    }
}

/// Where the cases of a policy file lie: `npm.cases.yml` beside `npm.yml`.
pub fn cases_path(policy: &Path) -> PathBuf {
    policy.with_extension("cases.yml")
}
