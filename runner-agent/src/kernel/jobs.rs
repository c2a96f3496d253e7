//! What holds for jobs: their rules, the executables that rules name, who holds a secret, and how often each rule decided.

use aya::maps::PerCpuArray;
use runner_agent_common::egress::{ExeKey, JobRules, RuleCount, job_flag};
use runner_agent_common::map::{FileKey, Task, task_flag};
use runner_agent_common::record::ProcessKey;

use super::LoadError;
use super::egress::{Askers, JobEgress};
use super::load::Kernel;
use super::maps::{map_error, missing};
use super::offsets::Looks;
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
    /// Whether some job's holders of secrets are kept from rules that may not carry any.
    pub carries: bool,
}

impl Room {
    /// Room for another job's rules, whose executables are so many files.
    #[must_use]
    pub fn and(self, table: &RuleTable, exe_files: usize) -> Self {
        Self {
            entries: self.entries + table.capacity() as u32,
            exes: self.exes + exe_files as u32,
            rules: self.rules + table.ids().len() as u32,
            carries: self.carries || table.flags() & job_flag::CARRY_BLOCK != 0,
        }
    }

    pub(super) fn looks(self) -> Looks {
        Looks { at_doors: self.blocks(), at_pipes: self.carries }
    }

    pub(super) fn blocks(self) -> bool {
        self != Self::default()
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
    /// Makes a job's rules hold, before it is a job. `exes` are the files that the table's lists of executables mean.
    pub fn set_rules(
        &mut self,
        table: RuleTable,
        exes: &[(FileKey, u64)],
        resolver: ResolverPorts,
    ) -> Result<JobEgress, LoadError> {
        let (slot, rules) = (table.slot(), table.ids().len() as u32);
        let job = JobRules {
            flags: table.flags(),
            resolver_v4: resolver.v4,
            resolver_v6: resolver.v6,
            counters: self.counted,
            rules,
            zero: 0,
        };
        let egress = JobEgress::fill(table, self.rules.clone())?;
        let mut map = self.maps.hash::<ExeKey, u64>("EXES")?;
        for (file, bits) in exes {
            let key = ExeKey { inode: file.inode, device: file.device, job: slot };
            let known = map.get(&key, 0).unwrap_or_default();
            map.insert(key, known | bits, 0).map_err(|error| map_error("EXES", "fill", &error))?;
        }
        let mut jobs = self.maps.hash::<u32, JobRules>("JOB_RULES")?;
        jobs.insert(slot, job, 0).map_err(|error| map_error("JOB_RULES", "fill", &error))?;
        self.counted += rules;
        Ok(egress)
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
        JobEgress::adopt(table, self.rules.clone())
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

    /// Who asked the resolver; can be taken once.
    pub fn take_askers(&mut self) -> Result<Askers, LoadError> {
        self.askers.take().map(Askers).ok_or_else(|| missing("ASKERS"))
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
