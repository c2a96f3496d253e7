//! Secret paths that the kernel side can recognise by itself, and how many it can't.

use runner_agent_common::guard::{SECRET_DEPTH, TAIL, WHOLE, chain};
use runner_agent_common::map::{hash_name, part};

use super::SecretPolicy;

/// What of a policy's patterns is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactPaths {
    /// Hash of a path or of a path's end, and number of its class, counted from 0; in the order of the classes.
    pub keys: Vec<(u64, usize)>,
    /// Patterns with wildcards: what they mean is known from its first open on.
    pub by_pattern: Vec<String>,
    /// Directories in which files of such patterns lie; those that are there at the start are known from then on.
    pub directories: Vec<String>,
}

impl SecretPolicy {
    /// The patterns as the kernel side compares them.
    pub fn exact(&self) -> ExactPaths {
        let mut exact = ExactPaths::default();
        for (number, class) in self.classes.iter().enumerate() {
            for pattern in &class.compiled {
                if let Some(key) = pattern.tail().and_then(|tail| key(tail, TAIL)) {
                    exact.keys.push((key, number));
                } else if pattern.literals().is_empty() {
                    exact.by_pattern.push(pattern.glob().glob().to_owned());
                    exact.directories.extend(pattern.directories(&class.place.homes));
                } else {
                    exact.keys.extend(pattern.literals().iter().filter_map(|path| Some((key(path, WHOLE)?, number))));
                }
            }
        }
        exact
    }
}

/// The key of a path; nothing for one that is deeper than the kernel side follows.
fn key(path: &str, kind: u64) -> Option<u64> {
    let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if components.len() > SECRET_DEPTH {
        return None;
    }
    let upwards = components.iter().rev().enumerate();
    let hash = upwards.fold(0, |below, (index, name)| {
        let part = if index == 0 { part::NAME } else { part::DIRECTORY };
        chain(below, hash_name(part, name.as_bytes()))
    });
    Some(hash ^ kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_differ_anywhere_have_different_keys() {
        let paths = ["/a/b", "/a/c", "/c/b", "/b/a", "/a/b/c", "/b"];
        let keys: std::collections::BTreeSet<_> = paths.iter().map(|path| key(path, WHOLE)).collect();
        assert_eq!(keys.len(), paths.len());
        assert_ne!(key("/a/b", WHOLE), key("a/b", TAIL), "an end is no whole path");
        assert_eq!(key(&"/a".repeat(SECRET_DEPTH + 1), WHOLE), None);
    }
}
