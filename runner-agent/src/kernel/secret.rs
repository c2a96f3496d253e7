//! Which secret files each job has, and which programs may read them, as the kernel side has it. All of it is a job's own.

use std::collections::{BTreeMap, BTreeSet};

use runner_agent_common::egress::ExeKey;
use runner_agent_common::guard::{GuardRules, LEARNT_SECRETS, ProgramKey, SecretFile, SecretPath, operation};
use runner_agent_common::map::FileKey;

use super::LoadError;
use super::load::Kernel;
use super::maps::map_error;
use super::reset::clear;

/// What is remembered of the maps here.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// How many files each job made known after its start, by slot.
    learnt: BTreeMap<u32, u32>,
    /// Places that are marked for files that no job has any more.
    marked: BTreeSet<u32>,
}

/// Class number of a file that is watched and no secret; the kernel side has the same.
const UNCLASSED: u32 = u32::MAX;

/// Number of a class as the kernel side has it.
fn number_of(class: Option<usize>) -> u32 {
    class.map_or(UNCLASSED, |class| class as u32 + 1)
}

impl Kernel {
    /// Says which paths are secret, and which programs may read which classes in a job.
    pub fn set_readers(
        &mut self,
        slot: u32,
        paths: &[(SecretPath, usize)],
        exes: &[(FileKey, u64)],
    ) -> Result<(), LoadError> {
        let mut secrets = self.maps.hash::<SecretPath, u32>("SECRET_PATHS")?;
        for (path, class) in paths {
            // The first class that has a path is its class.
            let class = number_of(Some(*class)).min(secrets.get(path, 0).unwrap_or(u32::MAX));
            secrets.insert(path, class, 0).map_err(|error| map_error("SECRET_PATHS", "fill", &error))?;
        }
        let mut readers = self.maps.hash::<ExeKey, u64>("READERS")?;
        for (file, classes) in exes {
            let key = ExeKey { inode: file.inode, device: file.device, job: slot };
            let known = readers.get(&key, 0).unwrap_or_default();
            readers.insert(key, known | classes, 0).map_err(|error| map_error("READERS", "fill", &error))?;
        }
        let mut learnt = self.maps.hash::<u32, u64>("LEARNT")?;
        learnt.insert(slot, 0, 0).map_err(|error| map_error("LEARNT", "fill", &error))
    }

    /// Lets one program of one process read classes of secret files.
    pub fn permit(&mut self, program: ProgramKey, classes: u64) -> Result<(), LoadError> {
        let mut tickets = self.maps.hash::<ProgramKey, u64>("TICKETS")?;
        tickets.insert(program, classes, 0).map_err(|error| map_error("TICKETS", "fill", &error))
    }

    /// Makes a file known as a job's secret of a class, counted from 0, or as one that is watched only, whatever it is called, until
    /// the job ends.
    pub fn know(&mut self, slot: u32, file: FileKey, class: Option<usize>) -> Result<(), LoadError> {
        let key = SecretFile { inode: file.inode, device: file.device, job: slot };
        let mut marks = self.maps.array::<u8>("SECRET_MARKS")?;
        marks.set(key.place(), 1, 0).map_err(|error| map_error("SECRET_MARKS", "fill", &error))?;
        let mut secrets = self.maps.hash::<SecretFile, u32>("SECRETS")?;
        secrets.insert(key, number_of(class), 0).map_err(|error| map_error("SECRETS", "fill", &error))
    }

    /// The same for one that turned out to be secret while its job runs. A job that makes such files without end takes no room of
    /// others: what is too much is told once.
    pub fn learn(&mut self, slot: u32, file: FileKey, class: usize) -> Result<(), LoadError> {
        let key = SecretFile { inode: file.inode, device: file.device, job: slot };
        if self.maps.hash::<SecretFile, u32>("SECRETS")?.get(&key, 0).is_err() {
            let learnt = self.secrets.learnt.entry(slot).or_default();
            *learnt = learnt.saturating_add(1);
            if *learnt == LEARNT_SECRETS + 1 {
                return Err(LoadError::Map {
                    map: "SECRETS",
                    action: "fill",
                    detail: format!(
                        "the agent has made known {LEARNT_SECRETS} secret files of the job in slot {slot}, which is all that it \
                         may; of more, those that only a pattern with wildcards tells are told and not refused"
                    ),
                });
            }
            if *learnt > LEARNT_SECRETS {
                return Ok(());
            }
        }
        self.know(slot, file, Some(class))
    }

    /// Forgets everything that was secret to a job, what the probes came to know included.
    pub(super) fn forget_secrets(&mut self, slot: u32) -> Result<(), LoadError> {
        // First, so that the probes add nothing more.
        clear(self.maps.hash::<u32, u64>("LEARNT")?.remove(&slot), "LEARNT")?;
        self.secrets.learnt.remove(&slot);
        let mut secrets = self.maps.hash::<SecretFile, u32>("SECRETS")?;
        let files: Vec<SecretFile> = secrets.keys().filter_map(Result::ok).filter(|file| file.job == slot).collect();
        files.iter().try_for_each(|file| clear(secrets.remove(file), "SECRETS"))?;
        self.secrets.marked.extend(files.iter().map(SecretFile::place));
        let mut secrets = self.maps.hash::<SecretPath, u32>("SECRET_PATHS")?;
        let paths: Vec<SecretPath> = secrets.keys().filter_map(Result::ok).filter(|path| path.job == slot).collect();
        paths.iter().try_for_each(|path| clear(secrets.remove(path), "SECRET_PATHS"))?;
        self.unmark()
    }

    /// Takes marks away where no job's reads are refused any more. While there is one, the probes may be about to mark the same place.
    fn unmark(&mut self) -> Result<(), LoadError> {
        const REFUSED: u32 = 1 << operation::READ_SECRET;
        let guards = self.maps.hash::<u32, GuardRules>("GUARDS")?;
        if guards.iter().filter_map(Result::ok).any(|(_, rules)| rules.denies & REFUSED != 0) {
            return Ok(());
        }
        let mut marks = self.maps.array::<u8>("SECRET_MARKS")?;
        std::mem::take(&mut self.secrets.marked)
            .into_iter()
            .try_for_each(|place| marks.set(place, 0, 0).map_err(|error| map_error("SECRET_MARKS", "clear", &error)))
    }
}
