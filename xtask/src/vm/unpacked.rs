//! What was unpacked from packages, as files of a guest.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cpio::Archive;

/// Folders that are links into `usr` since 2023, and that packages of before still have files in.
pub const MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// A file, or a link as it is.
pub fn add<W: Write>(archive: &mut Archive<W>, path: &Path, file: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(file).with_context(|| file.display().to_string())?;
    if metadata.is_symlink() {
        archive.symlink(path, &fs::read_link(file)?)?;
    } else {
        archive.file(path, metadata.permissions().mode(), &fs::read(file)?)?;
    }
    Ok(())
}

/// Every file that was unpacked: its path in the guest, below `/`, and where it lies here.
pub fn files(root: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if let Ok(below) = path.strip_prefix(root) {
                found.push((merged(below), path.clone()));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Where a file of a package lies in a guest, below `/`.
pub fn merged(path: &Path) -> PathBuf {
    if MERGED.iter().any(|folder| path.starts_with(folder)) { Path::new("usr").join(path) } else { path.to_owned() }
}
