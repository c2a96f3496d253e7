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
