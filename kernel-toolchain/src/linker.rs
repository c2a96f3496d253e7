//! `bpf-linker` and the LLVM below it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::compiler::{Compiler, on_path};
use crate::missing::{Missing, Piece};

/// The release of `bpf-linker` that this project is built with.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// The majors of LLVM that this release can be built for: each is a feature of the crate.
const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 21..=23;

/// A `bpf-linker` that starts.
#[derive(Debug, Clone)]
pub struct Linker {
    /// Absolute path: the inner cargo may see another `PATH`.
    pub path: PathBuf,
    /// The major of the LLVM it loads; `None` when LLVM is linked in and the file doesn't tell.
    pub llvm_major: Option<u32>,
}

/// The packages (Debian's names) that supply LLVM `major` for building `bpf-linker`.
pub fn llvm_packages(major: u32) -> [String; 4] {
    [format!("llvm-{major}-dev"), format!("libpolly-{major}-dev"), "libzstd-dev".into(), "zlib1g-dev".into()]
}

/// Where LLVM `major` is installed for development: the prefix that holds `bin/llvm-config`.
pub fn llvm_prefix(major: u32) -> Option<PathBuf> {
    let usual = [format!("/usr/lib/llvm-{major}"), format!("/usr/lib64/llvm{major}"), format!("/usr/lib/llvm{major}")];
    env::var_os("LLVM_PREFIX")
        .map(PathBuf::from)
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find(|prefix| major_of(&prefix.join("bin/llvm-config")) == Some(major))
}

fn major_of(llvm_config: &Path) -> Option<u32> {
    let output = Command::new(llvm_config).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split('.').next()?.trim().parse().ok()
}

/// `cargo install bpf-linker` against the LLVM at `prefix`.
pub fn install_linker(compiler: &Compiler, prefix: &Path) -> Command {
    let mut command = Command::new(&compiler.cargo);
    command
        .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", compiler.version.llvm_major)])
        .env("RUSTC", &compiler.rustc)
        .env("LLVM_PREFIX", prefix)
        .env("PATH", path_with(&prefix.join("bin")));
    command
}

/// `PATH` with `first` in front of it.
pub(crate) fn path_with(first: &Path) -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(first.to_path_buf()).chain(env::split_paths(&path));
    // Joining fails only for a directory with a colon in it, which PATH could not hold before either.
    env::join_paths(directories).unwrap_or(path)
}

pub(crate) fn find(compiler: &Compiler) -> Result<Linker, Missing> {
    let major = compiler.version.llvm_major;
    if !LLVM_MAJORS.contains(&major) {
        return Err(Missing {
            piece: Piece::Linker,
            why: format!(
                "release {BPF_LINKER_VERSION} knows LLVM {} to {} and rustc {} has LLVM {major}",
                LLVM_MAJORS.start(),
                LLVM_MAJORS.end(),
                compiler.version.release
            ),
            command: "rustup toolchain install 1.95 --component rust-src && cargo +1.95 build".into(),
        });
    }
    let Some(path) = locate() else {
        return Err(missing(compiler, "it is neither in cargo's bin folder nor on PATH"));
    };
    let started = Command::new(&path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !started.is_ok_and(|status| status.success()) {
        return Err(missing(compiler, &format!("{} does not start", path.display())));
    }
    let llvm_major = fs::read(&path).ok().and_then(|bytes| needed_llvm(&bytes));
    match llvm_major {
        // Older bitcode can be read by a newer LLVM, never the reverse: the linker would stop at an unknown attribute.
        Some(linked) if linked < major => Err(missing(
            compiler,
            &format!(
                "the installed one was built with LLVM {linked} and rustc {} has LLVM {major}",
                compiler.version.release
            ),
        )),
        _ => Ok(Linker { path, llvm_major }),
    }
}

/// The linker is missing; without the LLVM to build it against, that is what has to come first.
fn missing(compiler: &Compiler, why: &str) -> Missing {
    let major = compiler.version.llvm_major;
    let Some(prefix) = llvm_prefix(major) else {
        return Missing {
            piece: Piece::Llvm,
            why: format!("LLVM {major}, which bpf-linker is built with for rustc {}, is not installed", {
                &compiler.version.release
            }),
            command: format!("apt-get install {}", llvm_packages(major).join(" ")),
        };
    };
    let prefix = prefix.display();
    Missing {
        piece: Piece::Linker,
        why: why.to_owned(),
        command: format!(
            "PATH={prefix}/bin:$PATH LLVM_PREFIX={prefix} cargo install bpf-linker --version {BPF_LINKER_VERSION} \
             --locked --force --no-default-features --features llvm-{major}"
        ),
    }
}

/// Cargo's own bin folder comes first: that is where `setup` installs to, whether or not it is on `PATH`.
fn locate() -> Option<PathBuf> {
    ["CARGO_INSTALL_ROOT", "CARGO_HOME"]
        .into_iter()
        .filter_map(env::var_os)
        .map(PathBuf::from)
        .chain(env::home_dir().map(|home| home.join(".cargo")))
        .map(|root| root.join("bin/bpf-linker"))
        .find(|file| file.is_file())
        .or_else(|| on_path("bpf-linker"))
}

/// The major in the name of the `libLLVM.so.MAJOR…` that the binary asks the loader for.
fn needed_llvm(binary: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"libLLVM.so.";
    let at = binary.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits: Vec<u8> = binary[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::{Origin, Version};

    fn compiler(llvm_major: u32) -> Compiler {
        Compiler {
            origin: Origin::Workspace,
            rustc: "rustc".into(),
            cargo: "cargo".into(),
            version: Version { release: "1.95.0".into(), llvm_major },
        }
    }

    #[test]
    fn the_linkers_llvm_is_read_from_the_name_it_loads() {
        assert_eq!(needed_llvm(b"\0libz.so.1\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(needed_llvm(b"\0libLLVM.so.\0"), None);
        assert_eq!(needed_llvm(b"statically linked"), None);
    }

    #[test]
    fn without_llvm_the_packages_are_named_before_the_linker() {
        let missing = missing(&compiler(9999), "it is not there");
        assert_eq!(missing.piece, Piece::Llvm);
        assert_eq!(missing.command, "apt-get install llvm-9999-dev libpolly-9999-dev libzstd-dev zlib1g-dev");
    }

    #[test]
    fn an_llvm_that_the_linker_cannot_be_built_with_is_said_at_once() {
        let missing = find(&compiler(9999)).expect_err("no release of the linker knows this LLVM");
        assert!(missing.to_string().contains("rustc 1.95.0 has LLVM 9999"), "{missing}");
    }

    #[test]
    fn the_linker_is_installed_for_the_compilers_llvm() {
        let command = install_linker(&compiler(22), Path::new("/opt/llvm"));
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert!(arguments.ends_with(&["--features".into(), "llvm-22".into()]), "{arguments:?}");
        let path =
            command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value).expect("PATH is set");
        assert!(path.to_string_lossy().starts_with("/opt/llvm/bin"), "{path:?}");
    }
}
