//! `build`: the `runner-agent` binary, with the kernel side inside.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::setup;
use crate::step;
use crate::target::{self, Target};

#[derive(Args, Default)]
pub struct Options {
    /// Optimized and stripped, as it is shipped
    #[arg(long)]
    pub release: bool,
    /// Linked statically against musl, so that one file runs on every distribution
    #[arg(long = "static")]
    pub static_binary: bool,
    /// A static binary for that architecture: x86_64-unknown-linux-musl, aarch64-unknown-linux-musl
    #[arg(long, value_parser = target::named)]
    pub target: Option<&'static Target>,
}

impl Options {
    /// The architecture of a static binary, where one is asked for.
    fn of_static(&self) -> Option<&'static Target> {
        self.target.or_else(|| self.static_binary.then(Target::native))
    }
}

pub fn run(options: &Options) -> Result<()> {
    setup::run(&setup::Options::for_static(options.of_static()))?;
    let binary = binary(options)?;
    println!("{}", binary.display());
    Ok(())
}

/// What runs in guests, and what the test run packs: as a release is, but for what takes long to build.
pub const QUICK: &str = "guest";

/// Profiles of what is shipped, or packed as if it were.
const SHIPPED: [&str; 2] = ["release", QUICK];

/// Builds and says where the binary lies.
pub fn binary(options: &Options) -> Result<PathBuf> {
    with_profile(if options.release { "release" } else { "dev" }, options.of_static())
}

/// Tests of everything but the agent as a whole. Always asked for in these words: what cargo has built for them is built once.
pub fn tests() -> Command {
    let mut cargo = step::cargo("test");
    cargo.args(["--workspace", "--exclude", "end-to-end", "--features", "runner-agent/nats"]);
    cargo
}

/// What the tests run: with everything that a build can have.
pub fn for_tests() -> Result<PathBuf> {
    in_place(&Place::own()?, "dev", None, &["--features", "nats"])
}

/// The same, in any of cargo's profiles.
pub fn with_profile(profile: &str, of_static: Option<&Target>) -> Result<PathBuf> {
    in_place(&Place::own()?, profile, of_static, &[])
}

/// Where sources lie, and where what is built of them goes.
pub struct Place {
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Place {
    /// This workspace, and the target directory of this program.
    pub fn own() -> Result<Self> {
        Ok(Self { root: step::root(), target: step::target_dir()? })
    }
}

/// The same, of a copy of the sources; `more` goes to cargo. A static binary is one of an architecture.
pub fn in_place(place: &Place, profile: &str, of_static: Option<&Target>, more: &[&str]) -> Result<PathBuf> {
    let mut cargo = step::cargo("build");
    cargo.current_dir(&place.root).arg("--target-dir").arg(&place.target);
    cargo.args(["--package", "runner-agent", "--bin", "runner-agent", "--profile", profile]).args(more);
    if SHIPPED.contains(&profile) {
        cargo.arg("--locked");
        name_folders(&mut cargo, place)?;
    }
    let mut folder = place.target.clone();
    if let Some(target) = of_static {
        target.choose(&mut cargo);
        folder.push(target.triple);
    }
    step::run("building runner-agent", &mut cargo)?;
    // Cargo's folder for its profile `dev` has an older name.
    folder.push(if profile == "dev" { "debug" } else { profile });
    Ok(folder.join("runner-agent"))
}

/// Has compilers write names for the folders of this machine: of the same sources the same binary comes out in any folder, and
/// it tells nobody where that was.
fn name_folders(cargo: &mut Command, place: &Place) -> Result<()> {
    const FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";
    // Cargo takes one of the two and leaves the other.
    let mut flags: Vec<String> = match (env::var(FLAGS), env::var("RUSTFLAGS")) {
        (Ok(encoded), _) => encoded.split('\x1f').map(str::to_owned).collect(),
        (_, Ok(plain)) => plain.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let outside = kernel_toolchain::outside(&kernel_toolchain::find_compiler()?);
    let mut folders: Vec<(&Path, &str)> = outside.iter().map(|(folder, name)| (folder.as_path(), *name)).collect();
    folders.extend([(place.root.as_path(), "/runner-agent"), (&place.target, "/target")]);
    flags.extend(kernel_toolchain::remapped(&folders));
    flags.retain(|flag| !flag.is_empty());
    cargo.env(FLAGS, flags.join("\x1f"));
    Ok(())
}
