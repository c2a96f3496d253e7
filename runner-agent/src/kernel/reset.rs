//! The end of a job in the maps: everything of it goes, and what is left can be counted.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aya::maps::MapError;
use runner_agent_common::egress::{ExeKey, JobRules};
use runner_agent_common::guard::{GuardRules, SecretFile, SecretPath};
use runner_agent_common::map::{FileKey, Task};

use super::LoadError;
use super::load::Kernel;
use super::maps::map_error;

impl Kernel {
    /// The slot has no job any more: its hooks, its rules, what it learnt, what was watched and guarded for it go.
    pub fn remove_job(&mut self, slot: u32) -> Result<(), LoadError> {
        self.forget_cgroups(slot)?;
        self.links.release(slot)?;
        if let Some(egress) = self.egress.remove(&slot) {
            egress.clear()?;
            clear(self.maps.hash::<u32, JobRules>("JOB_RULES")?.remove(&slot), "JOB_RULES")?;
            self.counters.give_back(slot);
        }
        clear(self.maps.hash::<u32, GuardRules>("GUARDS")?.remove(&slot), "GUARDS")?;
        self.forget_secrets(slot)?;
        for map in ["EXES", "READERS"] {
            let mut exes = self.maps.hash::<ExeKey, u64>(map)?;
            let gone: Vec<ExeKey> = exes.keys().filter_map(Result::ok).filter(|key| key.job == slot).collect();
            gone.iter().try_for_each(|key| clear(exes.remove(key), map))?;
        }
        self.unguard(slot)?;
        self.unwatch(slot)
    }

    fn forget_cgroups(&mut self, slot: u32) -> Result<(), LoadError> {
        let mut jobs = self.maps.hash::<u64, u32>("JOBS")?;
        let cgroups: Vec<u64> =
            jobs.iter().filter_map(Result::ok).filter(|(_, of)| *of == slot).map(|(id, _)| id).collect();
        cgroups.iter().try_for_each(|id| clear(jobs.remove(id), "JOBS"))
    }

    /// What the maps still hold about one job, by map; nothing once it was removed.
    pub fn entries_of(&mut self, slot: u32) -> Result<BTreeMap<&'static str, usize>, LoadError> {
        let of_job = |key: &ExeKey| key.job == slot;
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let egress = rules.keys().filter_map(Result::ok).filter(|key| key.data().job == slot).count();
        drop(rules);
        let found = BTreeMap::from([
            ("EGRESS", egress),
            ("JOBS", self.maps.hash::<u64, u32>("JOBS")?.iter().flatten().filter(|(_, of)| *of == slot).count()),
            (
                "JOB_RULES",
                self.maps.hash::<u32, JobRules>("JOB_RULES")?.keys().flatten().filter(|of| *of == slot).count(),
            ),
            ("GUARDS", self.maps.hash::<u32, GuardRules>("GUARDS")?.keys().flatten().filter(|of| *of == slot).count()),
            ("EXES", self.maps.hash::<ExeKey, u64>("EXES")?.keys().flatten().filter(of_job).count()),
            ("READERS", self.maps.hash::<ExeKey, u64>("READERS")?.keys().flatten().filter(of_job).count()),
            (
                "SECRETS",
                self.maps.hash::<SecretFile, u32>("SECRETS")?.keys().flatten().filter(|file| file.job == slot).count(),
            ),
            (
                "SECRET_PATHS",
                self.maps
                    .hash::<SecretPath, u32>("SECRET_PATHS")?
                    .keys()
                    .flatten()
                    .filter(|path| path.job == slot)
                    .count(),
            ),
            ("LEARNT", self.maps.hash::<u32, u64>("LEARNT")?.keys().flatten().filter(|of| *of == slot).count()),
            (
                "TASKS",
                self.maps.hash::<u32, Task>("TASKS")?.iter().flatten().filter(|(_, task)| task.job == slot).count(),
            ),
        ]);
        Ok(found.into_iter().filter(|(_, left)| *left > 0).collect())
    }

    /// What the maps hold about jobs, by map: what is left when all have ended shows what was forgotten.
    pub fn entries(&mut self) -> Result<BTreeMap<&'static str, usize>, LoadError> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner).iter().count();
        Ok(BTreeMap::from([
            ("JOBS", self.maps.hash::<u64, u32>("JOBS")?.keys().count()),
            ("JOB_RULES", self.maps.hash::<u32, JobRules>("JOB_RULES")?.keys().count()),
            ("GUARDS", self.maps.hash::<u32, GuardRules>("GUARDS")?.keys().count()),
            ("EXES", self.maps.hash::<ExeKey, u64>("EXES")?.keys().count()),
            ("READERS", self.maps.hash::<ExeKey, u64>("READERS")?.keys().count()),
            ("READERS", self.maps.hash::<ExeKey, u64>("READERS")?.keys().count()),
            ("SECRETS", self.maps.hash::<SecretFile, u32>("SECRETS")?.keys().count()),
            ("SECRET_PATHS", self.maps.hash::<SecretPath, u32>("SECRET_PATHS")?.keys().count()),
            ("LEARNT", self.maps.hash::<u32, u64>("LEARNT")?.keys().count()),
            ("FILES", self.maps.hash::<FileKey, u32>("FILES")?.keys().count()),
            ("NAMES", self.maps.hash::<u64, u32>("NAMES")?.keys().count()),
            ("GUARDED", self.maps.hash::<FileKey, u32>("GUARDED")?.keys().count()),
            ("TASKS", self.maps.hash::<u32, Task>("TASKS")?.keys().count()),
            ("EGRESS", rules),
        ]))
    }

    /// Forgets which cgroup and which processes are a job's: what they do is nobody's from here on.
    pub fn let_go(&mut self, slot: u32) -> Result<(), LoadError> {
        // A member that is looked at between two looks may have a child.
        const ROUNDS: usize = 64;
        self.forget_cgroups(slot)?;
        let mut tasks = self.maps.hash::<u32, Task>("TASKS")?;
        for _ in 0..ROUNDS {
            let of_job = tasks.iter().filter_map(Result::ok).filter(|(_, task)| task.job == slot);
            let members: Vec<u32> = of_job.map(|(tgid, _)| tgid).collect();
            if members.is_empty() {
                break;
            }
            members.iter().try_for_each(|tgid| clear(tasks.remove(tgid), "TASKS"))?;
        }
        Ok(())
    }
}

/// Nothing to remove is nothing to complain of.
pub(super) fn clear(removed: Result<(), MapError>, map: &'static str) -> Result<(), LoadError> {
    match removed {
        Err(error) if !was_missing(&error) => Err(map_error(map, "clear", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether an entry could not be removed because there was none: aya has two ways to say so.
pub(super) fn was_missing(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}
