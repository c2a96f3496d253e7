//! Jobs that a daemon before this one began: keepers look after them since that one has gone.

use std::path::PathBuf;
use std::sync::Arc;

use super::Service;
use crate::agent::succession::{self, Trace};
use crate::kernel::cgroup::is_populated;
use crate::kernel::procfs::Snapshot;

/// Such a job.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// Its name in the log and for everybody.
    pub id: Arc<str>,
    /// Where its log is.
    pub log: Option<PathBuf>,
    /// The socket at which its keeper is asked; nobody listens there if it has none.
    pub desk: PathBuf,
    /// Its cgroup.
    cgroup: PathBuf,
    /// Where cgroups are mounted.
    mount: PathBuf,
}

impl Elsewhere {
    /// Whether a process belongs to the job, or to nobody who could be asked: a root job may open a socket in its keeper's place
    /// where no hook refuses it that.
    pub fn has(&self, pid: u32) -> bool {
        let cgroup = Snapshot::read(pid).map(|snapshot| self.mount.join(snapshot.cgroup.trim_start_matches('/')));
        cgroup.is_none_or(|cgroup| cgroup.starts_with(&self.cgroup))
    }
}

impl Service {
    /// The job of another daemon that a process belongs to.
    pub fn elsewhere(&self, pid: u32) -> Option<Elsewhere> {
        let cgroup = self.cgroup_of(pid)?;
        self.all_elsewhere().find(|elsewhere| cgroup.starts_with(&elsewhere.cgroup))
    }

    /// The job of another daemon with that name.
    pub fn elsewhere_named(&self, id: &str) -> Option<Elsewhere> {
        self.all_elsewhere().find(|elsewhere| &*elsewhere.id == id)
    }

    /// The jobs of other daemons that run and were given to a keeper, which may be gone.
    pub fn kept_elsewhere(&self) -> Vec<Elsewhere> {
        self.all_elsewhere().filter(|elsewhere| elsewhere.desk.exists() && is_populated(&elsewhere.cgroup)).collect()
    }

    fn all_elsewhere(&self) -> impl Iterator<Item = Elsewhere> {
        let own = self.station.hold.as_ref().map(|hold| hold.held.name());
        let mount = &self.station.hierarchy.mount;
        succession::jobs_of_others(&self.station.runtime, own).map(|(Trace { id, log, cgroup }, desk)| Elsewhere {
            id,
            log,
            desk,
            cgroup,
            mount: mount.clone(),
        })
    }
}
