//! The rule map as user space works with it: filled from a policy, from answers, and emptied of what has expired.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData, MapError};
use runner_agent_common::egress::{Asker, AskerKey, RuleEntry, RuleKey};

use super::LoadError;
use super::maps::map_error;
use super::reset::was_missing;
use crate::rules::{Change, LearnError, RuleTable};

/// Why an answer's addresses are not in force.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// There is no room.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// The map refused.
    #[error("the rule map refused an entry: {0}")]
    Map(String),
}

/// The rules of one job in the kernel, shared by the agent's threads.
#[derive(Clone)]
pub struct JobEgress(Arc<Mutex<Filled>>);

struct Filled {
    table: RuleTable,
    map: Arc<Mutex<RuleMap>>,
}

/// The map, which jobs share.
pub(super) type RuleMap = LpmTrie<MapData, RuleKey, RuleEntry>;

fn write(map: &Mutex<RuleMap>, changes: &[Change]) -> Result<(), MapError> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    for change in changes {
        match change {
            Change::Put(bits, key, entry) => map.insert(&Key::new(*bits, *key), entry, 0)?,
            Change::Remove(bits, key) => match map.remove(&Key::new(*bits, *key)) {
                Err(error) if !was_missing(&error) => return Err(error),
                Ok(()) | Err(_) => {}
            },
        }
    }
    Ok(())
}

impl JobEgress {
    /// Writes the policy's own entries. A map that is full is an error; nothing of the job has started yet.
    pub(super) fn fill(table: RuleTable, map: Arc<Mutex<RuleMap>>) -> Result<Self, LoadError> {
        let changes = table.entries()?;
        write(&map, &changes).map_err(|error| map_error("EGRESS", "fill", &error))?;
        Ok(Self(Arc::new(Mutex::new(Filled { table, map }))))
    }

    /// Takes over what another agent has filled: addresses that it learnt stay learnt until they expire.
    pub(super) fn adopt(mut table: RuleTable, map: Arc<Mutex<RuleMap>>) -> Result<Self, LoadError> {
        {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = map.iter().filter_map(Result::ok);
            table.restore(entries.map(|(key, entry)| (key.data(), entry)));
        }
        let current = table.current()?;
        write(&map, &current).map_err(|error| map_error("EGRESS", "fill", &error))?;
        Ok(Self(Arc::new(Mutex::new(Filled { table, map }))))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Filled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the job reach addresses by these rules (indices into `EgressPolicy::allow`) until then, nanoseconds since boot.
    /// In force when this returns.
    pub fn learn(&self, admitted: &[(IpAddr, &[usize], u64)]) -> Result<(), FillError> {
        let mut filled = self.locked();
        let changes = filled.table.learn(admitted)?;
        write(&filled.map, &changes).map_err(|error| FillError::Map(error.to_string()))
    }

    /// Takes expired addresses out. The kernel side ignores them from their moment on; this makes room.
    pub fn forget(&self, now_ns: u64) -> Result<(), FillError> {
        let mut filled = self.locked();
        let changes = filled.table.forget(now_ns);
        write(&filled.map, &changes).map_err(|error| FillError::Map(error.to_string()))
    }

    /// Takes everything of the job out.
    pub(super) fn clear(&self) -> Result<(), LoadError> {
        let filled = self.locked();
        let gone: Vec<Change> =
            filled.table.all_keys().into_iter().map(|(bits, key)| Change::Remove(bits, key)).collect();
        write(&filled.map, &gone).map_err(|error| map_error("EGRESS", "clear", &error))
    }

    /// Whether the policy's entries are in the map as they were written; those that are not are written again. Returns how
    /// many were not.
    pub fn repair(&self) -> Result<usize, LoadError> {
        let filled = self.locked();
        let entries = filled.table.current()?;
        let wrong: Vec<Change> = {
            let map = filled.map.lock().unwrap_or_else(PoisonError::into_inner);
            let is_wrong = |change: &Change| match change {
                Change::Put(bits, key, entry) => map.get(&Key::new(*bits, *key), 0).ok().as_ref() != Some(entry),
                Change::Remove(..) => false,
            };
            entries.into_iter().filter(is_wrong).collect()
        };
        write(&filled.map, &wrong).map_err(|error| map_error("EGRESS", "repair", &error))?;
        Ok(wrong.len())
    }
}

/// Who asked the resolver, by the port that the question came from.
#[derive(Clone)]
pub struct Askers(pub(super) Arc<HashMap<MapData, AskerKey, Asker>>);

impl Askers {
    /// The asker behind a port, if the kernel side saw it.
    pub fn get(&self, key: AskerKey) -> Option<Asker> {
        self.0.get(&key, 0).ok()
    }
}
