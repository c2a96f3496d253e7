//! The compiler: which ones are tried, in which order, and what makes one fit.
//!
//! `-Z build-std` is unstable; `RUSTC_BOOTSTRAP=1` lets a stable compiler take it, so no nightly is needed as long as
//! the workspace's own toolchain has the `rust-src` component.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::missing::{Missing, Piece};

/// The oldest compiler that builds this workspace.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// A compiler that fits: new enough, with the sources of `core`.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// Where it comes from, which decides what would update it.
    pub origin: Origin,
    /// The `rustc` binary itself, not rustup's proxy for it.
    pub rustc: PathBuf,
    /// The `cargo` beside it.
    pub cargo: PathBuf,
    /// What `rustc -vV` said.
    pub version: Version,
}

/// Where a compiler comes from, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The toolchain that builds the workspace.
    Workspace,
    /// A nightly that rustup installed.
    Nightly,
    /// The distribution's (`rustc-web`).
    Distribution,
}

/// The two numbers of `rustc -vV` that decide anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `release:`, such as `1.95.0` or `1.97.0-nightly`.
    pub release: String,
    /// The first number of `LLVM version:`.
    pub llvm_major: u32,
}

impl Version {
    /// Reads the output of `rustc -vV`; `None` when a line is not there.
    pub fn parse(output: &str) -> Option<Self> {
        let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self {
            release: field("release:")?.to_owned(),
            llvm_major: field("LLVM version:")?.split('.').next()?.parse().ok()?,
        })
    }

    /// Major and minor number of the release.
    fn number(release: &str) -> Option<(u32, u32)> {
        let mut parts = release.split(['.', '-']).map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }

    fn builds_the_workspace(&self) -> bool {
        Self::number(&self.release) >= Self::number(RUST_VERSION)
    }
}

/// What was seen of one candidate, for the sentence that is printed when none fits.
enum Candidate {
    Fits(Compiler),
    TooOld(Version),
    NoSources(Version),
    Absent,
}

pub(crate) fn find() -> Result<Compiler, Missing> {
    let own = examine(Origin::Workspace, workspace_rustc());
    let own_version = match own {
        Candidate::Fits(compiler) => return Ok(compiler),
        Candidate::NoSources(version) | Candidate::TooOld(version) => Some(version),
        Candidate::Absent => None,
    };
    let others = nightlies()
        .into_iter()
        .map(|rustc| (Origin::Nightly, rustc))
        .chain([(Origin::Distribution, PathBuf::from("/usr/bin/rustc"))]);
    for (origin, rustc) in others {
        if let Candidate::Fits(compiler) = examine(origin, rustc) {
            return Ok(compiler);
        }
    }
    Err(no_compiler(own_version.as_ref(), on_path("rustup").is_some()))
}

fn no_compiler(own: Option<&Version>, has_rustup: bool) -> Missing {
    let why = match own {
        Some(version) if !version.builds_the_workspace() => {
            format!("rustc {} is older than {RUST_VERSION}", version.release)
        }
        Some(version) => format!("the toolchain of rustc {} has none, nor has another one here", version.release),
        None => "no rustc was found".to_owned(),
    };
    let command = match (has_rustup, own) {
        (true, Some(version)) if version.builds_the_workspace() => "rustup component add rust-src",
        (true, _) => "rustup toolchain install stable --component rust-src",
        (false, _) => "apt-get install rustc-web cargo-web rust-web-src",
    };
    Missing { piece: Piece::CoreSources, why, command: command.to_owned() }
}

/// The compiler that builds the workspace: what cargo named to a build script, else the one beside the cargo that
/// runs us, else the first on `PATH`.
fn workspace_rustc() -> PathBuf {
    if let Some(rustc) = env::var_os("RUSTC") {
        return rustc.into();
    }
    env::var_os("CARGO")
        .map(|cargo| Path::new(&cargo).with_file_name("rustc"))
        .filter(|rustc| rustc.is_file())
        .unwrap_or_else(|| "rustc".into())
}

/// The compilers of rustup's nightlies, the plain `nightly` first because dated ones only get older.
fn nightlies() -> Vec<PathBuf> {
    let home =
        env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nightly"))
        .map(|entry| entry.path())
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|toolchain| toolchain.join("bin/rustc")).collect()
}

fn examine(origin: Origin, rustc: PathBuf) -> Candidate {
    let Some(version) = output_of(&rustc, &["-vV"]).as_deref().and_then(Version::parse) else {
        return Candidate::Absent;
    };
    if !version.builds_the_workspace() {
        return Candidate::TooOld(version);
    }
    let Some(sysroot) = output_of(&rustc, &["--print", "sysroot"]).map(|path| PathBuf::from(path.trim())) else {
        return Candidate::Absent;
    };
    // build-std resolves the standard library's own workspace, so the lock file counts as much as the sources.
    let library = sysroot.join("lib/rustlib/src/rust/library");
    if !library.join("core/src/lib.rs").is_file() || !library.join("Cargo.toml").is_file() {
        return Candidate::NoSources(version);
    }
    // With rustup, the paths behind the proxies: a proxy would choose its toolchain anew from the directory it runs in.
    let beside = |name: &str| Some(sysroot.join("bin").join(name)).filter(|path| path.is_file());
    let cargo = beside("cargo").or_else(|| env::var_os("CARGO").map(PathBuf::from)).unwrap_or_else(|| "cargo".into());
    Candidate::Fits(Compiler { origin, rustc: beside("rustc").unwrap_or(rustc), cargo, version })
}

fn output_of(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first file called `name` in the directories of `PATH`.
pub(crate) fn on_path(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name.as_ref())).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(release: &str) -> Version {
        Version { release: release.to_owned(), llvm_major: 22 }
    }

    #[test]
    fn release_and_llvm_major_are_read_from_the_verbose_version() {
        let output = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                      release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(Version::parse(output), Some(version("1.97.0-nightly")));
        assert_eq!(Version::parse("release: 1.95.0\n"), None, "a compiler without LLVM cannot build for bpf");
    }

    #[test]
    fn releases_compare_by_number_not_by_text() {
        assert!(version("1.100.0").builds_the_workspace());
        assert!(version(&format!("{RUST_VERSION}.0-nightly")).builds_the_workspace());
        assert!(!version("1.9.0").builds_the_workspace());
    }

    #[test]
    fn what_supplies_the_sources_depends_on_how_the_compiler_came() {
        assert_eq!(no_compiler(Some(&version("1.95.0")), true).command, "rustup component add rust-src");
        assert_eq!(
            no_compiler(Some(&version("1.63.0")), true).command,
            "rustup toolchain install stable --component rust-src"
        );
        assert!(no_compiler(Some(&version("1.95.0")), false).command.contains("rust-web-src"));
        assert!(no_compiler(None, false).why.contains("no rustc"));
    }
}
