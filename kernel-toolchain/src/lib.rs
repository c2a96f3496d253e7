//! Finds the pieces that compile runner-agent's kernel side, and puts the build command together.
//!
//! Three pieces are needed: a compiler with the sources of `core` (the `bpf` target ships without a built `core`), a
//! [`bpf-linker`](Linker), and the LLVM that this linker was built with, which must not be older than the compiler's.
//! A missing one is a [`Missing`]: one sentence that names the piece and the command that supplies it. The build
//! script of `runner-agent` prints that sentence, `cargo xtask setup` runs that command: both ask here, so they agree.

#![forbid(unsafe_code)]

mod command;
mod compiler;
mod linker;
mod missing;
mod paths;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use compiler::{Compiler, Origin, Version};
pub use linker::{BPF_LINKER_VERSION, Linker, install_linker, llvm_packages, llvm_prefix};
pub use missing::{Missing, Piece};
pub use paths::{outside, remapped};

/// The target triple of the kernel side; every host this project supports is little-endian.
pub const TARGET: &str = "bpfel-unknown-none";

/// The package (and binary) that [`Toolchain::build_command`] builds.
pub const PACKAGE: &str = "runner-agent-ebpf";

/// Everything that building the kernel side takes.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// The compiler, with its own cargo and the sources of `core`.
    pub compiler: Compiler,
    /// The linker that turns LLVM bitcode into a BPF object with BTF.
    pub linker: Linker,
}

/// Looks for all pieces; the error names the first one that is missing.
pub fn find() -> Result<Toolchain, Missing> {
    let compiler = find_compiler()?;
    let linker = find_linker(&compiler)?;
    Ok(Toolchain { compiler, linker })
}

/// The first compiler that has the sources of `core` and is new enough: the workspace's own, then a nightly of rustup,
/// then the distribution's.
pub fn find_compiler() -> Result<Compiler, Missing> {
    compiler::find()
}

/// A `bpf-linker` that starts and whose LLVM can read what `compiler` writes.
pub fn find_linker(compiler: &Compiler) -> Result<Linker, Missing> {
    linker::find(compiler)
}

impl Toolchain {
    /// `cargo build --release` of the crate at `crate_dir` for [`TARGET`], for kernels of the host architecture `arch`
    /// (cargo's name: `x86_64`, `aarch64`). The object stands at [`object_path`] afterwards.
    ///
    /// `target_dir` must differ from the one of a cargo that waits for this command, or both wait for one lock.
    pub fn build_command(&self, crate_dir: &Path, target_dir: &Path, arch: &str) -> Command {
        command::cargo(self, "build", crate_dir, target_dir, arch)
    }

    /// The same for `cargo clippy`, up to the arguments after `--`, which the caller adds.
    pub fn clippy_command(&self, crate_dir: &Path, target_dir: &Path, arch: &str) -> Command {
        command::cargo(self, "clippy", crate_dir, target_dir, arch)
    }
}

/// Where [`Toolchain::build_command`] leaves the object.
pub fn object_path(target_dir: &Path) -> PathBuf {
    target_dir.join(TARGET).join("release").join(PACKAGE)
}

/// The kernel side's own target directory for kernels of an architecture, below the target directory that `inside` (a build
/// script's `OUT_DIR`, a built program) lies in: one `core` for all profiles, a lock that a waiting outer cargo does not hold, and
/// no object of another architecture in its place when it is copied.
pub fn target_dir(inside: &Path, arch: &str) -> PathBuf {
    outer_target_dir(inside).unwrap_or(inside).join("kernel-side").join(arch)
}

/// The target directory that `inside` lies in. Cargo marks it with this file, whatever lies between the two.
pub fn outer_target_dir(inside: &Path) -> Option<&Path> {
    inside.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file())
}
