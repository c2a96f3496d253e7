//! Blocking: what it takes to refuse, arranged before the job starts and looked after while it runs.
//!
//! The order is: rules into maps, probes loaded, links pinned, resolver up, then a probe of our own. Whatever fails on the
//! way ends the arming; there is no way from block to audit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_agent_common::egress::{JobRules, job_flag};
use runner_agent_common::guard::GuardRules;
use rustix::thread::CapabilitySet;

use super::exes::{ExeFiles, search_path};
use super::guarding;
use super::launch::Confinement;
use super::resolving::{Told, bind_resolver, ports_of, resolved, start};
use super::run::{RunError, io_error};
use super::self_check::{self, ClosedPort};
use crate::job::Job;
use crate::kernel::cgroup::JobCgroup;
use crate::kernel::procfs;
use crate::kernel::{JobEgress, Kernel, LinkState, LoadError, ResolverPorts, Room};
use crate::policy::{EgressPolicy, ExactPaths, Policy};
use crate::resolver::{self, Report, Resolver};
use crate::rules::RuleTable;

/// How often the agent looks whether everything is as it left it.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// How often expired addresses are taken out of the rule map.
const FORGET: Duration = Duration::from_secs(1);

/// What is ready before the probes are loaded.
pub(super) struct Prepared {
    table: RuleTable,
    exes: ExeFiles,
    resolver: Resolver,
    refuses_reads: bool,
    secret_paths: u32,
}

/// What must be refused before any job starts: a port of the agent's own, and a policy that closes it.
pub(super) struct Closed {
    port: ClosedPort,
    table: RuleTable,
}

impl Closed {
    /// Listens.
    pub(super) fn listen() -> Result<Self, RunError> {
        let port = ClosedPort::listen().map_err(io_error("listen on loopback for the self-check"))?;
        let table = RuleTable::new(self_check::SLOT, &port.policy()).map_err(LoadError::Rules)?;
        Ok(Self { port, table })
    }

    /// Room for its rules besides others.
    pub(super) fn room(&self, others: Room) -> Room {
        others.and(&self.table, 0)
    }
}

impl Prepared {
    /// Turns the policy into rules, and takes the resolver's ports.
    pub(super) fn new(policy: &Policy, slot: u32) -> Result<Self, RunError> {
        let table = RuleTable::new(slot, policy).map_err(LoadError::Rules)?;
        let exes = ExeFiles::find(&table, &search_path());
        let resolver = bind_resolver(policy, None).map_err(io_error("listen on loopback for the job's DNS"))?;
        let refuses_reads = policy.refuses_reads();
        let exact = if refuses_reads { policy.secrets.exact() } else { ExactPaths::default() };
        let secret_paths = (exact.keys.len() + exact.entries.len()) as u32;
        Ok(Self { table, exes, resolver, refuses_reads, secret_paths })
    }

    /// How much room the maps need.
    pub(super) fn room(&self) -> Room {
        let Self { secret_paths, refuses_reads, .. } = *self;
        let room = Room { secret_paths, refuses_reads, ..Room::default() };
        room.and(&self.table, self.exes.files.len())
    }

    /// The slot of the job that it is for.
    pub(super) fn slot(&self) -> u32 {
        self.table.slot()
    }

    /// Programs that rules name and that are not on the PATH.
    pub(super) fn missing_programs(&self) -> &[String] {
        &self.exes.missing
    }

    /// Ids of the policy's rules by their number.
    pub(super) fn rule_ids(&self) -> Vec<Arc<str>> {
        self.table.ids().to_vec()
    }

    /// Makes the rules hold, then the hooks on the job's cgroup or on the topmost, then the resolver answer, then proves it with
    /// what must be refused, if that is still to be proven.
    pub(super) fn arm(
        self,
        kernel: &mut Kernel,
        cgroup: &JobCgroup,
        on: &Hooks<'_>,
        policy: &EgressPolicy,
        closed: Option<Closed>,
        check: impl FnOnce(&mut Kernel, &ClosedPort) -> Result<(), LoadError>,
    ) -> Result<Blocking, RunError> {
        let Self { table, exes, resolver, .. } = self;
        let (slot, ports) = (table.slot(), ports_of(&resolver));
        let egress = kernel.set_rules(table, &exes.files, ports)?;
        admit_hosts(&egress, policy).map_err(io_error("let in the addresses of /etc/hosts"))?;
        let rules = kernel.rules(slot).ok_or_else(|| lost("the job's entry in the kernel's maps is gone"))?;
        kernel.hook(on.cgroup, slot, true, on.pins)?;
        kernel.add_job(cgroup, slot)?;
        let resolver = start(resolver, kernel, &egress, rules)?;
        if let Some(Closed { port, table }) = closed {
            kernel.set_rules(table, &[], ports)?;
            check(kernel, &port)?;
            kernel.prefer(cgroup)?;
        }
        let guard = kernel.guard(slot).unwrap_or_default();
        // Where the whole runner is in scope the hooks hang on another cgroup than the job's.
        let on = if on.cgroup == cgroup.path() { cgroup.id() } else { 0 };
        Ok(Force { egress, resolver, rules, guard, slot, links: kernel.links(on), on }.held(cgroup))
    }
}

/// Where a job's hooks go, and where their pins.
pub(super) struct Hooks<'a> {
    /// The job's cgroup, or the topmost.
    pub(super) cgroup: &'a Path,
    /// The folder for pins.
    pub(super) pins: Option<&'a Path>,
}

/// Names of `/etc/hosts` need no question, so their addresses are let in before the job starts, and stay.
fn admit_hosts(egress: &JobEgress, policy: &EgressPolicy) -> std::io::Result<()> {
    use crate::policy::egress::Target;
    for (address, name) in procfs::hosts(Path::new("/etc/hosts")) {
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
    slot: u32,
    cgroup: u64,
    /// The cgroup that the hooks hang on; 0 for the topmost.
    on: u64,
    rules: JobRules,
    guard: GuardRules,
    links: LinkState,
    next_look: Instant,
    next_forget: Instant,
    /// Whether it was said that the resolver doesn't answer in some network.
    is_silence_told: bool,
}

impl Blocking {
    /// What the job's command begins without, besides what the policy withholds. Only a rule for any protocol and any port has
    /// a use for raw sockets: before a packet socket stands no hook of the tracepoint tier, and by the time that its maker is
    /// ended another thread could have used it.
    pub(super) fn confine(&self, confinement: &mut Confinement) {
        confinement.close_sockets = true;
        if self.rules.flags & job_flag::ANYTHING == 0 {
            confinement.without |= CapabilitySet::NET_RAW;
        }
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

    /// Has the resolver answer in the network of a process. One that is gone already asks nothing.
    pub(super) fn answer_in_network_of(&mut self, pid: u32) {
        let network = procfs::network(pid);
        if network == 0 {
            return;
        }
        let namespace = PathBuf::from(format!("/proc/{pid}/ns/net"));
        if let Err(error) = self.resolver.join(network, &namespace)
            && procfs::network(pid) == network
        {
            // A job could have this said at every program start.
            if !std::mem::replace(&mut self.is_silence_told, true) {
                tracing::warn!(
                    "names can't be resolved in the network of pid {pid}, nor in others of which no more is said: {error}"
                );
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
        if self.resolver.has_joined() {
            self.resolver.stay_in(&procfs::networks());
        }
        self.look(kernel)
    }

    fn look(&mut self, kernel: &mut Kernel) -> Result<Repairs, LoadError> {
        let gone = self.links.missing_in(&kernel.links(self.on));
        if gone > 0 {
            return Err(lost(&format!("{gone} of {} links to the kernel's hooks were taken away", self.links.len())));
        }
        if !self.resolver.is_alive() {
            return Err(lost("the resolver's thread has ended"));
        }
        let mut repairs = Repairs::default();
        if let Some(pin) = kernel.missing_pin(self.slot) {
            // The hooks are held by this process now; only a successor would miss it.
            return Err(lost(&format!("the pin {} was removed", pin.display())));
        }
        if kernel.rules(self.slot) != Some(self.rules) {
            kernel.put_rules(self.slot, self.rules)?;
            repairs.what.push("the job's entry in the kernel's maps was changed, and was written again".to_owned());
        }
        if !kernel.is_job(self.cgroup, self.slot) {
            return Err(lost("the job's cgroup was taken out of the kernel's maps"));
        }
        if guarding::repair(kernel, self.slot, self.guard)? {
            repairs.what.push(guarding::REPAIRED.to_owned());
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
    guard: GuardRules,
    slot: u32,
    links: LinkState,
    on: u64,
}

impl Force {
    /// What an agent before has left: the same maps and links, and a resolver again, on its old port if that is free.
    /// `on` is the cgroup that the hooks hang on, 0 for the topmost. Whatever fails, the rules stay as they are.
    pub(super) fn take_over(kernel: &mut Kernel, job: &Job, on: u64) -> Result<Self, RunError> {
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
        let guard = guarding::rules(&job.policy);
        Ok(Self { egress, resolver, rules, guard, slot: job.slot, links: kernel.links(on), on })
    }

    /// Ties it to the job: from here on it ends with the value.
    pub(super) fn held(self, cgroup: &JobCgroup) -> Blocking {
        let Self { egress, resolver, rules, guard, slot, links, on } = self;
        let now = Instant::now();
        let (next_look, next_forget) = (now + LOOK_AFTER, now + FORGET);
        let cgroup = cgroup.id();
        Blocking {
            egress,
            resolver,
            slot,
            cgroup,
            on,
            rules,
            guard,
            links,
            next_look,
            next_forget,
            is_silence_told: false,
        }
    }
}

fn lost(what: &str) -> LoadError {
    LoadError::Disarmed(what.to_owned())
}

/// Where an agent keeps what must outlive it, unless it is told otherwise.
pub fn default_runtime() -> PathBuf {
    PathBuf::from("/run/runner-agent")
}
