//! `check`: the quick loop, stopping at the first thing that is wrong.

use anyhow::Result;

use crate::{step, tidy};

pub fn run() -> Result<()> {
    format()?;
    tidy::run()?;
    clippy()?;
    kernel_clippy()?;
    step::run(
        "unit tests",
        step::cargo("test").args(["--quiet", "--workspace", "--exclude", "end-to-end", "--lib", "--bins"]),
    )
}

/// `cargo fmt --check`.
pub fn format() -> Result<()> {
    step::run("format", step::cargo("fmt").args(["--all", "--check"]))
}

/// Clippy for everything that runs on the host.
pub fn clippy() -> Result<()> {
    // Everything with every feature; and what is shipped without them.
    for (what, of) in [
        ("clippy, user side", &["--workspace", "--all-targets", "--features", "runner-agent/nats"][..]),
        ("clippy, the default binary", &["--package", "runner-agent", "--lib", "--bins"]),
    ] {
        step::run(what, step::cargo("clippy").arg("--quiet").args(of).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Clippy for the kernel side on its own target: on the host that crate is an empty program.
pub fn kernel_clippy() -> Result<()> {
    let toolchain = kernel_toolchain::find()?;
    let arch = std::env::consts::ARCH;
    let target_dir = kernel_toolchain::target_dir(&std::env::current_exe()?, arch);
    let mut clippy = toolchain.clippy_command(&step::root().join(kernel_toolchain::PACKAGE), &target_dir, arch);
    step::run("clippy, kernel side", clippy.args(["--quiet", "--", "-D", "warnings"]))
}
