//! What a machine has answered: programs take their time, so each is asked once for all policies that are read together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::{Ecosystem, Resolved, Surroundings};
use crate::config::raw::SyntaxError;
use crate::policy::secret::Place;

/// Answers of one machine, for as long as they are to be the same: one check, or one job's beginning.
#[derive(Debug, Default)]
pub struct Answers(RefCell<BTreeMap<Ecosystem, Resolved>>);

impl Answers {
    /// The machine, which is asked only for what it hasn't answered yet. All that share these answers must be that machine, and
    /// may differ in where their files lie.
    pub fn of<'a>(&'a self, machine: &'a dyn Surroundings) -> Remembered<'a> {
        Remembered { machine, answers: self }
    }
}

/// A machine and what it has answered.
pub struct Remembered<'a> {
    machine: &'a dyn Surroundings,
    answers: &'a Answers,
}

impl Surroundings for Remembered<'_> {
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved {
        let known = self.answers.0.borrow().get(&ecosystem).cloned();
        known.unwrap_or_else(|| {
            let resolved = self.machine.hosts(ecosystem);
            self.answers.0.borrow_mut().insert(ecosystem, resolved.clone());
            resolved
        })
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
        self.machine.policy_dir()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, SyntaxError> {
        self.machine.read(path)
    }
}
