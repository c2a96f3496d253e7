//! What this machine can do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Says by how much this machine is slower than the one that deadlines and loads are made for.
pub const SLOWNESS: &str = "RUNNER_AGENT_TEST_SLOWNESS";

/// Set where this machine is a guest that was made for the tests.
pub const GUEST: &str = "RUNNER_AGENT_GUEST";

/// Whether this machine is the tests' own: what could harm another runs here alone.
pub fn is_guest() -> bool {
    std::env::var_os(GUEST).is_some()
}

/// This kernel's release: major and minor.
pub fn kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().expect("a release is text");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().expect("a release begins with a number"), numbers.next().unwrap_or(0))
}

/// How many times slower this machine is: 1, unless whoever runs the tests says otherwise (an emulated guest).
pub fn slowness() -> u32 {
    let told = std::env::var(SLOWNESS).ok();
    told.map_or(1, |text| text.parse().ok().filter(|&factor| factor > 0).expect("the slowness is a positive number"))
}

/// A deadline as this machine needs it.
pub fn patience(deadline: Duration) -> Duration {
    deadline * slowness()
}

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
