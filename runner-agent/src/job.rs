//! A job, and what is remembered of it while it runs: its names, which processes hold secrets, what was found.

mod taints;

pub use taints::{Relation, Taint, Taints};

use std::collections::HashMap;
use std::sync::Arc;

use runner_agent_common::map::FileKey;

use crate::names::Names;
use crate::policy::{Policy, words};
use crate::redact::Redactor;

/// Who is held to a job's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The job: what runs in its cgroup, and whatever descends from that.
    #[default]
    Job,
    /// Everything on the machine but the agent and the platform's own services. What isn't the job's isn't ended with it.
    Runner,
}

words!(Scope, "job, runner", { Scope::Job => "job", Scope::Runner => "runner" });

/// A job as it was started.
#[derive(Debug)]
pub struct Job {
    /// Slot in the kernel's maps.
    pub slot: u32,
    /// Unique name, as it stands in the log.
    pub id: Arc<str>,
    /// The command, secrets removed.
    pub command: Vec<String>,
    /// The policy it runs under.
    pub policy: Policy,
    /// Takes out its secrets.
    pub redactor: Redactor,
    /// Who is held to it.
    pub scope: Scope,
    /// Secret files that existed at the start, by identity.
    pub secret_files: HashMap<FileKey, Arc<str>>,
    /// Ids of rules by the number that the kernel side has for them; empty where user space judges.
    pub rule_ids: Vec<Arc<str>>,
}

/// What is remembered of a job.
#[derive(Debug)]
pub struct JobState {
    /// The job.
    pub job: Arc<Job>,
    /// Names by address.
    pub names: Names,
    /// Which processes hold secrets.
    pub taints: Taints,
    /// Findings told, with how often each occurred.
    found: HashMap<(&'static str, String), u64>,
    /// DNS messages that could not be read.
    pub unreadable_dns: u64,
    /// Of the last notice in the job's row.
    last_seq: u64,
}

/// Different findings of one job that are told; what comes after them is counted only.
pub const MAX_FINDINGS: usize = 1000;

impl JobState {
    /// Nothing has happened yet.
    pub fn new(job: Arc<Job>) -> Self {
        Self {
            job,
            names: Names::default(),
            taints: Taints::default(),
            found: HashMap::new(),
            unreadable_dns: 0,
            last_seq: 0,
        }
    }

    /// The number of the next notice.
    pub fn next_seq(&self) -> u64 {
        self.last_seq + 1
    }

    /// The same, taken.
    pub fn take_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Goes on with the numbers of an agent before.
    pub fn go_on_after(&mut self, seq: u64) {
        self.last_seq = seq;
    }

    /// Counts a finding; true when it is the first of its kind and subject and should be told.
    pub fn is_news(&mut self, id: &'static str, subject: &str) -> bool {
        let is_full = self.found.len() >= MAX_FINDINGS;
        match self.found.get_mut(&(id, subject.to_owned())) {
            Some(count) => *count += 1,
            None if is_full => *self.found.entry((id, String::new())).or_default() += 1,
            None => {
                self.found.insert((id, subject.to_owned()), 1);
                return true;
            }
        }
        false
    }

    /// How often a finding occurred.
    pub fn occurrences_of(&self, id: &'static str, subject: &str) -> u64 {
        self.found.get(&(id, subject.to_owned())).copied().unwrap_or_default()
    }

    /// Every finding told: detector, subject, and how often it occurred.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        self.found.iter().map(|((id, subject), count)| (*id, subject.clone(), *count))
    }

    /// Goes on with what an agent before found.
    pub fn go_on_with(&mut self, found: impl Iterator<Item = (&'static str, String, u64)>, unreadable_dns: u64) {
        self.found.extend(found.map(|(id, subject, count)| ((id, subject), count)));
        self.unreadable_dns = unreadable_dns;
    }

    /// How often each finding occurred, by detector.
    pub fn occurrences(&self) -> HashMap<&'static str, u64> {
        let mut sums = HashMap::new();
        for ((id, _), count) in &self.found {
            *sums.entry(*id).or_default() += count;
        }
        sums
    }
}
