//! `package`: the Debian package of the static binary, if asked for an RPM too, the bill of materials, and whether each is what it
//! should be.
//!
//! x86-64 alone: what the agent knows of system calls is of that architecture (docs/tiers.md), and signal-hook's file in C
//! would take a compiler for another one, which the Rust toolchain's own linker is not.

mod checks;
mod contents;
mod daemonset;
mod reproduce;
mod sbom;
mod sources;
mod stage;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Place};
use crate::setup::{self, STATIC_TARGET};
use crate::step;
use crate::suite::{Suite, table, total};

#[derive(Args)]
pub struct Options {
    /// Also an RPM; its tool takes minutes to build the first time
    #[arg(long)]
    rpm: bool,
    /// Of a binary that is not optimized: for looking at the package, not for shipping it
    #[arg(long)]
    quick: bool,
    /// Also the same again from a copy of the sources in another folder, and whether each byte is the same; as long as a build
    /// from nothing takes
    #[arg(long)]
    reproduce: bool,
}

/// What a package is built from and where it lies.
pub struct Package {
    /// The static binary.
    pub binary: PathBuf,
    /// The Debian package.
    pub deb: PathBuf,
    /// An RPM of the same files, where one was made.
    pub rpm: Option<PathBuf>,
    /// What the binary is made of, beside the package.
    pub sbom: PathBuf,
    /// The package, unpacked as it would be below `/`; its control files are in `DEBIAN`.
    pub root: tempfile::TempDir,
}

const RELEASE: &str = "release";

/// Not optimized, for what is thrown away after the checks.
const QUICK: &str = "packing";

pub fn run(options: &Options) -> Result<()> {
    let needs = setup::Options { with_static: true, with_package: true, with_rpm: options.rpm, ..Default::default() };
    setup::run(&needs)?;
    let profile = if options.quick { QUICK } else { RELEASE };
    let package = make(profile, options.rpm)?;
    let mut suites = vec![checks::all(&package)];
    if options.reproduce {
        suites.push(reproduce::suite(&package, profile));
    }
    println!("\n{}\n{}", table(&suites), total(&suites));
    for made in [Some(&package.deb), package.rpm.as_ref(), Some(&package.sbom)].into_iter().flatten() {
        println!("{}", made.display());
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
    let needs = setup::Options { with_static: true, with_package: true, with_rpm: true, ..Default::default() };
    if let Err(error) = setup::run(&needs) {
        let skipped = vec![("the package and all its checks".to_owned(), format!("{error:#}"))];
        return (Suite { name: NAME.to_owned(), skipped, ..Suite::default() }, None);
    }
    match make(QUICK, setup::has_rpm()) {
        Ok(package) => (checks::all(&package), Some(package.deb)),
        Err(error) => {
            eprintln!("{error:#}");
            (Suite::check("package: building it", false), None)
        }
    }
}

fn make(profile: &str, with_rpm: bool) -> Result<Package> {
    let place = Place::own()?;
    let binary = build::in_place(&place, profile, true, &[])?;
    let deb = pack(&place, &binary, profile, &folder(profile)?)?;
    let root = tempfile::tempdir().context("a folder to unpack the package in")?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--raw-extract").arg(&deb).arg(root.path());
    step::output(&mut unpack)?;
    let sbom = deb.with_extension("cdx.json");
    eprintln!("── writing down what it is made of");
    sbom::write(&root.path().join("usr/bin/runner-agent"), &sbom)?;
    let rpm = if with_rpm { Some(rpm(profile)?) } else { None };
    Ok(Package { binary, deb, rpm, sbom, root })
}

/// Packs what was built in a place for Debian, into a folder.
fn pack(place: &Place, binary: &Path, profile: &str, folder: &Path) -> Result<PathBuf> {
    stage::generate(binary)?;
    let mut deb = step::cargo("deb");
    deb.current_dir(&place.root).env("CARGO_TARGET_DIR", &place.target).env("SOURCE_DATE_EPOCH", stage::epoch());
    deb.args(["--quiet", "--no-build", "--locked", "--strip", "--package", "runner-agent"]);
    deb.args(["--target", STATIC_TARGET, "--profile", profile, "--output"]).arg(folder);
    if profile == QUICK {
        deb.arg("--fast");
    }
    step::run("packing it for Debian", &mut deb)?;
    Ok(folder.join(format!("runner-agent_{}_amd64.deb", env!("CARGO_PKG_VERSION"))))
}

/// From the same staged files as the other.
fn rpm(profile: &str) -> Result<PathBuf> {
    let folder = folder(profile)?;
    let mut rpm = step::cargo("generate-rpm");
    rpm.args(["--package", "runner-agent", "--target", STATIC_TARGET, "--profile", profile, "--target-dir"]);
    rpm.env("SOURCE_DATE_EPOCH", stage::epoch()).arg(step::target_dir()?).arg("--output").arg(&folder);
    step::run("packing it as an RPM", &mut rpm)?;
    Ok(folder.join(format!("runner-agent-{}-1.x86_64.rpm", env!("CARGO_PKG_VERSION"))))
}

/// Where packages lie. A quick one has a folder of its own, so that none is shipped for the other.
fn folder(profile: &str) -> Result<PathBuf> {
    let folder = step::target_dir()?.join(if profile == RELEASE { "package" } else { "package/quick" });
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
