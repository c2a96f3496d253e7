//! Whether the same sources make the same binary and the same package, byte for byte, in another folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Package, pack, sources};
use crate::build::{self, Place};
use crate::step;
use crate::suite::Suite;
use crate::target::Target;

/// Builds both again from a copy, with nothing of what was built before, and compares.
pub fn suite(package: &Package, profile: &str) -> Suite {
    const NAME: &str = "built again elsewhere";
    let mut suite = Suite { name: NAME.to_owned(), ..Suite::default() };
    let again = match Again::make(package.target, profile) {
        Ok(again) => again,
        Err(error) => {
            suite.take("a copy of the sources is built and packed", Err(error));
            return suite;
        }
    };
    let pairs = [
        ("the binary is the same, byte for byte", &package.binary, &again.binary),
        ("the package for Debian is the same, byte for byte", &package.deb, &again.deb),
    ];
    for (name, first, second) in pairs {
        suite.take(name, same(first, second));
    }
    if !suite.failed.is_empty() {
        eprintln!("{NAME}: what differs was left in {}", again.folder.keep().display());
    }
    suite
}

/// What came of the copy, as long as this lives.
struct Again {
    binary: PathBuf,
    deb: PathBuf,
    folder: tempfile::TempDir,
}

impl Again {
    fn make(target: &Target, profile: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("built-again-").tempdir().context("a folder for the copy")?;
        let place = Place { root: folder.path().join("sources"), target: folder.path().join("elsewhere") };
        sources::copy(&place.root)?;
        let binary = build::in_place(&place, profile, Some(target), &[])?;
        let deb = pack(&place, target, &binary, profile, folder.path())?;
        Ok(Self { binary, deb, folder })
    }
}

fn same(first: &Path, second: &Path) -> Result<()> {
    let digests = step::output(Command::new("sha256sum").args([first, second]))?;
    print!("{digests}");
    let (first, second) = (fs::read(first)?, fs::read(second)?);
    if first == second {
        return Ok(());
    }
    let at = first.iter().zip(&second).position(|(a, b)| a != b).unwrap_or_else(|| first.len().min(second.len()));
    bail!("they have {} and {} bytes, and differ from byte {at} on", first.len(), second.len());
}
