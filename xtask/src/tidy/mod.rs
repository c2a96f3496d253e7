//! `tidy`: the rules of this project that no other tool knows. All problems are reported at once, each with its place.
//!
//! The rules themselves are data where they can be: [`rules`] holds the tables with their argued exceptions.

mod length;
mod order;
mod rules;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::step;

/// A committed text file.
pub struct File {
    /// From the workspace's root, with slashes.
    pub path: String,
    pub text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }
}

/// One broken rule: where, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub line: usize,
    pub what: String,
}

pub fn run() -> Result<()> {
    eprintln!("── tidy");
    let files = files(&step::root())?;
    let mut problems = length::check(&files);
    problems.extend(order::check(&files));
    problems.extend(rules::ROOMS.iter().flat_map(|room| words::check_room(room, &files)));
    problems.extend(rules::WORDS.iter().flat_map(|word| words::check_word(word, &files)));
    problems.extend(words::check_places(&files));
    for Problem { path, line, what } in &problems {
        eprintln!("{path}:{line}: {what}");
    }
    if !problems.is_empty() {
        bail!("tidy: {} broken rules in {} files read", problems.len(), files.len());
    }
    eprintln!("{}", length::summary(&files));
    Ok(())
}

/// Every text file that is committed, or would be with the next `git add`.
fn files(root: &Path) -> Result<Vec<File>> {
    let paths = listed(root).unwrap_or_else(|_| walked(root, root));
    let mut files = Vec::new();
    for path in paths {
        let absolute = root.join(&path);
        if !absolute.is_file() {
            continue;
        }
        let bytes = fs::read(&absolute).with_context(|| path.clone())?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

fn listed(root: &Path) -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    Ok(step::output(&mut git)?.lines().map(str::to_owned).collect())
}

/// Without git (an unpacked archive): everything but what is built.
fn walked(root: &Path, directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let built = path.join("CACHEDIR.TAG").is_file() || path.ends_with(".git") || path.ends_with("target");
            if !built && !path.is_symlink() {
                found.extend(walked(root, &path));
            }
        } else if let Ok(path) = path.strip_prefix(root) {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}
