//! The files of a guest whose processors this machine doesn't have: what the tests run of Debian's own packages for that architecture,
//! fetched by name and unpacked, and for the rest the applets of one program.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::archive::{Apt, cache};
use super::cpio::Archive;
use super::unpacked::{MERGED, add, files};
use super::userland::PROGRAMS;
use crate::step;
use crate::target::Target;

/// Where the packages are from: the suite whose programs do what the tests' expected logs say.
const SUITE: &str = "bookworm";

/// The shell and the programs that logs name, and what these are linked to; the rest are applets of the last.
const PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "util-linux",
    "libacl1",
    "libattr1",
    "libc6",
    "libgmp10",
    "libpcre2-8-0",
    "libselinux1",
    "libtinfo6",
    "busybox-static",
];

const BUSYBOX: &str = "usr/bin/busybox";

/// Adds what every guest has.
pub fn add_common<W: Write>(archive: &mut Archive<W>, target: &'static Target) -> Result<()> {
    let files = files(&root(target)?)?;
    for folder in MERGED {
        archive.symlink(&Path::new("/").join(folder), &Path::new("usr").join(folder))?;
    }
    let Some((_, busybox)) = files.iter().find(|(path, _)| path == Path::new(BUSYBOX)) else {
        bail!("{BUSYBOX} is in none of the packages")
    };
    let applets = step::output(target.command(busybox).arg("--list"))?;
    let applets: BTreeSet<&str> = applets.lines().collect();
    for (path, file) in &files {
        if is_wanted(path) {
            add(archive, &Path::new("/").join(path), file)?;
        }
    }
    for name in PROGRAMS {
        let places = ["usr/bin", "usr/sbin"].map(|folder| Path::new("/").join(folder).join(name));
        if !places.iter().any(|place| archive.has(place)) && applets.contains(name) {
            archive.symlink(&places[0], Path::new("busybox"))?;
        }
    }
    Ok(())
}

/// A program that the tests run, or a library that lies where the dynamic linker looks by itself.
fn is_wanted(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // By architecture: `aarch64-linux-gnu`. The dynamic linker itself lies one above.
    let is_library = |folder: &Path| {
        let below = folder.strip_prefix("usr/lib").ok().and_then(Path::to_str);
        below.is_some_and(|name| name.is_empty() || (name.ends_with("-linux-gnu") && !name.contains('/')))
    };
    match path.parent() {
        Some(folder) if ["usr/bin", "usr/sbin"].iter().any(|known| folder == Path::new(known)) => {
            name == "busybox" || PROGRAMS.contains(&name)
        }
        Some(folder) => is_library(folder) && name.contains(".so"),
        None => false,
    }
}

/// What the packages hold, fetched when it isn't there.
fn root(target: &'static Target) -> Result<PathBuf> {
    let folder = cache()?.join(format!("programs-{}", target.debian));
    let root = folder.join("root");
    if !root.is_dir() {
        let packages: Vec<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
        let apt = Apt::of(&folder, SUITE, target)?;
        apt.unpack(&packages, |_| Ok(())).with_context(|| format!("fetching programs for {}", target.debian))?;
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::super::unpacked::merged;
    use super::*;

    #[test]
    fn programs_and_libraries_are_taken_and_what_only_lies_beside_them_is_not() {
        for path in ["bin/bash", "usr/bin/unshare", "lib/ld-linux-aarch64.so.1", "lib/aarch64-linux-gnu/libc.so.6"] {
            assert!(is_wanted(&merged(Path::new(path))), "{path}");
        }
        for path in ["usr/bin/chcon", "usr/lib/aarch64-linux-gnu/gconv/UTF-7.so", "etc/bash.bashrc", "usr/share/doc/a"]
        {
            assert!(!is_wanted(&merged(Path::new(path))), "{path}");
        }
    }
}
