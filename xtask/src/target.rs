//! The architectures that the agent is delivered for: what each is called by whom, and what building for, and running, another one
//! than this machine's takes.

use std::path::Path;
use std::process::Command;

use anyhow::{Error, anyhow};

/// An architecture, with static binaries.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// As Rust, RPM and QEMU have it.
    pub arch: &'static str,
    /// The target of static binaries.
    pub triple: &'static str,
    /// As Debian has it.
    pub debian: &'static str,
    /// As the names of Debian's cross packages have it.
    dashed: &'static str,
}

/// All of them.
pub const ALL: [Target; 2] = [
    Target { arch: "x86_64", triple: "x86_64-unknown-linux-musl", debian: "amd64", dashed: "x86-64" },
    Target { arch: "aarch64", triple: "aarch64-unknown-linux-musl", debian: "arm64", dashed: "aarch64" },
];

/// The linker that comes with the compiler. The target of static binaries brings the C library itself, so that there is nothing that a
/// linker for this one architecture would know better.
const LINKER: &str = "rust-lld";

impl Target {
    /// This machine's; on a machine of none of them, the first.
    pub fn native() -> &'static Self {
        ALL.iter().find(|target| target.is_native()).unwrap_or(&ALL[0])
    }

    /// The other one.
    pub fn foreign() -> &'static Self {
        ALL.iter().find(|target| *target != Self::native()).unwrap_or(&ALL[1])
    }

    pub fn is_native(&self) -> bool {
        self.arch == std::env::consts::ARCH
    }

    /// The C compiler that makes objects of it: for the little C that is in ring and signal-hook, which needs types of the C library's
    /// headers and nothing else of it.
    pub fn compiler(&self) -> String {
        format!("{}-linux-gnu-gcc", self.arch)
    }

    /// Debian's packages of that compiler and its headers.
    pub fn compiler_packages(&self) -> [String; 2] {
        [format!("gcc-{}-linux-gnu", self.dashed), format!("libc6-dev-{}-cross", self.debian)]
    }

    /// QEMU's program that runs one program of it.
    pub fn emulator(&self) -> String {
        format!("qemu-{}", self.arch)
    }

    /// Has cargo build for it.
    pub fn choose(&self, cargo: &mut Command) {
        cargo.args(["--target", self.triple]);
        if !self.is_native() {
            let triple = self.triple.replace('-', "_");
            cargo.env(format!("CC_{triple}"), self.compiler());
            cargo.env(format!("AR_{triple}"), format!("{}-linux-gnu-ar", self.arch));
            cargo.env(format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase()), LINKER);
        }
    }

    /// Runs a program of it here.
    pub fn command(&self, program: &Path) -> Command {
        if self.is_native() {
            return Command::new(program);
        }
        let mut command = Command::new(self.emulator());
        command.arg(program);
        command
    }
}

/// An option's value, by any of its names.
pub fn named(name: &str) -> Result<&'static Target, Error> {
    ALL.iter().find(|target| [target.arch, target.triple, target.debian].contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|target| target.triple).collect();
        anyhow!("there are {}", known.join(" and "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_by_each_of_its_names() {
        for name in ["aarch64", "arm64", "aarch64-unknown-linux-musl"] {
            assert_eq!(named(name).unwrap().debian, "arm64");
        }
        assert_eq!(
            named("riscv64").unwrap_err().to_string(),
            "there are x86_64-unknown-linux-musl and aarch64-unknown-linux-musl"
        );
    }

    #[test]
    fn cargo_gets_a_cross_compiler_for_another_architecture_alone() {
        for target in &ALL {
            let mut cargo = Command::new("cargo");
            target.choose(&mut cargo);
            assert_eq!(cargo.get_args().collect::<Vec<_>>(), ["--target", target.triple]);
            assert_eq!(cargo.get_envs().count(), if target.is_native() { 0 } else { 3 });
        }
        assert_ne!(Target::native(), Target::foreign());
    }
}
