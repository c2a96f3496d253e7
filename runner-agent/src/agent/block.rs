//! Blocking: what it takes to refuse, arranged before the job starts and looked after while it runs.
//!
//! The order is: rules into maps, probes loaded, links pinned, resolver up, then a probe of our own. Whatever fails on the
//! way ends the arming; there is no way from block to audit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_agent_common::egress::{JobRules, job_flag};

use super::exes::{ExeFiles, search_path};
use super::launch::Confinement;
use super::resolving::{Told, bind_resolver, ports_of, resolved, start};
use super::run::{RunError, io_error};
use super::self_check::{self, ClosedPort};
use super::state::Held;
use super::watched;
use crate::job::Job;
use crate::kernel::cgroup::JobCgroup;
use crate::kernel::{JobEgress, Kernel, LinkState, LoadError, PinRoot, Pins, ResolverPorts, Room};
use crate::policy::{EgressPolicy, Policy};
use crate::resolver::{self, Report, Resolver};
use crate::rules::RuleTable;

/// How often the agent looks whether everything is as it left it.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// How often expired addresses are taken out of the rule map.
const FORGET: Duration = Duration::from_secs(1);

/// What is ready before the probes are loaded.
pub(super) struct Prepared {
    pub(super) held: Held,
    pub(super) pins: Pins,
    table: RuleTable,
    exes: ExeFiles,
    closed: ClosedPort,
    closed_table: RuleTable,
    resolver: Resolver,
}

impl Prepared {
    /// Makes the folders, turns the policy into rules, and takes the resolver's ports.
    pub(super) fn new(
        policy: &Policy,
        slot: u32,
        name: &str,
        runtime: &Path,
        pins: Option<&Path>,
    ) -> Result<Self, RunError> {
        watched::refuses_no_read(policy).map_err(io_error("refuse opens of secret files"))?;
        let table = RuleTable::new(slot, policy).map_err(LoadError::Rules)?;
        let exes = ExeFiles::find(&table, &search_path());
        let closed = ClosedPort::listen().map_err(io_error("listen on loopback for the self-check"))?;
        let closed_table = RuleTable::new(self_check::SLOT, &closed.policy()).map_err(LoadError::Rules)?;
        let resolver = bind_resolver(policy, None).map_err(io_error("listen on loopback for the job's DNS"))?;
        let held = Held::create(runtime, name).map_err(io_error("make the job's folder"))?;
        let pins = PinRoot::claim(pins, runtime, name)?;
        Ok(Self { held, pins, table, exes, closed, closed_table, resolver })
    }

    /// How much room the maps need.
    pub(super) fn room(&self) -> Room {
        Room::default().and(&self.table, self.exes.files.len()).and(&self.closed_table, 0)
    }

    /// Programs that rules name and that are not on the PATH.
    pub(super) fn missing_programs(&self) -> &[String] {
        &self.exes.missing
    }

    /// Ids of the policy's rules by their number.
    pub(super) fn rule_ids(&self) -> Vec<Arc<str>> {
        self.table.ids().to_vec()
    }

    /// Makes the rules hold, then the hooks, then the resolver answer, then proves it.
    pub(super) fn arm(
        self,
        kernel: &mut Kernel,
        cgroup: &JobCgroup,
        policy: &EgressPolicy,
        check: impl FnOnce(&mut Kernel, &ClosedPort, &JobEgress) -> Result<(), LoadError>,
    ) -> Result<Blocking, RunError> {
        let Self { held, pins, table, exes, closed, closed_table, resolver } = self;
        let (slot, ports) = (table.slot(), ports_of(&resolver));
        let egress = kernel.set_rules(table, &exes.files, ports)?;
        let closed_egress = kernel.set_rules(closed_table, &[], ports)?;
        admit_hosts(&egress, policy).map_err(io_error("let in the addresses of /etc/hosts"))?;
        let rules = kernel.rules(slot).ok_or_else(|| lost("the job's entry in the kernel's maps is gone"))?;
        kernel.add_job(cgroup, slot, Some(pins.folder()))?;
        let resolver = start(resolver, kernel, &egress, rules)?;
        check(kernel, &closed, &closed_egress)?;
        kernel.prefer(cgroup)?;
        Ok(Force { egress, resolver, rules, slot, links: kernel.links() }.held(cgroup, pins, held))
    }
}

/// Names of `/etc/hosts` need no question, so their addresses are let in before the job starts, and stay.
fn admit_hosts(egress: &JobEgress, policy: &EgressPolicy) -> std::io::Result<()> {
    use crate::policy::egress::Target;
    for (address, name) in crate::kernel::procfs::hosts(Path::new("/etc/hosts")) {
        let rules: Vec<usize> = policy
            .allow
            .iter()
            .enumerate()
            .filter(|(_, rule)| matches!(&rule.target, Target::Host(pattern) if pattern.matches(&name)))
            .map(|(index, _)| index)
            .collect();
        if !rules.is_empty() {
            let until = runner_agent_common::egress::NEVER_NS;
            egress.learn(&[(address, &rules, until)]).map_err(std::io::Error::other)?;
        }
    }
    Ok(())
}

/// What was found wrong, and put right, when the agent looked after its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repairs {
    /// What, for people.
    pub(super) what: Vec<String>,
}

/// Blocking that is in force.
pub(super) struct Blocking {
    pub(super) egress: JobEgress,
    pub(super) resolver: resolver::Handle,
    pub(super) pins: Pins,
    pub(super) held: Held,
    slot: u32,
    cgroup: u64,
    rules: JobRules,
    links: LinkState,
    next_look: Instant,
    next_forget: Instant,
}

impl Blocking {
    /// What the job's command begins without. Only a rule for any protocol and any port has a use for raw sockets.
    pub(super) fn confinement(&self) -> Confinement {
        let no_raw_sockets = self.rules.flags & job_flag::ANYTHING == 0;
        Confinement { close_sockets: true, no_raw_sockets }
    }

    /// Leaves everything in force, for a successor.
    pub(super) fn leave(self) {
        self.pins.keep();
        self.held.keep();
    }

    /// The next thing that the resolver has to tell about the job.
    pub(super) fn next_report(&mut self) -> Option<Told> {
        loop {
            match self.resolver.reports().try_recv().ok()? {
                // The self-check's own question is no business of the job's.
                Report::Question(answered) if self_check::is_own(&answered.name) => {}
                Report::Question(answered) => return Some(Told::Resolved(resolved(answered))),
                Report::AdmitFailed { name, detail } => {
                    let detail = format!("{name} was answered with SERVFAIL: {detail}");
                    return Some(Told::Changed { state: "admit-failed", detail });
                }
                Report::UpstreamFailed { detail } => {
                    let detail = format!("no resolver of the runner answers, new names fail: {detail}");
                    return Some(Told::Changed { state: "upstream-failed", detail });
                }
                Report::UpstreamRecovered => {
                    let detail = "a resolver of the runner answers again".to_owned();
                    return Some(Told::Changed { state: "upstream-recovered", detail });
                }
            }
        }
    }

    /// Does what is due: takes out what has expired, and every five seconds looks whether links, pins, maps and resolver
    /// are as they were left. What can be put right is; what can't is an error, and the job must end.
    pub(super) fn look_after(&mut self, kernel: &mut Kernel, now_ns: u64) -> Result<Repairs, LoadError> {
        let now = Instant::now();
        if now >= self.next_forget {
            self.next_forget = now + FORGET;
            self.egress.forget(now_ns).map_err(|error| lost(&error.to_string()))?;
        }
        if now < self.next_look {
            return Ok(Repairs::default());
        }
        self.next_look = now + LOOK_AFTER;
        self.look(kernel)
    }

    fn look(&mut self, kernel: &mut Kernel) -> Result<Repairs, LoadError> {
        let gone = self.links.missing_in(&kernel.links());
        if gone > 0 {
            return Err(lost(&format!("{gone} of {} links to the kernel's hooks were taken away", self.links.len())));
        }
        if !self.resolver.is_alive() {
            return Err(lost("the resolver's thread has ended"));
        }
        let mut repairs = Repairs::default();
        if !kernel.are_links_pinned(self.pins.folder()) {
            // The hooks are held by this process now; only a successor would miss the pins.
            return Err(lost(&format!("pins in {} were removed", self.pins.folder().display())));
        }
        if kernel.rules(self.slot) != Some(self.rules) {
            kernel.put_rules(self.slot, self.rules)?;
            repairs.what.push("the job's entry in the kernel's maps was changed, and was written again".to_owned());
        }
        if !kernel.is_job(self.cgroup, self.slot) {
            return Err(lost("the job's cgroup was taken out of the kernel's maps"));
        }
        let entries = self.egress.repair()?;
        if entries > 0 {
            repairs.what.push(format!("{entries} entries of the rule map were changed, and were written again"));
        }
        Ok(repairs)
    }
}

/// What refuses, not yet tied to what goes away with it.
pub(super) struct Force {
    egress: JobEgress,
    resolver: resolver::Handle,
    rules: JobRules,
    slot: u32,
    links: LinkState,
}

impl Force {
    /// What an agent before has left: the same maps and links, and a resolver again, on its old port if that is free.
    /// Whatever fails, the rules stay as they are.
    pub(super) fn take_over(kernel: &mut Kernel, job: &Job) -> Result<Self, RunError> {
        let rules = kernel.rules(job.slot).ok_or_else(|| lost("the job's entry in the kernel's maps is gone"))?;
        let table = RuleTable::new(job.slot, &job.policy).map_err(LoadError::Rules)?;
        if table.ids().len() as u32 != rules.rules || table.flags() != rules.flags {
            return Err(lost("the policy's rules are not those in the kernel").into());
        }
        let egress = kernel.adopt_rules(table)?;
        let before = ResolverPorts { v4: rules.resolver_v4, v6: rules.resolver_v6 };
        let resolver = bind_resolver(&job.policy, Some(before))
            .or_else(|_| bind_resolver(&job.policy, None))
            .map_err(io_error("listen on loopback for the job's DNS"))?;
        let ports = ports_of(&resolver);
        let rules = JobRules { resolver_v4: ports.v4, resolver_v6: ports.v6, ..rules };
        kernel.put_rules(job.slot, rules)?;
        let resolver = start(resolver, kernel, &egress, rules)?;
        Ok(Self { egress, resolver, rules, slot: job.slot, links: kernel.links() })
    }

    /// Ties it to the job: from here on it ends with the value.
    pub(super) fn held(self, cgroup: &JobCgroup, pins: Pins, held: Held) -> Blocking {
        let Self { egress, resolver, rules, slot, links } = self;
        let now = Instant::now();
        let (next_look, next_forget) = (now + LOOK_AFTER, now + FORGET);
        Blocking { egress, resolver, pins, held, slot, cgroup: cgroup.id(), rules, links, next_look, next_forget }
    }
}

fn lost(what: &str) -> LoadError {
    LoadError::Disarmed(what.to_owned())
}

/// Where an agent keeps what must outlive it, unless it is told otherwise.
pub fn default_runtime() -> PathBuf {
    PathBuf::from("/run/runner-agent")
}
