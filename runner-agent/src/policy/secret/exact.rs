//! Secret paths that the kernel side can recognise by itself, and how many it can't.

use runner_agent_common::guard::{SECRET_DEPTH, SecretPath, chain, secret_path};
use runner_agent_common::map::{hash_name, part};

use super::SecretPolicy;

/// What of a policy's patterns is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactPaths {
    /// Paths and ends of paths, in the order of the classes.
    pub keys: Vec<ExactKey>,
    /// Whole paths once more, as a name in a directory: where that exists it is known by identity too.
    pub entries: Vec<DirectoryEntry>,
    /// Patterns with wildcards: what they mean is known from its first open on.
    pub by_pattern: Vec<String>,
    /// Directories in which files of such patterns lie; those that are there at the start are known from then on.
    pub directories: Vec<String>,
}

/// What the kernel side compares, of no job yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactKey {
    /// Hash of the components.
    pub hash: u64,
    /// One of [`secret_path`].
    pub kind: u32,
    /// Number of the class, counted from 0.
    pub class: usize,
}

impl ExactKey {
    /// The same as a job has it.
    pub fn of_job(self, slot: u32) -> SecretPath {
        SecretPath { hash: self.hash, job: slot, kind: self.kind }
    }
}

/// A secret file as a name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Path of the directory.
    pub directory: String,
    /// Hash of the name.
    pub name: u64,
    /// Number of the class, counted from 0.
    pub class: usize,
}

impl SecretPolicy {
    /// The patterns as the kernel side compares them.
    pub fn exact(&self) -> ExactPaths {
        let mut exact = ExactPaths::default();
        for (class, of_class) in self.classes.iter().enumerate() {
            for pattern in &of_class.compiled {
                if let Some(hash) = pattern.tail().and_then(hash_of) {
                    exact.keys.push(ExactKey { hash, kind: secret_path::TAIL, class });
                } else if pattern.literals().is_empty() {
                    exact.by_pattern.push(pattern.glob().glob().to_owned());
                    exact.directories.extend(pattern.directories(&of_class.place.homes));
                } else {
                    let paths = pattern.literals().iter();
                    let whole =
                        |path: &String| Some(ExactKey { hash: hash_of(path)?, kind: secret_path::WHOLE, class });
                    exact.keys.extend(paths.clone().filter_map(whole));
                    exact.entries.extend(paths.filter_map(|path| {
                        let (directory, name) = path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty())?;
                        let name = hash_name(part::NAME, name.as_bytes());
                        Some(DirectoryEntry { directory: directory.to_owned(), name, class })
                    }));
                }
            }
        }
        exact
    }
}

/// The hash of a path; nothing for one that is deeper than the kernel side follows.
fn hash_of(path: &str) -> Option<u64> {
    let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if components.len() > SECRET_DEPTH {
        return None;
    }
    let upwards = components.iter().rev().enumerate();
    Some(upwards.fold(0, |below, (index, name)| {
        let part = if index == 0 { part::NAME } else { part::DIRECTORY };
        chain(below, hash_name(part, name.as_bytes()))
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::secret::{Place, SecretClass, SecretSpec};
    use crate::policy::{Mode, Severity};

    fn class(patterns: &[&str]) -> SecretClass {
        let place = Arc::new(Place { homes: vec!["/home/runner".to_owned()], ..Place::default() });
        let spec = SecretSpec {
            id: "c".into(),
            title: "c".into(),
            severity: Severity::High,
            patterns: patterns.iter().map(|&text| text.to_owned()).collect(),
            readers: Vec::new(),
            why: "test".into(),
        };
        SecretClass::new(spec, &place).unwrap()
    }

    #[test]
    fn a_whole_path_is_a_name_in_a_directory_too_and_an_end_is_none() {
        let policy =
            SecretPolicy::new(vec![class(&["~/.aws/credentials", "**/.npmrc", "/key", "~/.ssh/id_*"])], Mode::Block);
        let exact = policy.exact();
        let kinds: Vec<u32> = exact.keys.iter().map(|key| key.kind).collect();
        assert_eq!(kinds, [secret_path::WHOLE, secret_path::TAIL, secret_path::WHOLE]);
        let name = hash_name(part::NAME, b"credentials");
        assert_eq!(exact.entries, [DirectoryEntry { directory: "/home/runner/.aws".to_owned(), name, class: 0 }]);
        assert_eq!(exact.directories, ["/home/runner/.ssh"]);
    }

    #[test]
    fn paths_that_differ_anywhere_have_different_keys() {
        let paths = ["/a/b", "/a/c", "/c/b", "/b/a", "/a/b/c", "/b"];
        let keys: std::collections::BTreeSet<_> = paths.iter().map(|path| hash_of(path)).collect();
        assert_eq!(keys.len(), paths.len());
        assert_eq!(hash_of(&"/a".repeat(SECRET_DEPTH + 1)), None);
        let key = |kind, job| ExactKey { hash: 1, kind, class: 0 }.of_job(job);
        assert_ne!(key(secret_path::WHOLE, 1), key(secret_path::TAIL, 1), "an end is no whole path");
        assert_ne!(key(secret_path::WHOLE, 1), key(secret_path::WHOLE, 2), "a path of one job is none of another");
    }
}
