//! A cgroup of the test's own, beside those of the jobs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

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

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        wait_until(Duration::from_secs(10), || fs::remove_dir(&self.path).is_ok() || !self.path.exists());
    }
}
