//! What this kernel and this process can do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::LoadError;

/// Capabilities that loading and attaching need, with their numbers (`linux/capability.h`).
const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_NET_ADMIN", 12)];
const CAP_SYS_ADMIN: u32 = 21;

/// Names of the capabilities that this process lacks.
pub fn missing_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |number: u32| effective >> number & 1 == 1;
    // CAP_SYS_ADMIN was split into the first two in 5.8 and still stands for them.
    NEEDED
        .into_iter()
        .filter(|&(name, number)| !has(number) && (name == "CAP_NET_ADMIN" || !has(CAP_SYS_ADMIN)))
        .map(|(name, _)| name)
        .collect()
}

/// Major and minor number of a kernel's release; nothing where it has another form.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// No limit on locked memory, until dropped. Before 5.11 the kernel counts what maps and programs take against it, for all
/// processes of a user together, and says EPERM: a second agent would be told that the kernel takes no programs.
#[derive(Debug)]
pub struct UnlimitedMemory(Rlimit);

impl UnlimitedMemory {
    /// Lifts the limit. Where that is not granted, whoever loads is told by the kernel.
    pub fn lift() -> Self {
        let before = getrlimit(Resource::Memlock);
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        Self(before)
    }
}

impl Drop for UnlimitedMemory {
    fn drop(&mut self) {
        // The job's command inherits limits, and these are not ours to give it.
        let _ = setrlimit(Resource::Memlock, self.0);
    }
}

/// Refuses early, in words, what the kernel would refuse with EPERM.
pub fn require_privileges() -> Result<(), LoadError> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(LoadError::NotPrivileged { missing }) }
}
