//! `build`: the `runner-agent` binary, with the kernel side inside.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::setup::{self, STATIC_TARGET};
use crate::step;

#[derive(Args, Default)]
pub struct Options {
    /// Optimized and stripped, as it is shipped
    #[arg(long)]
    pub release: bool,
    /// Linked statically against musl, so that one file runs on every distribution
    #[arg(long = "static")]
    pub static_binary: bool,
}

pub fn run(options: &Options) -> Result<()> {
    setup::run(&setup::Options { with_static: options.static_binary, ..setup::Options::default() })?;
    let binary = binary(options)?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds and says where the binary lies.
pub fn binary(options: &Options) -> Result<PathBuf> {
    with_profile(if options.release { "release" } else { "dev" }, options.static_binary)
}

/// The same, in any of cargo's profiles.
pub fn with_profile(profile: &str, is_static: bool) -> Result<PathBuf> {
    let mut cargo = step::cargo("build");
    cargo.args(["--package", "runner-agent", "--bin", "runner-agent", "--profile", profile]);
    let mut place = step::target_dir()?;
    if is_static {
        cargo.args(["--target", STATIC_TARGET]);
        place.push(STATIC_TARGET);
    }
    step::run("building runner-agent", &mut cargo)?;
    // Cargo's folder for its profile `dev` has an older name.
    place.push(if profile == "dev" { "debug" } else { profile });
    Ok(place.join("runner-agent"))
}
