//! A path pattern: braces and `~` written out, a bounded depth, and the key by which the kernel finds it.

use globset::{Glob, GlobBuilder};

use super::Place;

/// How many directories above a file the kernel looks at, and so how deep a `**` at the end reaches.
pub const DEPTH: usize = 3;
/// A pattern becomes at most this many after braces, homes and depth are written out.
const EXPANSIONS: usize = 256;

/// Why a path pattern can't be used. Each message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither absolute, nor `~/`, nor `**/`.
    #[error("{0:?} is relative; start it with `/`, `~/` or `**/`")]
    Relative(String),
    /// Not a glob.
    #[error("{0:?} is no path pattern: {1}")]
    Glob(String, String),
    /// `.` and `..` never occur in the paths that the kernel reports.
    #[error("{0:?} has the component {1:?}, which no reported path has; write the path without it")]
    Dots(String, String),
    /// Nothing to look for.
    #[error(
        "{0:?} can't be watched: the kernel needs a literal file name, its first or last three characters, or a literal \
         directory at most three above it; name one"
    )]
    NoKey(String),
    /// Too many alternatives.
    #[error("{0:?} stands for more than {EXPANSIONS} patterns; split it, or use fewer braces")]
    TooMany(String),
    /// Braces inside braces, or not closed.
    #[error("{0:?} has braces that are nested or not closed; write each alternative as `{{a,b}}`")]
    Braces(String),
}

/// What the kernel compares to notice a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The basename.
    Name(String),
    /// The basename of one of the three nearest directories above the file.
    Directory(String),
    /// The first three bytes of the basename.
    Prefix([u8; 3]),
    /// The last three bytes of the basename.
    Suffix([u8; 3]),
}

/// One pattern, written out.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Over a path as [`super::SecretPolicy::classify`] sees it: below a home directory it starts with `~/`.
    glob: Glob,
    key: Key,
    /// The paths themselves, one for each home directory, if nothing in the pattern is a wildcard.
    literals: Vec<String>,
}

/// Basenames that ordinary builds open now and then; a hidden directory is the better key where there is one.
#[rustfmt::skip]
const COMMON_NAMES: &[&str] = &[
    "access-token", "apps.json", "auth.json", "cli.toml", "config", "credentials", "credentials.json", "default.toml", "env",
    "gradle.properties", "hosts.json", "hosts.yml", "id.json", "profiles.yml", "rc", "settings.xml", "token", "wallet.dat",
];

/// Basenames that ordinary builds open all the time; almost any directory is the better key.
const EVERYDAY_NAMES: &[&str] =
    &["config.json", "config.toml", "config.xml", "config.yaml", "config.yml", "data.json", "settings.json"];

/// Directories that hold much else; they are the last resort as a key.
#[rustfmt::skip]
const COMMON_DIRECTORIES: &[&str] = &[
    ".cache", ".cargo", ".config", ".git", ".gradle", ".local", ".m2", "bin", "build", "builds", "cache", "certs", "client",
    "conf", "config", "containers", "data", "default", "dev", "etc", "home", "hooks", "kubernetes", "lib", "log", "mnt", "opt",
    "pki", "plugins", "private", "proc", "project", "registry", "root", "run", "secrets", "share", "shm", "src", "ssl", "state",
    "sys", "temp", "tls", "tmp", "tokens", "usr", "var", "work",
];

/// Ends of names that files of every build have.
const COMMON_SUFFIXES: &[&[u8; 3]] = &[b"aml", b"crt", b"log", b"oml", b"onf", b"pem", b"son", b"txt", b"xml", b"yml"];

impl Pattern {
    /// Writes `text` out: `{a,b}` becomes each alternative, and `/**` at the end one to three levels of `*`, as deep as
    /// the kernel looks. `~` stays: one pattern serves all home directories.
    pub fn expand(text: &str, place: &Place) -> Result<Vec<Self>, PatternError> {
        let own = || text.to_owned();
        if let Some(dots) = text.split('/').find(|part| matches!(*part, "." | "..")) {
            return Err(PatternError::Dots(own(), dots.to_owned()));
        }
        let mut found = Vec::new();
        for plain in braces(text)? {
            if !["/", "~/", "**/"].iter().any(|root| plain.starts_with(root)) {
                return Err(PatternError::Relative(own()));
            }
            for (tail, bounded) in depths(&plain) {
                // What `~` stands for is no key: every file in a home directory lies below it. Keyed even without a home, so
                // that a pattern is right or wrong regardless of the machine.
                let Some(key) = key_of(tail.strip_prefix("~/").unwrap_or(&tail), bounded) else {
                    return Err(PatternError::NoKey(own()));
                };
                let glob = GlobBuilder::new(&tail)
                    .literal_separator(true)
                    .build()
                    .map_err(|error| PatternError::Glob(own(), error.kind().to_string()))?;
                let literals = match tail.strip_prefix("~/") {
                    _ if !is_literal(&tail) => Vec::new(),
                    Some(rest) => place.homes.iter().map(|home| format!("{home}/{rest}")).collect(),
                    None => vec![tail],
                };
                found.push(Self { glob, key, literals });
                if found.len() > EXPANSIONS {
                    return Err(PatternError::TooMany(own()));
                }
            }
        }
        Ok(found)
    }

    /// The compiled pattern.
    pub fn glob(&self) -> &Glob {
        &self.glob
    }

    /// What the kernel compares.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The paths, if the pattern is one.
    pub fn literals(&self) -> &[String] {
        &self.literals
    }

    /// What a path ends in, if that is all that the pattern says: `a/b` of `**/a/b`.
    pub fn tail(&self) -> Option<&str> {
        self.glob.glob().strip_prefix("**/").filter(|rest| is_literal(rest))
    }

    /// The directory in which everything lies that the pattern means, below each home for `~`, if only the name has wildcards.
    pub fn directories(&self, homes: &[String]) -> Vec<String> {
        let Some((directory, _)) = self.glob.glob().rsplit_once('/') else { return Vec::new() };
        if !is_literal(directory) || !self.literals.is_empty() {
            return Vec::new();
        }
        match directory.strip_prefix('~') {
            Some(rest) => homes.iter().map(|home| format!("{home}{rest}")).collect(),
            None => vec![directory.to_owned()],
        }
    }
}

fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// Writes out `{a,b}`. The glob crate knows braces too, but a key belongs to each alternative.
fn braces(text: &str) -> Result<Vec<String>, PatternError> {
    let mut done = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, after) = (&rest[..open], &rest[open + 1..]);
        let close = after.find('}').ok_or_else(|| PatternError::Braces(text.to_owned()))?;
        let inside = &after[..close];
        if inside.contains('{') || before.contains('}') {
            return Err(PatternError::Braces(text.to_owned()));
        }
        let alternatives: Vec<&str> = inside.split(',').collect();
        if done.len() * alternatives.len() > EXPANSIONS {
            return Err(PatternError::TooMany(text.to_owned()));
        }
        done =
            done.iter().flat_map(|head| alternatives.iter().map(move |tail| format!("{head}{before}{tail}"))).collect();
        rest = &after[close + 1..];
    }
    if rest.contains('}') {
        return Err(PatternError::Braces(text.to_owned()));
    }
    for head in &mut done {
        head.push_str(rest);
    }
    Ok(done)
}

/// `dir/**` as `dir/*`, `dir/*/*`, `dir/*/*/*`; anything else as it is. With each, how many components at its end are
/// that bounded tail.
fn depths(text: &str) -> Vec<(String, usize)> {
    match text.strip_suffix("/**") {
        Some(root) => (1..=DEPTH).map(|depth| (format!("{root}{}", "/*".repeat(depth)), depth)).collect(),
        None => vec![(text.to_owned(), 0)],
    }
}

/// The most selective thing every matching path has in common.
fn key_of(text: &str, bounded: usize) -> Option<Key> {
    let components: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let (name, above) = components.split_last()?;
    let mut best: Option<(u32, Key)> = None;
    let mut offer = |score: u32, key: Key| {
        if best.as_ref().is_none_or(|(known, _)| score > *known) {
            best = Some((score, key));
        }
    };
    if bounded == 0 {
        if is_literal(name) {
            let score = match name {
                name if EVERYDAY_NAMES.contains(name) => 25,
                name if COMMON_NAMES.contains(name) => 40,
                _ => 100,
            };
            offer(score, Key::Name((*name).to_owned()));
        } else if !name.contains("**") {
            let meta = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\');
            let head = name.split(meta).next().unwrap_or_default().as_bytes();
            let tail = name.rsplit(meta).next().unwrap_or_default().as_bytes();
            // The fixed part counts as such only if all of it lies outside a character class, which the split ensures.
            if let Some(first) = head.first_chunk::<3>() {
                offer(60, Key::Prefix(*first));
            }
            if let Some(last) = tail.last_chunk::<3>() {
                offer(if COMMON_SUFFIXES.contains(&last) { 10 } else { 50 }, Key::Suffix(*last));
            }
        }
    }
    // Up to three directories, as long as the distance to the file is known: a `**` in between leaves it open.
    for directory in above.iter().rev().take(DEPTH) {
        if *directory == "**" || directory.contains("**") {
            break;
        }
        if is_literal(directory) {
            // A hidden directory is one program's own; any other name is some project's source folder too.
            let score = match directory.starts_with('.') {
                _ if COMMON_DIRECTORIES.contains(directory) => 20,
                true => 80,
                false => 30,
            };
            offer(score, Key::Directory((*directory).to_owned()));
        }
    }
    best.map(|(_, key)| key)
}
