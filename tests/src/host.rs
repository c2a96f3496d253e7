//! What this machine can do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Why no end-to-end test can run here, if that is so.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("loading programs into the kernel needs root".to_owned());
    }
    cgroup_mount().is_none().then(|| "no cgroup v2 hierarchy is mounted".to_owned())
}

/// Where the v2 hierarchy is mounted.
pub fn cgroup_mount() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// The cgroup that this process stands in, and in which an agent makes those of its jobs.
pub fn own_cgroup() -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").expect("this process has a cgroup");
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    cgroup_mount().expect("checked by `missing`").join(own)
}

/// Whether the helper can do that trick here; some kernels are built without it.
pub fn can(act: &str, arguments: &[&str]) -> bool {
    Command::new(act).args(arguments).output().is_ok_and(|output| output.status.success())
}
