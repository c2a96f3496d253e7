//! Who of the runner is not held to a job's policy, as the kernel side has it.

use runner_agent_common::map::{Task, task_flag};
use runner_agent_common::record::ProcessKey;
use runner_agent_common::runner::ServiceKey;

use super::LoadError;
use super::load::Kernel;
use super::maps::map_error;

impl Kernel {
    /// Exempts programs in cgroups from what holds for the runner.
    pub fn exempt(&mut self, services: &[ServiceKey]) -> Result<(), LoadError> {
        let mut map = self.maps.hash::<ServiceKey, u32>("SERVICES")?;
        services.iter().try_for_each(|key| map.insert(key, 1, 0).map_err(|error| map_error("SERVICES", "fill", &error)))
    }

    /// Lets packets of sockets that were made in these cgroups pass, where no call was judged for them.
    pub fn exempt_packets(&mut self, cgroups: &[u64]) -> Result<(), LoadError> {
        let mut map = self.maps.hash::<u64, u32>("PLATFORM")?;
        cgroups.iter().try_for_each(|id| map.insert(id, 1, 0).map_err(|error| map_error("PLATFORM", "fill", &error)))
    }

    /// Ends the exemption of cgroups that are gone.
    pub fn end_exemption(&mut self, services: &[ServiceKey], cgroups: &[u64]) -> Result<(), LoadError> {
        let mut map = self.maps.hash::<ServiceKey, u32>("SERVICES")?;
        for key in services {
            map.remove(key).map_err(|error| map_error("SERVICES", "clear", &error))?;
        }
        let mut map = self.maps.hash::<u64, u32>("PLATFORM")?;
        cgroups.iter().try_for_each(|id| map.remove(id).map_err(|error| map_error("PLATFORM", "clear", &error)))
    }

    /// Lets a process of the runner go that turns out to be a service's. One that holds a secret stays.
    pub fn release(&mut self, pid: u32) -> Result<Option<ProcessKey>, LoadError> {
        let mut tasks = self.maps.hash::<u32, Task>("TASKS")?;
        let Ok(task) = tasks.get(&pid, 0) else { return Ok(None) };
        if task.flags & (task_flag::RUNNERS | task_flag::HOLDS_SECRET) != task_flag::RUNNERS {
            return Ok(None);
        }
        // It may have ended since.
        let _ = tasks.remove(&pid);
        Ok(Some(ProcessKey { start_ns: task.start_ns, tgid: pid, reserved: 0 }))
    }

    /// Processes of the runner that are held to a job's policy, are not the job's, and began at that time or later.
    pub fn runners(&mut self, slot: u32, since_ns: u64) -> Result<Vec<ProcessKey>, LoadError> {
        let tasks = self.maps.hash::<u32, Task>("TASKS")?;
        let is_meant =
            |task: &Task| task.job == slot && task.flags & task_flag::RUNNERS != 0 && task.start_ns >= since_ns;
        let found = tasks.iter().filter_map(Result::ok).filter(|(_, task)| is_meant(task));
        Ok(found.map(|(tgid, task)| ProcessKey { start_ns: task.start_ns, tgid, reserved: 0 }).collect())
    }
}
