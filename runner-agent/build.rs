//! Builds the kernel side and leaves its object at `$OUT_DIR/runner-agent.bpf.o`, for the user side to include.
//!
//! A piece of the toolchain that is missing ends the build with the one sentence that says what supplies it.

#![allow(clippy::print_stderr, reason = "a build script's errors are what it prints")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

/// What the object depends on, from the workspace's root.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "runner-agent-ebpf/Cargo.toml",
    "runner-agent-ebpf/src",
    "runner-agent-common/Cargo.toml",
    "runner-agent-common/src",
];

fn main() -> ExitCode {
    let toolchain = match kernel_toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => {
            // Cargo prints this as its error and stops; a failing exit code would bury it in the script's whole output.
            println!("cargo::error={missing}");
            return ExitCode::SUCCESS;
        }
    };
    match build(&toolchain) {
        Ok(()) => ExitCode::SUCCESS,
        // Here the whole output is wanted: the compiler's own errors stand in it.
        Err(error) => {
            eprintln!("the kernel side of runner-agent was not built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(toolchain: &kernel_toolchain::Toolchain) -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    // Another linker makes another object.
    println!("cargo::rerun-if-changed={}", toolchain.linker.path.display());

    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let target_dir = kernel_toolchain::target_dir(&out_dir, &arch);
    let status = toolchain.build_command(&root.join("runner-agent-ebpf"), &target_dir, &arch).status()?;
    if !status.success() {
        return Err(format!("cargo ended with {status}; what it said stands above").into());
    }
    let object = kernel_toolchain::object_path(&target_dir);
    fs::copy(&object, out_dir.join("runner-agent.bpf.o")).map_err(|error| format!("{}: {error}", object.display()))?;
    Ok(())
}
