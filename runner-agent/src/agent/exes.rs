//! Which files the programs are that rules name: found on the job's PATH before it starts, and known by inode from then on.

use std::path::{Path, PathBuf};

use runner_agent_common::map::FileKey;

use crate::kernel::watch::file_key;
use crate::rules::RuleTable;

/// What the programs of rules are.
#[derive(Debug, Default)]
pub(super) struct ExeFiles {
    /// Each file with the bits of the lists that name it.
    pub(super) files: Vec<(FileKey, u64)>,
    /// Names that nothing on the PATH has: rules for these alone allow nothing.
    pub(super) missing: Vec<String>,
}

impl ExeFiles {
    /// Looks every name up in every directory: a job may call the second one by its path.
    pub(super) fn find(table: &RuleTable, path: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for (index, list) in table.exe_lists().iter().enumerate() {
            for name in list {
                let files: Vec<FileKey> =
                    path.iter().filter_map(|directory| file_key(&directory.join(&*name.0))).collect();
                if files.is_empty() {
                    found.missing.push(name.0.to_string());
                }
                found.files.extend(files.into_iter().map(|file| (file, 1 << (index + 1))));
            }
        }
        found.missing.sort();
        found.missing.dedup();
        found
    }
}

/// The directories of this process's PATH, which the job inherits.
pub(super) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|directory| directory.is_absolute() && *directory != *Path::new("")).collect()
}
