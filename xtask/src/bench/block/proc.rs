//! What `/proc` tells of an agent: how long its programs ran, how large it is, how long its threads ran.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// `enum bpf_attach_type` of the programs that a verdict could slow down.
const HOOKS: [(&str, &str); 5] =
    [("10", "connect4"), ("14", "sendmsg4"), ("1", "packet_out"), ("0", "packet_in"), ("2", "sock_create")];

/// `BPF_MAP_TYPE_LPM_TRIE`: the rule map.
const TRIE: &str = "11";

/// An agent, by its process.
pub struct Agent {
    pid: u32,
}

/// Nanoseconds and runs of each program so far. All zero unless the kernel counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Programs(BTreeMap<&'static str, (u64, u64)>);

/// How large an agent is, in KiB.
#[derive(Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Resident at most.
    pub peak: u64,
    /// In the kernel, for entries of the rule map.
    pub rules: u64,
}

impl Agent {
    /// The agent whose job this process is.
    pub fn parent() -> Result<Self> {
        let pid = rustix::process::getppid().context("this process has a parent")?;
        Ok(Self { pid: pid.as_raw_nonzero().get().unsigned_abs() })
    }

    fn descriptors(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(format!("/proc/{}/fdinfo", self.pid)).context("the agent's descriptors")?;
        Ok(entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect())
    }

    /// How long its programs on hooks ran.
    pub fn programs(&self) -> Result<Programs> {
        Ok(Programs::read(&self.descriptors()?))
    }

    /// How large it is.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the agent's status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).context("a size in KiB")
        };
        let maps = self.descriptors()?;
        let trie = maps.iter().find(|text| field(text, "map_type") == Some(TRIE));
        let rules: u64 = trie.and_then(|text| field(text, "memlock")?.parse().ok()).unwrap_or_default();
        Ok(Memory { resident: kib("VmRSS")?, peak: kib("VmHWM")?, rules: rules / 1024 })
    }

    /// Nanoseconds that its threads ran, by name.
    pub fn threads(&self) -> Result<BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid)).context("the agent's threads")?.flatten() {
            let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let ran = read("schedstat").split(' ').next().and_then(|text| text.parse::<f64>().ok());
            *found.entry(read("comm").trim().to_owned()).or_default() += ran.unwrap_or_default();
        }
        Ok(found)
    }
}

impl Memory {
    pub fn json(&self) -> Value {
        json!({ "resident": self.resident, "peak": self.peak, "rules": self.rules })
    }
}

impl Programs {
    fn read(descriptors: &[String]) -> Self {
        let mut found = Self::default();
        for (attach_type, name) in HOOKS {
            let is_hook = |text: &&String| field(text, "attach_type") == Some(attach_type);
            let ids = descriptors.iter().filter(is_hook).filter_map(|link| field(link, "prog_id"));
            for id in ids {
                // A program's own descriptor has its counts; that of a link has its id alone.
                let is_program =
                    |text: &&String| field(text, "prog_id") == Some(id) && field(text, "link_id").is_none();
                let program = descriptors.iter().find(is_program);
                let count = |name| program.and_then(|text| field(text, name)?.parse().ok()).unwrap_or_default();
                found.0.insert(name, (count("run_time_ns"), count("run_cnt")));
            }
        }
        found
    }

    /// What was added since.
    pub fn since(&self, before: &Self) -> Self {
        let difference = |(&name, &(time, runs)): (&&'static str, &(u64, u64))| {
            let (time_before, runs_before) = before.0.get(name).copied().unwrap_or_default();
            (name, (time - time_before, runs - runs_before))
        };
        Self(self.0.iter().map(difference).collect())
    }

    /// Nanoseconds a run, and runs an operation, of those that ran.
    pub fn json(&self, operations: u64) -> Value {
        let ran = self.0.iter().filter(|(_, (_, runs))| *runs * 4 > operations);
        let each = ran.map(|(name, (time, runs))| {
            let (time, runs) = (*time as f64, *runs as f64);
            ((*name).to_owned(), json!({ "ns": time / runs, "runs": runs / operations as f64 }))
        });
        Value::Object(each.collect::<Map<_, _>>())
    }
}

/// `name:\tvalue` of proc(5).
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_the_hook_that_their_link_hangs_on() {
        let link = "link_type:\tcgroup\nlink_id:\t5\nprog_id:\t77\ncgroup_id:\t9\nattach_type:\t10\n".to_owned();
        let program =
            |time: u64| format!("prog_type:\t18\nprog_id:\t77\nrun_time_ns:\t{time}\nrun_cnt:\t{}\n", time / 100);
        let before = Programs::read(&[link.clone(), program(1000)]);
        let after = Programs::read(&[program(6000), link]);
        assert_eq!(after.since(&before).json(50), json!({ "connect4": { "ns": 100.0, "runs": 1.0 } }));
    }
}
