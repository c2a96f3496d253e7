//! A job at work, as the agent has it.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::thread::CapabilitySet;

use super::announcing::Announced;
use super::block::Blocking;
use super::footing::Stand;
use super::guarding;
use super::launch::Confinement;
use super::sealing::{Seal, Sealing};
use crate::config::Combined;
use crate::engine;
use crate::job::Job;
use crate::kernel::cgroup::JobCgroup;

/// A job whose probes and rules are in force.
pub(super) struct AtWork {
    pub(super) job: Arc<Job>,
    pub(super) cgroup: JobCgroup,
    /// What refuses, where the job is blocked.
    pub(super) blocking: Option<Blocking>,
    /// The gate to a container engine, where the policy wants one.
    pub(super) engine: Option<engine::Handle>,
    /// What the agent stands on, as it was left.
    pub(super) stand: Stand,
    /// When the job began, nanoseconds since boot.
    pub(super) began_ns: u64,
    /// Why the job had to be ended before its end.
    pub(super) disarmed: Option<String>,
    /// Whether its end was announced.
    pub(super) announced: Option<Announced>,
    /// The log, for a successor to go on with.
    pub(super) log: Option<PathBuf>,
    /// What signs the log, if anything does.
    pub(super) seal: Option<Seal>,
    /// What the policy was made of, for a successor to load it again.
    pub(super) recorded: Combined,
}

impl AtWork {
    /// How its log is signed, if it is.
    pub(super) fn sealing(&self) -> Option<&Sealing> {
        self.seal.as_ref().map(|seal| &seal.sealing)
    }

    /// What the job's command begins without.
    pub(super) fn confinement(&self, oom_score: i32) -> Confinement {
        let without: CapabilitySet = guarding::withheld(&self.job.policy);
        let mut confinement = Confinement { close_sockets: false, without, oom_score };
        if let Some(blocking) = &self.blocking {
            blocking.confine(&mut confinement);
        }
        confinement
    }
}
