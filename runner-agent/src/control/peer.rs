//! Who asks: what the kernel says of the process at the other end, and what that process was started with.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use crate::identity::{self, Environment, JobIdentity};
use crate::kernel::procfs::Snapshot;
use crate::text::base_name;

/// Levels of parents that are looked at for a worker.
const MOST_ANCESTORS: usize = 64;

/// The process at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) pid: u32,
    pub(super) uid: u32,
}

impl Peer {
    /// What it was started with, as the kernel has it: the process waits for its answer.
    pub(super) fn environ(self) -> Result<Vec<u8>, String> {
        let path = format!("/proc/{}/environ", self.pid);
        fs::read(&path).map_err(|error| format!("{path} can't be read: {error}"))
    }

    /// Which job it stands for.
    pub(super) fn identity(self, environment: &Environment) -> Result<JobIdentity, String> {
        let payload = self.payload(environment)?;
        identity::identify(environment, payload.as_deref()).map_err(|error| error.to_string())
    }

    /// The event that GitHub's runner has written down. Only a plain file of the peer's own or root's, so that nobody has the
    /// daemon read for him what he can't read himself.
    fn payload(self, environment: &Environment) -> Result<Option<Vec<u8>>, String> {
        let path = match environment.text("GITHUB_EVENT_PATH") {
            Ok(Some(path)) if !path.is_empty() => path,
            Ok(_) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let cannot = |what: &dyn std::fmt::Display| format!("GITHUB_EVENT_PATH is {path:?}: {what}");
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file: File = match fs::OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(&error)),
        };
        let metadata = file.metadata().map_err(|error| cannot(&error))?;
        if !metadata.is_file() || (metadata.uid() != self.uid && metadata.uid() != 0) {
            return Err(cannot(&"it is no file of the user's own"));
        }
        let mut bytes = Vec::new();
        file.take(identity::MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
        Ok(Some(bytes))
    }

    /// The process whose descendants run the job's steps: the one that was named, the nearest ancestor that is called like the
    /// provider's, or else whoever started the client.
    pub(super) fn worker(self, asked: Option<u32>, names: &[&str]) -> Result<u32, String> {
        let ancestors = self.ancestors();
        let worker = match asked {
            // Root may name any process; others the ones that they descend from.
            Some(pid) if self.uid == 0 || ancestors.iter().any(|process| process.pid == pid) => pid,
            Some(pid) => {
                return Err(format!(
                    "--worker {pid} is no ancestor of the process that asks (pid {}); a job is its worker's descendants",
                    self.pid
                ));
            }
            None => {
                let is_called_so = |process: &&Snapshot| names.contains(&base_name(&process.program.exe));
                let found = ancestors.iter().find(is_called_so).or(ancestors.first());
                let found = found.map(|process| process.pid);
                found.ok_or("nothing of who started the client is in /proc; name the worker with --worker")?
            }
        };
        if worker <= 1 || worker == self.pid {
            return Err(format!(
                "pid {worker} can't be a job's worker; name the process that runs the job's steps with --worker"
            ));
        }
        Ok(worker)
    }

    /// Parents, nearest first.
    fn ancestors(self) -> Vec<Snapshot> {
        let mut found: Vec<Snapshot> = Vec::new();
        let mut next = Snapshot::read(self.pid).map(|own| own.parent);
        while let Some(process) = next.filter(|pid| *pid > 0 && found.len() < MOST_ANCESTORS).and_then(Snapshot::read) {
            next = Some(process.parent);
            found.push(process);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_an_ancestor_and_found_by_name_or_as_the_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = std::process::id();
        let name = base_name(&Snapshot::read(own).unwrap().program.exe).to_owned();
        let peer = Peer { pid: child.id(), uid: 12345 };
        assert_eq!(peer.worker(None, &[]), Ok(own));
        assert_eq!(peer.worker(None, &[&name]), Ok(own));
        assert_eq!(peer.worker(Some(own), &[]), Ok(own));
        assert!(peer.worker(Some(child.id()), &[]).unwrap_err().contains("is no ancestor"));
        assert!(Peer { uid: 0, ..peer }.worker(Some(1), &[]).unwrap_err().contains("can't be a job's worker"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
