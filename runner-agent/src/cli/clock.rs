//! The two clocks: that of the records, which counts from boot, and the wall's.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time of boot, nanoseconds since 1970.
pub(super) fn boot_ns() -> i128 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = i128::from(boot.tv_sec) * 1_000_000_000 + i128::from(boot.tv_nsec);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as i128 - since_boot
}

/// Nanoseconds since boot.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
