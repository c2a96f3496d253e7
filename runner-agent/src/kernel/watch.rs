//! Turns the policy's watch list into the keys that the open probe asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use runner_agent_common::map::{FILTER_BITS, FILTER_WORDS, FileKey, NameFilter, hash_name, hash_word, part};

use super::LoadError;
use super::load::Kernel;
use super::maps::map_error;
use super::reset::clear;

/// Keys of watched names, directories and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchKeys {
    /// Hashes of names, prefixes, suffixes and directories.
    pub names: BTreeSet<u64>,
    /// Files that exist now, by identity: they are recognised under any name. With each the number of its class of secret,
    /// counted from 0, if it is one.
    pub files: HashMap<FileKey, Option<usize>>,
}

impl WatchKeys {
    /// Watches a file name.
    pub fn name(&mut self, name: &str) {
        self.names.insert(hash_name(part::NAME, name.as_bytes()));
    }

    /// Watches file names by their first three bytes.
    pub fn prefix(&mut self, prefix: [u8; 3]) {
        self.names.insert(hash_word(part::PREFIX, three(prefix)));
    }

    /// Watches file names by their last three bytes.
    pub fn suffix(&mut self, suffix: [u8; 3]) {
        self.names.insert(hash_word(part::SUFFIX, three(suffix)));
    }

    /// Watches what lies in directories of that name, up to three levels down.
    pub fn directory(&mut self, name: &str) {
        self.names.insert(hash_name(part::DIRECTORY, name.as_bytes()));
    }

    /// Watches what lies in this very directory, if it exists, by whatever name it goes.
    pub fn folder(&mut self, path: &Path) {
        let key = any_key(path).filter(|_| path.is_dir());
        self.names.extend(key.map(|directory| hash_word(part::PARENT, directory.inode)));
    }

    /// Watches a file by identity, if it exists and is a file.
    pub fn file(&mut self, path: &Path, class: Option<usize>) {
        self.files.extend(file_key(path).map(|file| (file, class)));
    }

    /// Without files: these come and go with homes.
    #[must_use]
    pub fn names_alone(self) -> Self {
        Self { files: HashMap::new(), ..self }
    }

    /// The first, cheap question as a bit map.
    ///
    /// `generation` must differ from that of every filter before it, and from 0.
    pub fn filter(&self, generation: u64) -> NameFilter {
        let mut filter = NameFilter { generation, words: [0; FILTER_WORDS] };
        let inodes = self.files.keys().map(|file| hash_word(part::INODE, file.inode));
        for hash in self.names.iter().copied().chain(inodes) {
            let bit = hash & (FILTER_BITS - 1);
            filter.words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        filter
    }
}

/// What is watched for each job; with 0 for the slot, for as long as the agent lives.
#[derive(Debug, Default)]
pub(super) struct Watched {
    by_slot: BTreeMap<u32, WatchKeys>,
    /// Of the name filter.
    generation: u64,
}

impl Watched {
    fn names(&self) -> BTreeSet<u64> {
        self.by_slot.values().flat_map(|keys| &keys.names).copied().collect()
    }

    fn files(&self) -> HashMap<FileKey, Option<usize>> {
        self.by_slot.values().flat_map(|keys| &keys.files).map(|(file, class)| (*file, *class)).collect()
    }

    /// The first, cheap question about all of it.
    fn next_filter(&mut self) -> NameFilter {
        self.generation += 1;
        WatchKeys { names: self.names(), files: self.files() }.filter(self.generation << 32)
    }
}

impl Kernel {
    /// Tells the probes what to watch for a job, until a job ends; it may be told more than once.
    pub fn watch(&mut self, slot: u32, keys: &WatchKeys) -> Result<(), LoadError> {
        let there = self.watched.names();
        let known = self.watched.by_slot.entry(slot).or_default();
        known.names.extend(&keys.names);
        known.files.extend(&keys.files);
        let mut names = self.maps.hash::<u64, u32>("NAMES")?;
        for hash in keys.names.difference(&there) {
            names.insert(hash, 1, 0).map_err(|error| map_error("NAMES", "fill", &error))?;
        }
        let mut files = self.maps.hash::<FileKey, u32>("FILES")?;
        for file in keys.files.keys() {
            files.insert(file, 1, 0).map_err(|error| map_error("FILES", "fill", &error))?;
        }
        for (file, class) in &keys.files {
            self.know(slot, *file, *class)?;
        }
        self.put_filter()
    }

    /// Lets go of what was watched for a job alone.
    pub(super) fn unwatch(&mut self, slot: u32) -> Result<(), LoadError> {
        let Some(gone) = self.watched.by_slot.remove(&slot) else { return Ok(()) };
        let (names, files) = (self.watched.names(), self.watched.files());
        let mut map = self.maps.hash::<u64, u32>("NAMES")?;
        gone.names.difference(&names).try_for_each(|name| clear(map.remove(name), "NAMES"))?;
        let mut map = self.maps.hash::<FileKey, u32>("FILES")?;
        for file in gone.files.keys().filter(|file| !files.contains_key(file)) {
            clear(map.remove(file), "FILES")?;
        }
        self.put_filter()
    }

    fn put_filter(&mut self) -> Result<(), LoadError> {
        let next = self.watched.next_filter();
        let mut filter = self.maps.array::<NameFilter>("NAME_FILTER")?;
        filter.set(0, next, 0).map_err(|error| map_error("NAME_FILTER", "fill", &error))
    }
}

/// Identity of the file at a path, if there is one.
pub fn file_key(path: &Path) -> Option<FileKey> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).and_then(|_| any_key(path))
}

/// The same for a directory, a socket, or whatever else lies there.
pub fn any_key(path: &Path) -> Option<FileKey> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let metadata = std::fs::metadata(path).ok()?;
    // stat(2) says of some file systems (overlay, btrfs) another device than the kernel has inside, which is what probes see.
    // The mount table has that one.
    let device = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)
        .ok()
        .filter(|found| found.stx_mask & StatxFlags::MNT_ID.bits() != 0)
        .and_then(|found| super::procfs::device_of_mount(found.stx_mnt_id))
        .unwrap_or_else(|| kernel_device(metadata.dev()));
    Some(FileKey { inode: metadata.ino(), device, reserved: 0 })
}

/// From the device number of stat(2) to the kernel's own.
pub fn kernel_device(device: u64) -> u32 {
    rustix::fs::major(device) << 20 | rustix::fs::minor(device)
}

fn three([a, b, c]: [u8; 3]) -> u64 {
    u64::from(u32::from_le_bytes([a, b, c, 0]))
}
