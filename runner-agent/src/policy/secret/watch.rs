//! What the kernel compares on every open: cheap, and never too little.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::pattern::{DEPTH, Key, Pattern};

/// Keys by which the kernel picks the opens worth reporting; user space then asks
/// [`SecretPolicy::classify`](super::SecretPolicy::classify).
///
/// An open is picked if **any** of the sets has it. Every path that `classify` accepts is picked, and some more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchList {
    /// Basenames, exact.
    pub names: BTreeSet<String>,
    /// First three bytes of the basename.
    pub prefixes: BTreeSet<[u8; 3]>,
    /// Last three bytes of the basename.
    pub suffixes: BTreeSet<[u8; 3]>,
    /// Basenames, exact, of a parent, grandparent or great-grandparent directory.
    pub directories: BTreeSet<String>,
    /// Directories of paths without wildcards that are found by a directory's name alone: by whatever name they go later, what is
    /// in them is picked if they exist at the start.
    pub folders: BTreeSet<PathBuf>,
    /// Paths without wildcards, for marking the inodes of files that exist at the start. They are in the other sets too.
    pub files: BTreeSet<PathBuf>,
}

impl WatchList {
    pub(super) fn add(&mut self, pattern: &Pattern) {
        match pattern.key() {
            Key::Name(name) => drop(self.names.insert(name.clone())),
            Key::Directory(name) => drop(self.directories.insert(name.clone())),
            Key::Prefix(bytes) => drop(self.prefixes.insert(*bytes)),
            Key::Suffix(bytes) => drop(self.suffixes.insert(*bytes)),
        }
        if matches!(pattern.key(), Key::Directory(_)) {
            let above = pattern.literals().iter().filter_map(|path| Path::new(path).parent());
            self.folders.extend(above.map(Path::to_owned));
        }
        self.files.extend(pattern.literals().iter().map(PathBuf::from));
    }

    /// Whether the kernel, given this list, picks an open of `path`: the reference for the filter there.
    pub fn accepts(&self, path: &str) -> bool {
        let mut upwards = path.rsplit('/');
        let name = upwards.next().unwrap_or_default();
        let bytes = name.as_bytes();
        self.names.contains(name)
            || bytes.first_chunk::<3>().is_some_and(|first| self.prefixes.contains(first))
            || bytes.last_chunk::<3>().is_some_and(|last| self.suffixes.contains(last))
            || upwards.take(DEPTH).any(|directory| self.directories.contains(directory))
    }
}
