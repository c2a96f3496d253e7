//! `package`: the Debian package of the static binary, if asked for an RPM too, the bill of materials, and whether each is what it
//! should be. For another architecture the binary in it is asked the same, in an emulator.

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

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, Place, QUICK};
use crate::setup;
use crate::step;
use crate::suite::{Suite, reasons, table, total};
use crate::target::{self, Target};

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
    /// For that architecture instead of this machine's: x86_64-unknown-linux-musl, aarch64-unknown-linux-musl
    #[arg(long, value_parser = target::named)]
    target: Option<&'static Target>,
}

/// What a package is built from and where it lies.
pub struct Package {
    /// What it is for.
    pub target: &'static Target,
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

impl Package {
    /// Runs the binary, wherever it lies.
    pub fn command(&self, binary: &Path) -> Command {
        self.target.command(binary)
    }

    /// Runs the binary as it was built.
    pub fn agent(&self) -> Command {
        self.command(&self.binary)
    }
}

const RELEASE: &str = "release";

pub fn run(options: &Options) -> Result<()> {
    let target = options.target.unwrap_or_else(Target::native);
    let needs = setup::Options::for_static(Some(target));
    setup::run(&setup::Options { with_package: true, with_rpm: options.rpm, ..needs })?;
    let profile = if options.quick { QUICK } else { RELEASE };
    let package = make(target, profile, options.rpm)?;
    let mut suites = vec![checks::all(&package)];
    if options.reproduce {
        suites.push(reproduce::suite(&package, profile));
    }
    println!("\n{}\n{}", table(&suites), total(&suites));
    for made in [Some(&package.deb), package.rpm.as_ref(), Some(&package.sbom)].into_iter().flatten() {
        println!("{}", made.display());
    }
    reasons(&suites).context("the package is not what it should be")
}

/// What `cargo xtask test` makes of it: one row, and the package. What can't be had here is one thing that could not run.
pub fn suite(target: &'static Target) -> (Suite, Option<PathBuf>) {
    eprintln!("── the package for {}", target.debian);
    let needs = setup::Options::for_static(Some(target));
    if let Err(error) = setup::run(&setup::Options { with_package: true, with_rpm: true, ..needs }) {
        let skipped = vec![("the package and all its checks".to_owned(), format!("{error:#}"))];
        return (Suite { name: name(target), skipped, ..Suite::default() }, None);
    }
    match make(target, QUICK, setup::has_rpm()) {
        Ok(package) => (checks::all(&package), Some(package.deb)),
        Err(error) => (Suite::check(&format!("{}: building it", name(target)), Err(error)), None),
    }
}

/// The row of one architecture's package.
fn name(target: &Target) -> String {
    format!("package for {}", target.debian)
}

fn make(target: &'static Target, profile: &str, with_rpm: bool) -> Result<Package> {
    let place = Place::own()?;
    let binary = build::in_place(&place, profile, Some(target), &[])?;
    let deb = pack(&place, target, &binary, profile, &folder(profile)?)?;
    let root = tempfile::tempdir().context("a folder to unpack the package in")?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--raw-extract").arg(&deb).arg(root.path());
    step::output(&mut unpack)?;
    let sbom = deb.with_extension("cdx.json");
    eprintln!("── writing down what it is made of");
    sbom::write(target, &root.path().join("usr/bin/runner-agent"), &sbom)?;
    let rpm = if with_rpm { Some(rpm(target, profile)?) } else { None };
    Ok(Package { target, binary, deb, rpm, sbom, root })
}

/// Packs what was built in a place for Debian, into a folder.
fn pack(place: &Place, target: &Target, binary: &Path, profile: &str, folder: &Path) -> Result<PathBuf> {
    stage::generate(target, binary)?;
    let mut deb = step::cargo("deb");
    deb.current_dir(&place.root).env("CARGO_TARGET_DIR", &place.target).env("SOURCE_DATE_EPOCH", stage::epoch());
    deb.args(["--quiet", "--no-build", "--locked", "--strip", "--package", "runner-agent"]);
    deb.args(["--target", target.triple, "--profile", profile, "--output"]).arg(folder);
    if profile == QUICK {
        deb.arg("--fast");
    }
    step::run("packing it for Debian", &mut deb)?;
    Ok(folder.join(format!("runner-agent_{}_{}.deb", env!("CARGO_PKG_VERSION"), target.debian)))
}

/// From the same staged files as the other.
fn rpm(target: &Target, profile: &str) -> Result<PathBuf> {
    let folder = folder(profile)?;
    let mut rpm = step::cargo("generate-rpm");
    rpm.args(["--package", "runner-agent", "--target", target.triple, "--profile", profile, "--target-dir"]);
    rpm.env("SOURCE_DATE_EPOCH", stage::epoch()).arg(step::target_dir()?).arg("--output").arg(&folder);
    step::run("packing it as an RPM", &mut rpm)?;
    Ok(folder.join(format!("runner-agent-{}-1.{}.rpm", env!("CARGO_PKG_VERSION"), target.arch)))
}

/// Where packages lie. A quick one has a folder of its own, so that none is shipped for the other.
fn folder(profile: &str) -> Result<PathBuf> {
    let folder = step::target_dir()?.join(if profile == RELEASE { "package" } else { "package/quick" });
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
