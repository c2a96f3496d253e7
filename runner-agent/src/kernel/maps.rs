//! The kernel side's maps by name, whether they were made by loading the probes or taken over from pins.

use std::collections::BTreeMap;
use std::path::Path;

use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, Pod};

use super::LoadError;

/// Maps that user space works with, and that a successor needs.
pub(super) const NAMES: [&str; 26] = [
    "RING_CRITICAL",
    "RING_BULK",
    "COUNTERS",
    "TASKS",
    "JOBS",
    "LATEST_JOB",
    "NAME_FILTER",
    "NAMES",
    "FILES",
    "JOB_RULES",
    "EGRESS",
    "EXES",
    "RULE_COUNTS",
    "ASKERS",
    "SECRETS",
    "SECRET_MARKS",
    "LEARNT",
    "SECRET_PATHS",
    "READERS",
    "TICKETS",
    "GUARDS",
    "GUARDED",
    "AGENTS",
    "PULSE",
    "SERVICES",
    "PLATFORM",
];

/// The maps.
#[derive(Debug)]
pub(super) struct Maps(BTreeMap<&'static str, Map>);

impl Maps {
    /// Takes them from an object that was loaded.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let taken = NAMES.map(|name| Ok((name, ebpf.take_map(name).ok_or_else(|| missing(name))?)));
        taken.into_iter().collect::<Result<_, _>>().map(Self)
    }

    /// Opens those that were pinned in a folder.
    pub(super) fn open(folder: &Path) -> Result<Self, LoadError> {
        let opened = NAMES.map(|name| {
            let data =
                MapData::from_pin(folder.join(name)).map_err(|error| map_error(name, "open the pin of", &error))?;
            Ok((name, Map::from_map_data(data).map_err(|error| map_error(name, "open the pin of", &error))?))
        });
        opened.into_iter().collect::<Result<_, _>>().map(Self)
    }

    /// Pins them in a folder.
    pub(super) fn pin(&self, folder: &Path) -> Result<(), LoadError> {
        self.0
            .iter()
            .try_for_each(|(name, map)| map.pin(folder.join(name)).map_err(|error| map_error(name, "pin", &error)))
    }

    fn get(&mut self, name: &'static str) -> Result<&mut Map, LoadError> {
        self.0.get_mut(name).ok_or_else(|| missing(name))
    }

    /// A map of its own handle, for another thread.
    pub(super) fn split(&mut self, name: &'static str) -> Result<Map, LoadError> {
        self.0.remove(name).ok_or_else(|| missing(name))
    }

    pub(super) fn ring(&mut self, name: &'static str) -> Result<RingBuf<MapData>, LoadError> {
        RingBuf::try_from(self.split(name)?).map_err(|error| map_error(name, "open", &error))
    }

    pub(super) fn per_cpu<V: Pod>(&mut self, name: &'static str) -> Result<PerCpuArray<&mut MapData, V>, LoadError> {
        PerCpuArray::try_from(self.get(name)?).map_err(|error| map_error(name, "open", &error))
    }

    pub(super) fn hash<K: Pod, V: Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<HashMap<&mut MapData, K, V>, LoadError> {
        HashMap::try_from(self.get(name)?).map_err(|error| map_error(name, "open", &error))
    }

    pub(super) fn array<V: Pod>(&mut self, name: &'static str) -> Result<Array<&mut MapData, V>, LoadError> {
        Array::try_from(self.get(name)?).map_err(|error| map_error(name, "open", &error))
    }
}

/// The rule map, with a handle of its own.
pub(super) fn trie<K: Pod, V: Pod>(map: Map) -> Result<LpmTrie<MapData, K, V>, LoadError> {
    LpmTrie::try_from(map).map_err(|error| map_error("EGRESS", "open", &error))
}

pub(super) fn missing(name: &'static str) -> LoadError {
    LoadError::Object(format!("the object has no {name}").into())
}

pub(super) fn map_error(map: &'static str, action: &'static str, error: &dyn std::error::Error) -> LoadError {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        detail.push_str(": ");
        detail.push_str(&cause.to_string());
        source = cause.source();
    }
    LoadError::Map { map, action, detail }
}
