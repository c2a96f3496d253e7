//! What this kernel and this process can do.

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

/// Refuses early, in words, what the kernel would refuse with EPERM.
pub fn require_privileges() -> Result<(), LoadError> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(LoadError::NotPrivileged { missing }) }
}
