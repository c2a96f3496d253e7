//! `package`: the Debian package of the static binary, if asked for an RPM too, and whether each is what it should be.
//!
//! x86-64 alone: what the agent knows of system calls is of that architecture (docs/tiers.md), and signal-hook's file in C
//! would take a compiler for another one, which the Rust toolchain's own linker is not.

mod checks;
mod contents;
mod daemonset;
mod stage;
mod unit;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::setup::{self, STATIC_TARGET};
use crate::suite::{Suite, table, total};
use crate::{build, step};

#[derive(Args)]
pub struct Options {
    /// Also an RPM; its tool takes minutes to build the first time
    #[arg(long)]
    rpm: bool,
    /// Of a binary that is not optimized: for looking at the package, not for shipping it
    #[arg(long)]
    quick: bool,
}

/// What a package is built from and where it lies.
pub struct Package {
    /// The static binary.
    pub binary: PathBuf,
    /// The Debian package.
    pub deb: PathBuf,
    /// The same, unpacked as it would be below `/`; its control files are in `DEBIAN`.
    pub root: tempfile::TempDir,
}

const RELEASE: &str = "release";

/// Not optimized, for what is thrown away after the checks.
const QUICK: &str = "packing";

pub fn run(options: &Options) -> Result<()> {
    let needs = setup::Options { with_static: true, with_package: true, with_rpm: options.rpm, ..Default::default() };
    setup::run(&needs)?;
    let profile = if options.quick { QUICK } else { RELEASE };
    let package = make(profile)?;
    let mut suites = vec![checks::all(&package)];
    let mut made = vec![package.deb.clone()];
    if options.rpm {
        let rpm = rpm(profile)?;
        let holds = contents::files_and_rights_of_rpm(&rpm);
        if let Err(error) = &holds {
            eprintln!("the RPM: {error:#}");
        }
        suites.push(Suite::check("the RPM holds what it should, with the rights it should", holds.is_ok()));
        made.push(rpm);
    }
    println!("\n{}\n{}", table(&suites), total(&suites));
    for package in made {
        println!("{}", package.display());
    }
    if suites.iter().any(|suite| !suite.failed.is_empty()) {
        bail!("the package is not what it should be; what failed stands above");
    }
    Ok(())
}

/// What `cargo xtask test` makes of it: one row, and the package. What can't be had here is one thing that could not run.
pub fn suite() -> (Suite, Option<PathBuf>) {
    const NAME: &str = "package";
    eprintln!("── the package");
    let needs = setup::Options { with_static: true, with_package: true, ..Default::default() };
    if let Err(error) = setup::run(&needs) {
        let skipped = vec![("the package and all its checks".to_owned(), format!("{error:#}"))];
        return (Suite { name: NAME.to_owned(), skipped, ..Suite::default() }, None);
    }
    match make(QUICK) {
        Ok(package) => (checks::all(&package), Some(package.deb)),
        Err(error) => {
            eprintln!("{error:#}");
            (Suite::check("package: building it", false), None)
        }
    }
}

fn make(profile: &str) -> Result<Package> {
    let binary = build::with_profile(profile, true)?;
    stage::generate(&binary)?;
    let folder = folder(profile)?;
    let mut deb = step::cargo("deb");
    deb.args(["--quiet", "--no-build", "--locked", "--strip", "--package", "runner-agent"]);
    deb.args(["--target", STATIC_TARGET, "--profile", profile, "--output"]).arg(&folder);
    if profile == QUICK {
        deb.arg("--fast");
    }
    step::run("packing it for Debian", &mut deb)?;
    let deb = folder.join(format!("runner-agent_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    let root = tempfile::tempdir().context("a folder to unpack the package in")?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--raw-extract").arg(&deb).arg(root.path());
    step::output(&mut unpack)?;
    Ok(Package { binary, deb, root })
}

/// From the same staged files as the other.
fn rpm(profile: &str) -> Result<PathBuf> {
    let folder = folder(profile)?;
    let mut rpm = step::cargo("generate-rpm");
    rpm.args(["--package", "runner-agent", "--target", STATIC_TARGET, "--profile", profile, "--target-dir"]);
    rpm.arg(step::target_dir()?).arg("--output").arg(&folder);
    step::run("packing it as an RPM", &mut rpm)?;
    Ok(folder.join(format!("runner-agent-{}-1.x86_64.rpm", env!("CARGO_PKG_VERSION"))))
}

/// Where packages lie. A quick one has a folder of its own, so that none is shipped for the other.
fn folder(profile: &str) -> Result<PathBuf> {
    let folder = step::target_dir()?.join(if profile == RELEASE { "package" } else { "package/quick" });
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
