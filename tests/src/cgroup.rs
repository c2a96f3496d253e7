//! A cgroup of the test's own, beside those of the jobs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{host, wait_until};

/// Goes away with this value, after ending what is in it.
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A new, empty one, outside every job.
    pub fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = host::own_cgroup().join(format!("runner-agent-e2e-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup can be made");
        Self { path }
    }

    /// A new, empty one below the root of the hierarchy, with a limit of memory; in guests alone, because the root hands on that
    /// controller from then on. Where processes stand in a cgroup it can't be handed on, and they do in that of the tests.
    pub fn with_memory() -> Self {
        assert!(host::is_guest(), "the root of this machine's hierarchy isn't the tests'");
        let root = host::cgroup_mount().expect("checked by `missing`");
        fs::write(root.join("cgroup.subtree_control"), "+memory").expect("the root has that controller");
        let path = root.join(format!("runner-agent-e2e-memory-{}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup can be made");
        Self { path }
    }

    /// Lets it have so many bytes more than it has.
    pub fn limit_memory(&self, more: u64) {
        let current = fs::read_to_string(self.path.join("memory.current")).expect("it has a limit of memory");
        let current: u64 = current.trim().parse().expect("bytes are a number");
        fs::write(self.path.join("memory.max"), (current + more).to_string()).expect("a limit can be set");
    }

    /// Takes charge of one that somebody else left.
    pub fn adopt(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it.
    pub fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// Ends every process of a cgroup that is a test's own; one at a time where the kernel (before 5.14) can't end all at once.
pub fn end_all(cgroup: &Path) {
    if fs::write(cgroup.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let members = || {
        let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect::<Vec<_>>()
    };
    wait_until(Duration::from_secs(10), || {
        let found = members();
        for pid in &found {
            let _ = kill_process(*pid, Signal::KILL);
        }
        found.is_empty()
    });
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        end_all(&self.path);
        wait_until(Duration::from_secs(10), || fs::remove_dir(&self.path).is_ok() || !self.path.exists());
    }
}
