//! What an agent leaves for its successor about a job: a folder that only root can read, and a lock that is held for as
//! long as the agent lives, however it ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock's file name.
const LOCK: &str = "lock";

/// The file with what a successor needs to know.
const RECORD: &str = "job.json";

/// The same while it is written.
const NEW_RECORD: &str = "job.json.new";

/// The socket of whoever keeps the job.
const DESK: &str = "keeper.sock";

/// How the name of a folder begins that nobody holds yet; one that stays so is of an agent that died there, and of no job.
const UNHELD: &str = ".unheld-";

/// A job's folder, held by this agent. It goes away with the value.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
    name: String,
    _lock: File,
    keep: bool,
}

impl Held {
    /// Everything that agents put there.
    pub(super) const NAMES: [&str; 4] = [LOCK, RECORD, NEW_RECORD, DESK];

    /// Where it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder of a job below `runtime`, and holds it.
    pub(super) fn create(runtime: &Path, name: &str) -> io::Result<Self> {
        let folder = jobs(runtime).join(name);
        // Under another name until it is locked: whoever looks for orphans would take a job that nobody holds yet.
        let unheld = jobs(runtime).join(format!("{UNHELD}{name}"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&unheld)?;
        let lock = File::create(unheld.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(&unheld, &folder)?;
        Ok(Self { folder, name: name.to_owned(), _lock: lock, keep: false })
    }

    /// Holds the folder of a job whose agent is gone.
    pub(super) fn take(runtime: &Path, name: &str) -> io::Result<Self> {
        let folder = jobs(runtime).join(name);
        let lock = File::open(folder.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, name: name.to_owned(), _lock: lock, keep: false })
    }

    /// What lies in it.
    pub(super) fn files(&self) -> [PathBuf; 2] {
        [self.folder.join(RECORD), self.folder.join(LOCK)]
    }

    /// Where its keeper is asked.
    pub(super) fn desk(&self) -> PathBuf {
        self.folder.join(DESK)
    }

    /// Name of the job.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes what a successor needs to know, whole or not at all.
    pub(super) fn write(&self, text: &[u8]) -> io::Result<()> {
        let (new, place) = (self.folder.join(NEW_RECORD), self.folder.join(RECORD));
        fs::write(&new, text)?;
        fs::rename(new, place)
    }

    /// What the agent before wrote.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(RECORD))
    }

    /// Leaves the folder for a successor.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!("can't remove {}: {error}", self.folder.display());
        }
    }
}

/// The jobs whose agent is gone, each held from here on: of several agents that look at once, one gets it.
pub(super) fn orphans(runtime: &Path) -> io::Result<Vec<Held>> {
    let entries = match fs::read_dir(jobs(runtime)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    let is_held = |entry: &fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(UNHELD.as_bytes());
    for entry in entries.flatten().filter(is_held) {
        let folder = entry.path();
        let lock = match File::open(folder.join(LOCK)) {
            Ok(lock) => lock,
            // Its owner has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // Its owner may have removed it between our opening and our locking.
        if folder.join(LOCK).exists() {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push(Held { folder, name, _lock: lock, keep: false });
        }
    }
    Ok(found)
}

/// What every agent but `own` has left, as files, each with the socket of its keeper; what stands in them is read without a lock.
pub(super) fn records(runtime: &Path, own: Option<&str>) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let folders = fs::read_dir(jobs(runtime)).into_iter().flatten().flatten();
    let others = folders.filter(move |entry| own.is_none_or(|own| entry.file_name() != *own));
    others.map(|entry| (entry.path().join(RECORD), entry.path().join(DESK)))
}

fn jobs(runtime: &Path) -> PathBuf {
    runtime.join("jobs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_an_orphan_only_when_nobody_holds_it_and_then_for_one_finder() {
        let runtime = tempfile::tempdir().unwrap();
        assert!(orphans(runtime.path()).unwrap().is_empty());
        let unheld = jobs(runtime.path()).join(".unheld-job-0");
        fs::create_dir_all(&unheld).unwrap();
        File::create(unheld.join(LOCK)).unwrap();
        assert!(orphans(runtime.path()).unwrap().is_empty(), "its agent is about to hold it");
        let held = Held::create(runtime.path(), "job-1").unwrap();
        held.write(b"{}").unwrap();
        assert!(orphans(runtime.path()).unwrap().is_empty(), "its agent lives");
        held.keep();
        let first = orphans(runtime.path()).unwrap();
        assert_eq!(first.iter().map(Held::name).collect::<Vec<_>>(), ["job-1"]);
        assert_eq!(first[0].read().unwrap(), b"{}");
        assert!(orphans(runtime.path()).unwrap().is_empty(), "the first finder has it");
        drop(first);
        assert!(orphans(runtime.path()).unwrap().is_empty(), "and cleared it");
    }
}
