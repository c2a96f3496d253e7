//! What a job may not touch, as the kernel side has it.

use std::collections::{BTreeSet, HashMap};

use runner_agent_common::guard::{GuardRules, agent};
use runner_agent_common::map::FileKey;

use super::LoadError;
use super::load::Kernel;
use super::maps::map_error;
use super::reset::clear;

impl Kernel {
    /// Says what is told and denied for a job.
    pub fn set_guard(&mut self, slot: u32, rules: GuardRules) -> Result<(), LoadError> {
        let mut guards = self.maps.hash::<u32, GuardRules>("GUARDS")?;
        guards.insert(slot, rules, 0).map_err(|error| map_error("GUARDS", "fill", &error))
    }

    /// What is told and denied for a job.
    pub fn guard(&mut self, slot: u32) -> Option<GuardRules> {
        self.maps.hash::<u32, GuardRules>("GUARDS").ok()?.get(&slot, 0).ok()
    }

    /// Guards files and directories, bits of [`runner_agent_common::guard::guarded`], until a job ends or, with 0 for its slot,
    /// as long as the agent lives.
    pub fn guard_files(&mut self, slot: u32, files: &[(FileKey, u32)]) -> Result<(), LoadError> {
        self.guarded.entry(slot).or_default().extend(files);
        let mut guarded = self.maps.hash::<FileKey, u32>("GUARDED")?;
        for (file, bits) in files {
            let known = guarded.get(file, 0).unwrap_or_default();
            guarded.insert(file, known | bits, 0).map_err(|error| map_error("GUARDED", "fill", &error))?;
        }
        Ok(())
    }

    /// The same in place of what was guarded so before.
    pub fn guard_files_anew(&mut self, slot: u32, files: &[(FileKey, u32)]) -> Result<(), LoadError> {
        self.unguard(slot)?;
        self.guard_files(slot, files)
    }

    /// Lets go of what was guarded for a job alone.
    pub(super) fn unguard(&mut self, slot: u32) -> Result<(), LoadError> {
        let Some(files) = self.guarded.remove(&slot) else { return Ok(()) };
        let mut left: HashMap<FileKey, u32> = files.into_iter().map(|(file, _)| (file, 0)).collect();
        for (file, bits) in self.guarded.values().flatten() {
            if let Some(known) = left.get_mut(file) {
                *known |= bits;
            }
        }
        let mut guarded = self.maps.hash::<FileKey, u32>("GUARDED")?;
        for (file, bits) in left {
            if bits == 0 {
                clear(guarded.remove(&file), "GUARDED")?;
            } else {
                guarded.insert(file, bits, 0).map_err(|error| map_error("GUARDED", "fill", &error))?;
            }
        }
        Ok(())
    }

    /// Names a process of the agent's, and by what else kill(2) reaches it: its threads (those that there are), its group,
    /// and everybody.
    pub fn add_agent(&mut self, pid: u32) -> Result<(), LoadError> {
        const EVERYBODY: i32 = -1;
        let mut agents = self.maps.hash::<u32, u32>("AGENTS")?;
        // A group that is in another PID namespace can't be named from here, by a job no more than by the agent.
        let group = super::procfs::Kin::of(std::process::id()).map(|kin| kin.group).filter(|&group| group != 0);
        let named =
            [Some(EVERYBODY), group.map(|group| -group.cast_signed())].into_iter().flatten().map(i32::cast_unsigned);
        let threads = super::procfs::threads(pid).into_iter().filter(|&thread| thread != pid);
        let all = named.chain(threads).map(|number| (number, agent::NAME)).chain([(pid, agent::PROCESS)]);
        for (number, meaning) in all {
            agents.insert(number, meaning, 0).map_err(|error| map_error("AGENTS", "fill", &error))?;
        }
        Ok(())
    }

    /// Names this process and its threads, by whose numbers a signal can be sent too, and forgets those that have ended: their
    /// numbers may be a job's by and by, and there is room for so many only. To be called again when threads were started.
    pub fn add_own_threads(&mut self) -> Result<(), LoadError> {
        let own = std::process::id();
        let threads = super::procfs::threads(own).into_iter().collect::<BTreeSet<u32>>();
        if threads == self.threads {
            return Ok(());
        }
        self.add_agent(own)?;
        let mut agents = self.maps.hash::<u32, u32>("AGENTS")?;
        for gone in std::mem::replace(&mut self.threads, threads.clone()).difference(&threads) {
            // By now it may be another agent's own number.
            if agents.get(gone, 0).is_ok_and(|meaning| meaning == agent::NAME) {
                clear(agents.remove(gone), "AGENTS")?;
            }
        }
        Ok(())
    }

    /// Whether programs before functions run, however they are stopped: this process sends itself signal 0, which is no signal,
    /// and the program before that counts it. It must be one of the agent's by then ([`Self::add_agent`]).
    pub fn has_pulse(&mut self) -> Result<bool, LoadError> {
        /// One run may be left out, where the kernel has preempted the program.
        const TRIES: usize = 3;
        let pulse = self.maps.array::<u64>("PULSE")?;
        let count = || pulse.get(&0, 0).map_err(|error| map_error("PULSE", "read", &error));
        for _ in 0..TRIES {
            let before = count()?;
            // That it was refused would be no pulse either.
            let _ = rustix::process::test_kill_process(rustix::process::getpid());
            if count()? > before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is a program that counts it.
    pub fn is_pulse_hooked(&self) -> bool {
        self.hooks().iter().any(|state| state.hook.program == "task_kill" && state.taken.is_ok())
    }

    /// Has ftrace run programs before functions again, if that is what was stopped.
    pub fn restart_ftrace() {
        // What comes of it is looked at, not what the write says.
        let _ = std::fs::write(super::hooks::FTRACE, "1");
    }
}
