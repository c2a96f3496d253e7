//! Jobs: their hooks, the cgroups that they are known by, their rules, the executables that rules name, who holds a secret, and how often each rule decided.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use aya::maps::{PerCpuArray, PerCpuValues};
use runner_agent_common::egress::{ExeKey, JobRules, RuleCount, job_flag};
use runner_agent_common::map::{FileKey, Task, task_flag};
use runner_agent_common::record::ProcessKey;

use super::cgroup::JobCgroup;
use super::egress::{Askers, JobEgress};
use super::load::Kernel;
use super::maps::{map_error, missing};
use super::syscalls::Looks;
use super::tier::Tier;
use super::{LoadError, programs};
use crate::rules::RuleTable;

/// What blocking needs of the maps; all zero where nothing is blocked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Entries of the rule map.
    pub entries: u32,
    /// Executables that rules name.
    pub exes: u32,
    /// Rules that are counted.
    pub rules: u32,
    /// Paths of secret files that the kernel side recognises.
    pub secret_paths: u32,
    /// Whether some job's holders of secrets are kept from rules that may not carry any.
    pub carries: bool,
    /// Whether some job's reads of secret files are refused.
    pub refuses_reads: bool,
    /// Whether jobs are of processes that somebody else started.
    pub takes_workers: bool,
    /// Whether some job is audited where others are blocked.
    pub audits: bool,
}

impl Room {
    /// So many times the room, for so many jobs like those that were counted.
    #[must_use]
    pub fn times(self, jobs: u32) -> Self {
        let Self { entries, exes, rules, secret_paths, .. } = self;
        Self {
            entries: entries * jobs,
            exes: exes * jobs,
            rules: rules * jobs,
            secret_paths: secret_paths * jobs,
            ..self
        }
    }

    /// Room for another job's rules, whose executables are so many files.
    #[must_use]
    pub fn and(self, table: &RuleTable, exe_files: usize) -> Self {
        Self {
            entries: self.entries + table.capacity() as u32,
            exes: self.exes + exe_files as u32,
            rules: self.rules + table.ids().len() as u32,
            carries: self.carries || table.flags() & job_flag::CARRY_BLOCK != 0,
            ..self
        }
    }

    pub(super) fn looks(self, tier: Tier) -> Looks {
        Looks { at_opens: tier == Tier::Tracepoint, at_doors: self.blocks(), at_pipes: self.carries }
    }

    pub(super) fn blocks(self) -> bool {
        self.entries > 0
    }
}

/// Where a job's resolver listens, on 127.0.0.1 and ::1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolverPorts {
    /// On 127.0.0.1.
    pub v4: u16,
    /// On ::1; 0 where the machine has no IPv6.
    pub v6: u16,
}

impl Kernel {
    /// Puts the hooks on a cgroup, that of a job or, where the whole runner is in scope, the topmost: those that a blocked job
    /// needs, or an audited one. With a folder for pins, they stay when the agent goes.
    pub fn hook(&mut self, cgroup: &Path, slot: u32, blocks: bool, pins: Option<&Path>) -> Result<(), LoadError> {
        let directory = File::open(cgroup).map_err(|source| LoadError::Cgroup {
            action: "open",
            path: cgroup.to_owned(),
            source,
        })?;
        let ebpf = self.ebpf.as_mut().ok_or_else(|| missing("programs"))?;
        for name in programs::cgroup_hooks(blocks) {
            let link = programs::attach_to_cgroup(ebpf, name, &directory)?;
            self.links.hold(slot, name, link, pins)?;
        }
        Ok(())
    }

    /// Makes a cgroup a job. Its hooks come first, so that nothing of the job goes by unseen.
    pub fn add_job(&mut self, cgroup: &JobCgroup, slot: u32) -> Result<(), LoadError> {
        let mut jobs = self.maps.hash::<u64, u32>("JOBS")?;
        jobs.insert(cgroup.id(), slot, 0).map_err(|error| map_error("JOBS", "fill", &error))?;
        self.prefer(cgroup)
    }

    /// Spares this job's processes a look-up on every open.
    pub fn prefer(&mut self, cgroup: &JobCgroup) -> Result<(), LoadError> {
        let mut latest = self.maps.array::<u64>("LATEST_JOB")?;
        latest.set(0, cgroup.id(), 0).map_err(|error| map_error("LATEST_JOB", "fill", &error))
    }

    /// Processes of a job that are alive, in its cgroup or not; not those of the runner, which are none of the job's to end.
    pub fn members(&mut self, slot: u32) -> Result<Vec<ProcessKey>, LoadError> {
        let tasks = self.maps.hash::<u32, Task>("TASKS")?;
        let is_meant = |task: &Task| task.job == slot && task.flags & task_flag::RUNNERS == 0;
        let members = tasks.iter().filter_map(Result::ok).filter(|(_, task)| is_meant(task));
        Ok(members.map(|(tgid, task)| ProcessKey { start_ns: task.start_ns, tgid, reserved: 0 }).collect())
    }

    /// Makes a job's rules hold, before it is a job. `exes` are the files that the table's lists of executables mean.
    pub fn set_rules(
        &mut self,
        table: RuleTable,
        exes: &[(FileKey, u64)],
        resolver: ResolverPorts,
    ) -> Result<JobEgress, LoadError> {
        let (slot, rules) = (table.slot(), table.ids().len() as u32);
        let counters = self.fresh_counters(slot, rules)?;
        let job =
            JobRules { flags: table.flags(), resolver_v4: resolver.v4, resolver_v6: resolver.v6, counters, rules };
        let egress = JobEgress::fill(table, self.rules.clone())?;
        let mut map = self.maps.hash::<ExeKey, u64>("EXES")?;
        for (file, bits) in exes {
            let key = ExeKey { inode: file.inode, device: file.device, job: slot };
            let known = map.get(&key, 0).unwrap_or_default();
            map.insert(key, known | bits, 0).map_err(|error| map_error("EXES", "fill", &error))?;
        }
        let mut jobs = self.maps.hash::<u32, JobRules>("JOB_RULES")?;
        jobs.insert(slot, job, 0).map_err(|error| map_error("JOB_RULES", "fill", &error))?;
        self.egress.insert(slot, egress.clone());
        Ok(egress)
    }

    /// A range of counters for a job's rules, all zero.
    fn fresh_counters(&mut self, slot: u32, rules: u32) -> Result<u32, LoadError> {
        let mut counts: PerCpuArray<_, RuleCount> = self.maps.per_cpu("RULE_COUNTS")?;
        let first = self.counters.take(slot, rules, counts.len()).ok_or_else(|| LoadError::Map {
            map: "RULE_COUNTS",
            action: "fill",
            detail: format!("there is no room for {rules} more rules; end other jobs first, or allow for more"),
        })?;
        let processors = aya::util::nr_cpus().map_err(|(_, error)| map_error("RULE_COUNTS", "fill", &error))?;
        for rule in first..first + rules {
            let zero = PerCpuValues::try_from(vec![RuleCount::default(); processors])
                .map_err(|error| map_error("RULE_COUNTS", "fill", &error))?;
            counts.set(rule, zero, 0).map_err(|error| map_error("RULE_COUNTS", "fill", &error))?;
        }
        Ok(first)
    }

    /// What holds for a job.
    pub fn rules(&mut self, slot: u32) -> Option<JobRules> {
        self.maps.hash::<u32, JobRules>("JOB_RULES").ok()?.get(&slot, 0).ok()
    }

    /// Sets what holds for a job: another resolver, or what was there before somebody changed it.
    pub fn put_rules(&mut self, slot: u32, rules: JobRules) -> Result<(), LoadError> {
        let mut jobs = self.maps.hash::<u32, JobRules>("JOB_RULES")?;
        jobs.insert(slot, rules, 0).map_err(|error| map_error("JOB_RULES", "fill", &error))
    }

    /// The rules of a job that another agent has filled.
    pub fn adopt_rules(&mut self, table: RuleTable) -> Result<JobEgress, LoadError> {
        let slot = table.slot();
        let egress = JobEgress::adopt(table, self.rules.clone())?;
        self.egress.insert(slot, egress.clone());
        Ok(egress)
    }

    /// How often each rule of a job decided, by its number.
    pub fn rule_counts(&mut self, slot: u32) -> Result<Vec<RuleCount>, LoadError> {
        let Some(job) = self.rules(slot) else { return Ok(Vec::new()) };
        let counts: PerCpuArray<_, RuleCount> = self.maps.per_cpu("RULE_COUNTS")?;
        (0..job.rules)
            .map(|rule| {
                let per_cpu =
                    counts.get(&(job.counters + rule), 0).map_err(|error| map_error("RULE_COUNTS", "read", &error))?;
                Ok(per_cpu.iter().fold(RuleCount::default(), |sum, count| RuleCount {
                    allowed: sum.allowed + count.allowed,
                    blocked: sum.blocked + count.blocked,
                    dropped: sum.dropped + count.dropped,
                }))
            })
            .collect()
    }

    /// Who asked the resolvers.
    pub fn askers(&self) -> Askers {
        Askers(self.askers.clone())
    }

    /// Notes that a process holds a secret, if it is still there.
    pub fn holds_secret(&mut self, key: ProcessKey) -> Result<(), LoadError> {
        const MUST_EXIST: u64 = 2;
        let mut tasks = self.maps.hash::<u32, Task>("TASKS")?;
        let Ok(task) = tasks.get(&key.tgid, 0) else { return Ok(()) };
        if task.start_ns != key.start_ns || task.flags & task_flag::HOLDS_SECRET != 0 {
            return Ok(());
        }
        // It may have ended since; then nothing is written.
        let _ = tasks.insert(key.tgid, Task { flags: task.flags | task_flag::HOLDS_SECRET, ..task }, MUST_EXIST);
        Ok(())
    }

    /// Whether a cgroup is known as this job.
    pub fn is_job(&mut self, cgroup: u64, slot: u32) -> bool {
        self.maps.hash::<u64, u32>("JOBS").is_ok_and(|jobs| jobs.get(&cgroup, 0).ok() == Some(slot))
    }
}

/// Ranges of the rules' counters, by the slot of the job that has them.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u32, std::ops::Range<u32>>);

impl Ranges {
    /// The first place with so many free, below a bound.
    fn take(&mut self, slot: u32, len: u32, bound: u32) -> Option<u32> {
        let mut taken: Vec<_> = self.0.values().cloned().collect();
        taken.sort_by_key(|range| range.start);
        let mut first = 0;
        for range in taken {
            if range.start >= first + len {
                break;
            }
            first = range.end;
        }
        if first + len > bound {
            return None;
        }
        self.0.insert(slot, first..first + len);
        Some(first)
    }

    pub(super) fn give_back(&mut self, slot: u32) {
        self.0.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_given_to_one_job_at_a_time_and_given_again() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.take(1, 4, 10), Some(0));
        assert_eq!(ranges.take(2, 4, 10), Some(4));
        assert_eq!(ranges.take(3, 4, 10), None);
        ranges.give_back(1);
        assert_eq!(ranges.take(3, 3, 10), Some(0));
        assert_eq!(ranges.take(4, 1, 10), Some(3));
        assert_eq!(ranges.take(5, 2, 10), Some(8));
    }
}
