//! Secret files: which they are, whose they are, and how the kernel can find them cheaply.

mod exact;
mod pattern;
mod reader;
pub mod smallest;
mod watch;

use std::sync::Arc;

use globset::{GlobSet, GlobSetBuilder};

use super::{Mode, Severity};

pub use exact::{DirectoryEntry, ExactKey, ExactPaths};
pub use pattern::PatternError;
pub use reader::{Reader, ReaderPattern, ReaderPatternError};
pub use watch::WatchList;

use pattern::Pattern;

/// Where things are on this runner, as far as secrets are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Home directories; `~` in a pattern stands for each of them. Absolute, without a slash at the end.
    pub homes: Vec<String>,
    /// Directories the job's own code lies in. Programs from there own no secret.
    pub workspaces: Vec<String>,
}

/// What a policy says about one kind of secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSpec {
    /// `<policy>/<class>`, or `<policy>/secrets.files[<index>]` for an entry without a class.
    pub id: Arc<str>,
    /// What it is, for people.
    pub title: Arc<str>,
    /// How bad it is when somebody else reads it.
    pub severity: Severity,
    /// Path patterns: absolute, `~/…` or `**/…`.
    pub patterns: Vec<String>,
    /// Programs that may read it.
    pub readers: Vec<ReaderPattern>,
    /// Why the entry is there.
    pub why: Arc<str>,
}

/// One kind of secret, with its patterns made ready for this runner.
#[derive(Clone, Debug)]
pub struct SecretClass {
    /// See [`SecretSpec::id`].
    pub id: Arc<str>,
    /// See [`SecretSpec::title`].
    pub title: Arc<str>,
    /// See [`SecretSpec::severity`].
    pub severity: Severity,
    /// Patterns as written.
    pub patterns: Vec<String>,
    /// See [`SecretSpec::readers`].
    pub readers: Vec<ReaderPattern>,
    /// See [`SecretSpec::why`].
    pub why: Arc<str>,
    compiled: Vec<Pattern>,
    place: Arc<Place>,
}

impl SecretClass {
    /// Makes the patterns of `spec` ready; every pattern that can't be used is reported, by its index.
    pub fn new(spec: SecretSpec, place: &Arc<Place>) -> Result<Self, Vec<(usize, PatternError)>> {
        let mut compiled = Vec::new();
        let mut errors = Vec::new();
        for (index, text) in spec.patterns.iter().enumerate() {
            match Pattern::expand(text, place) {
                Ok(patterns) => compiled.extend(patterns),
                Err(error) => errors.push((index, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let SecretSpec { id, title, severity, patterns, readers, why } = spec;
        Ok(Self { id, title, severity, patterns, readers, why, compiled, place: Arc::clone(place) })
    }

    /// Whether the reader is an owner of this kind of secret.
    ///
    /// A program under a temporary directory, deleted since, without a file, or from the job's own workspace is never an
    /// owner, whatever its name.
    pub fn may_read(&self, reader: &Reader) -> bool {
        self.readers.iter().any(|pattern| pattern.matches(reader, &self.place))
    }

    /// Whether each of its files has an owner of its own, the process that it is about.
    pub fn is_per_process(&self) -> bool {
        self.readers.iter().any(ReaderPattern::is_own)
    }
}

/// Checks that a pattern can be used at all, without knowing the runner.
pub fn check_pattern(text: &str) -> Result<(), PatternError> {
    let place = Place { homes: vec!["/home/runner".to_owned()], ..Place::default() };
    Pattern::expand(text, &place).map(drop)
}

/// The secret-file part of a policy.
#[derive(Clone, Debug, Default)]
pub struct SecretPolicy {
    /// In order: the first class that matches a path is its class.
    pub classes: Vec<SecretClass>,
    /// What happens when somebody else reads such a file.
    pub on_read: Mode,
    set: GlobSet,
    /// Class of each glob in `set`.
    class_of: Vec<usize>,
}

impl SecretPolicy {
    /// A policy of these classes, in this order.
    pub fn new(classes: Vec<SecretClass>, on_read: Mode) -> Self {
        let mut builder = GlobSetBuilder::new();
        let mut class_of = Vec::new();
        for (index, class) in classes.iter().enumerate() {
            for pattern in &class.compiled {
                builder.add(pattern.glob().clone());
                class_of.push(index);
            }
        }
        // Each glob compiled on its own before; together they can only fail by size, which the budget of a policy file
        // keeps far away.
        let set = builder.build().expect("globs that compiled one by one compile together");
        Self { classes, on_read, set, class_of }
    }

    /// The class of an absolute path, if it is secret.
    pub fn classify(&self, path: &str) -> Option<&SecretClass> {
        // Ascending, and the globs stand in the order of their classes: the first hit is the first class.
        let first = |path: &str| self.set.matches(path).first().copied();
        let below_home = |home: &String| {
            let rest = path.strip_prefix(home.as_str())?;
            rest.starts_with('/').then(|| format!("~{rest}"))
        };
        let homes = self.classes.first().map_or(&[][..], |class| &class.place.homes);
        let hits = homes.iter().filter_map(below_home).filter_map(|path| first(&path));
        let hit = first(path).into_iter().chain(hits).min()?;
        self.classes.get(self.class_of[hit])
    }

    /// Number of a class by its id, counted from 0.
    pub fn number_of(&self, id: &str) -> Option<usize> {
        self.classes.iter().position(|class| *class.id == *id)
    }

    /// The classes whose owner a program is, one bit each; classes beyond the sixty-fourth have none. What is a process's own
    /// (`self`) depends on the file, and is not among them.
    pub fn readable_by(&self, exe: &str, argv: &[String]) -> u64 {
        let reader = Reader { exe, argv, pid: 0, path: "" };
        let bits = self.classes.iter().take(64).enumerate();
        bits.filter(|(_, class)| class.may_read(&reader)).fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// What the kernel has to look for so that it misses no path that [`Self::classify`] accepts.
    pub fn watch(&self) -> WatchList {
        let mut list = WatchList::default();
        for pattern in self.classes.iter().flat_map(|class| &class.compiled) {
            list.add(pattern);
        }
        list
    }

    /// Classes concatenate, those of `self` first; the stricter mode wins.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.classes.extend(other.classes);
        Self::new(self.classes, self.on_read.max(other.on_read))
    }
}

#[cfg(test)]
mod tests;
