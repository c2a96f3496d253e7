//! Limits of a container. Those that only take something away are passed on as they are.

use serde_json::Value;

use super::ask::Kind;
use super::json::says_nothing;
use super::judge::{Check, Judge, any};

/// Fields that `create` and `update` have in common.
pub const FIELDS: &[(&str, Check)] = &[
    ("CpuShares", any),
    ("Memory", any),
    ("NanoCpus", any),
    ("CgroupParent", cgroup_parent),
    ("BlkioWeight", any),
    ("CpuPeriod", any),
    ("CpuQuota", any),
    ("CpusetCpus", any),
    ("CpusetMems", any),
    ("Devices", device),
    ("DeviceCgroupRules", device),
    ("DeviceRequests", device),
    ("KernelMemory", any),
    ("KernelMemoryTCP", any),
    ("MemoryReservation", any),
    ("MemorySwap", any),
    ("MemorySwappiness", any),
    ("OomKillDisable", oom_kill_disable),
    ("PidsLimit", any),
    ("Ulimits", any),
    ("CpuCount", any),
    ("CpuPercent", any),
];

fn cgroup_parent(judge: &mut Judge, value: &Value) -> Value {
    let parent = judge.text(value);
    if !parent.is_empty() {
        judge.ask(Kind::CgroupParent, parent);
    }
    value.clone()
}

fn device(judge: &mut Judge, value: &Value) -> Value {
    if !says_nothing(value) {
        judge.ask(Kind::Device, &value.to_string());
    }
    value.clone()
}

/// A container that can't be ended when memory runs out has others ended in its place.
fn oom_kill_disable(judge: &mut Judge, value: &Value) -> Value {
    if !says_nothing(value) {
        judge.ask(Kind::UnknownSetting, "OomKillDisable");
    }
    value.clone()
}
