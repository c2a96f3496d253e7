//! A policy's sources and the machine's answers, kept so that a successor of the agent loads exactly the same policy: the
//! files may have changed since, and the machine may answer otherwise.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ecosystem::{ConfiguredHost, Ecosystem, Resolved, Surroundings};
use super::load::load;
use super::problem::Problem;
use super::raw::SyntaxError;
use crate::policy::Policy;
use crate::policy::secret::Place;

/// What a policy was made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recorded {
    given: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    hosts: BTreeMap<String, Answer>,
    proxies: Answer,
    resolvers: Vec<IpAddr>,
    homes: Vec<String>,
    workspaces: Vec<String>,
    policy_dir: Option<PathBuf>,
}

/// What a configuration named: host, port, source; and warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    hosts: Vec<(String, u16, String)>,
    warnings: Vec<String>,
}

impl From<Resolved> for Answer {
    fn from(resolved: Resolved) -> Self {
        let hosts = resolved.hosts.into_iter().map(|host| (host.host, host.port, host.source)).collect();
        Self { hosts, warnings: resolved.warnings }
    }
}

impl From<Answer> for Resolved {
    fn from(answer: Answer) -> Self {
        let hosts = answer.hosts.into_iter().map(|(host, port, source)| ConfiguredHost { host, port, source });
        Self { hosts: hosts.collect(), warnings: answer.warnings }
    }
}

/// A policy with its warnings, and what it was made of.
type Loaded = (Policy, Vec<Problem>, Recorded);

/// As [`load`], and keeps what it was made of.
pub fn load_recording(files: &[PathBuf], surroundings: &dyn Surroundings) -> Result<Loaded, Vec<Problem>> {
    let recording = Recording { inner: surroundings, seen: RefCell::default() };
    let (policy, warnings) = load(files, &recording)?;
    let place = surroundings.place();
    let recorded = Recorded {
        given: files.to_vec(),
        proxies: surroundings.proxies().into(),
        resolvers: surroundings.resolvers(),
        homes: place.homes,
        workspaces: place.workspaces,
        policy_dir: surroundings.policy_dir().map(Path::to_owned),
        ..recording.seen.into_inner()
    };
    Ok((policy, warnings, recorded))
}

impl Recorded {
    /// Whether everything is as it was: then loading would bring the same policy.
    pub fn still_holds(&self, surroundings: &dyn Surroundings) -> bool {
        let place = surroundings.place();
        let is_read_so = |(path, bytes): (&PathBuf, &Vec<u8>)| surroundings.read(path).is_ok_and(|now| now == *bytes);
        let is_answered_so = |(name, answer): (&String, &Answer)| {
            let ecosystem = name.parse::<Ecosystem>();
            ecosystem.is_ok_and(|ecosystem| Answer::from(surroundings.hosts(ecosystem)) == *answer)
        };
        self.homes == place.homes
            && self.workspaces == place.workspaces
            && self.policy_dir.as_deref() == surroundings.policy_dir()
            && self.resolvers == surroundings.resolvers()
            && self.proxies == surroundings.proxies().into()
            && self.files.iter().all(is_read_so)
            && self.hosts.iter().all(is_answered_so)
    }

    /// Loads the same policy again.
    pub fn load(&self) -> Result<Policy, Vec<Problem>> {
        load(&self.given, self).map(|(policy, _)| policy)
    }
}

/// Writes down what passes.
struct Recording<'a> {
    inner: &'a dyn Surroundings,
    seen: RefCell<Recorded>,
}

impl Surroundings for Recording<'_> {
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved {
        let resolved = self.inner.hosts(ecosystem);
        self.seen.borrow_mut().hosts.insert(ecosystem.as_str().to_owned(), resolved.clone().into());
        resolved
    }

    fn proxies(&self) -> Resolved {
        self.inner.proxies()
    }

    fn resolvers(&self) -> Vec<IpAddr> {
        self.inner.resolvers()
    }

    fn place(&self) -> Place {
        self.inner.place()
    }

    fn policy_dir(&self) -> Option<&Path> {
        self.inner.policy_dir()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, SyntaxError> {
        let bytes = self.inner.read(path)?;
        self.seen.borrow_mut().files.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

impl Surroundings for Recorded {
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved {
        self.hosts.get(ecosystem.as_str()).cloned().unwrap_or_default().into()
    }

    fn proxies(&self) -> Resolved {
        self.proxies.clone().into()
    }

    fn resolvers(&self) -> Vec<IpAddr> {
        self.resolvers.clone()
    }

    fn place(&self) -> Place {
        Place { homes: self.homes.clone(), workspaces: self.workspaces.clone() }
    }

    fn policy_dir(&self) -> Option<&Path> {
        self.policy_dir.as_deref()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, SyntaxError> {
        self.files.get(path).cloned().ok_or_else(|| SyntaxError::whole("was not among the policy's files"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Runtime;
    use super::*;

    #[test]
    fn a_recorded_policy_holds_until_something_that_it_was_made_of_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p.yml");
        std::fs::write(&file, "version: 1\nname: p\n").unwrap();
        let runtime = Runtime { home: "/home/runner".into(), ..Runtime::from_env() };
        let (_, _, recorded) = load_recording(std::slice::from_ref(&file), &runtime).unwrap();
        assert!(recorded.still_holds(&runtime));
        assert!(!recorded.still_holds(&Runtime { workspaces: vec!["/other".into()], ..runtime.clone() }));
        std::fs::write(&file, "version: 1\nname: p\nmode: block\n").unwrap();
        assert!(!recorded.still_holds(&runtime));
        std::fs::remove_file(&file).unwrap();
        assert!(!recorded.still_holds(&runtime));
    }

    #[test]
    fn a_recorded_policy_is_loaded_the_same_after_its_file_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p.yml");
        let text = "version: 1\nname: p\nmode: block\negress:\n  allow: [{ host: a.example, why: test }]\n";
        std::fs::write(&file, text).unwrap();
        let (policy, _, recorded) = load_recording(std::slice::from_ref(&file), &Runtime::from_env()).unwrap();
        std::fs::write(&file, text.replace("a.example", "'*.b.example'")).unwrap();
        let text = serde_json::to_vec(&recorded).unwrap();
        let again = serde_json::from_slice::<Recorded>(&text).unwrap().load().unwrap();
        assert_eq!(again.egress, policy.egress);
        assert_eq!(again.origin.sha256, policy.origin.sha256);
    }
}
