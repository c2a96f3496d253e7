//! Turns the policy's watch list into the keys that the open probe asks for.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use runner_agent_common::map::{FILTER_BITS, FILTER_WORDS, FileKey, NameFilter, hash_name, hash_word, part};

/// Keys of watched names, directories and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchKeys {
    /// Hashes of names, prefixes, suffixes and directories.
    pub names: BTreeSet<u64>,
    /// Files that exist now, by identity: they are recognised under any name.
    pub files: Vec<FileKey>,
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

    /// Watches a file by identity, if it exists and is a file.
    pub fn file(&mut self, path: &Path) {
        self.files.extend(file_key(path));
    }

    /// The first, cheap question as a bit map.
    ///
    /// `generation` must differ from that of every filter before it, and from 0.
    pub fn filter(&self, generation: u64) -> NameFilter {
        let mut filter = NameFilter { generation, words: [0; FILTER_WORDS] };
        let inodes = self.files.iter().map(|file| hash_word(part::INODE, file.inode));
        for hash in self.names.iter().copied().chain(inodes) {
            let bit = hash & (FILTER_BITS - 1);
            filter.words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        filter
    }
}

/// Identity of the file at a path, if there is one.
pub fn file_key(path: &Path) -> Option<FileKey> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(FileKey { inode: metadata.ino(), device: kernel_device(metadata.dev()), reserved: 0 })
}

/// From the device number of stat(2) to the kernel's own.
pub fn kernel_device(device: u64) -> u32 {
    rustix::fs::major(device) << 20 | rustix::fs::minor(device)
}

fn three([a, b, c]: [u8; 3]) -> u64 {
    u64::from(u32::from_le_bytes([a, b, c, 0]))
}
