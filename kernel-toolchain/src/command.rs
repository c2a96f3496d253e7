//! The inner cargo command, cut off from the environment of the cargo that waits for it.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::linker::path_with;
use crate::{PACKAGE, TARGET, Toolchain, outside, remapped};

/// Variables of an outer cargo (or of a build script) that would change the inner build or make it wait for ever: the
/// outer target's flags, clippy's compiler wrapper, coverage flags, the outer job server, the outer target directory.
/// One that ends in `_` stands for all that begin so. The user's settings for registries and network stay.
const SCRUBBED: &[&str] = &[
    "CARGO",
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_",
    "CARGO_FEATURE_",
    "CARGO_INCREMENTAL",
    "CARGO_LLVM_COV",
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_PROFILE_",
    "CARGO_RUSTC_",
    "CARGO_TARGET_",
    "CARGO_UNSTABLE_",
    "CLIPPY_ARGS",
    "DEBUG",
    "HOST",
    "LLVM_PROFILE_FILE",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "TARGET",
    "__CARGO_",
];

fn is_scrubbed(name: &str) -> bool {
    SCRUBBED.iter().any(|scrubbed| if scrubbed.ends_with('_') { name.starts_with(scrubbed) } else { name == *scrubbed })
}

/// `cargo SUBCOMMAND` for the kernel side.
pub(crate) fn cargo(
    toolchain: &Toolchain,
    subcommand: &str,
    crate_dir: &Path,
    target_dir: &Path,
    arch: &str,
) -> Command {
    let compiler = &toolchain.compiler;
    let mut command = Command::new(&compiler.cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_scrubbed) {
            command.env_remove(name);
        }
    }
    if let Some(bin) = compiler.cargo.parent() {
        // `cargo clippy` is a program on PATH; the one beside the compiler is the one that belongs to it.
        command.env("PATH", path_with(bin));
    }
    command
        .args([subcommand, "--package", PACKAGE, "--bin", PACKAGE, "--release"])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(target_dir)
        .current_dir(crate_dir)
        .env("RUSTC", &compiler.rustc)
        // What lets a stable compiler take `-Z build-std`, and the crate its unstable features.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain, crate_dir, arch))
        // The workspace's release profile is made for a small binary. The kernel side needs its types as BTF, which
        // bpf-linker makes from the debug information, and is optimized as a whole by bpf-linker itself.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    command
}

/// Flags are joined by the unit separator, so that a path with a space in it stays one flag.
fn rustflags(toolchain: &Toolchain, crate_dir: &Path, arch: &str) -> String {
    // aya-ebpf chooses the layout of `pt_regs` by this cfg. It knows one riscv64, cargo's names have extensions behind.
    let arch = if arch.starts_with("riscv64") { "riscv64" } else { arch };
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.path.display()),
        "-Clink-arg=--btf".into(),
        "-Cdebuginfo=2".into(),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // rustc does not know this cfg by itself, and says so for every crate that asks for it.
        "--check-cfg=cfg(bpf_target_arch,values(any()))".into(),
    ];
    let outside = outside(&toolchain.compiler);
    let mut folders: Vec<(&Path, &str)> = outside.iter().map(|(folder, name)| (folder.as_path(), *name)).collect();
    // Compiler and linker work in the workspace's root: there the linker still finds the lines that it copies into BTF, which
    // make a verifier's log readable.
    folders.extend(crate_dir.parent().map(|root| (root, ".")));
    flags.extend(remapped(&folders));
    flags.join("\x1f")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::{Compiler, Linker, Origin, Version};

    fn toolchain() -> Toolchain {
        Toolchain {
            compiler: Compiler {
                origin: Origin::Workspace,
                rustc: "/toolchain/bin/rustc".into(),
                cargo: "/toolchain/bin/cargo".into(),
                version: Version { release: "1.95.0".into(), llvm_major: 22 },
            },
            linker: Linker { path: "/with space/bpf-linker".into(), llvm_major: Some(22) },
        }
    }

    #[test]
    fn the_outer_builds_environment_is_cut_off_and_the_users_settings_stay() {
        for gone in
            ["RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_MAKEFLAGS", "CARGO_CFG_UNIX"]
        {
            assert!(is_scrubbed(gone), "{gone}");
        }
        for kept in ["CARGO_HOME", "CARGO_REGISTRIES_MIRROR_INDEX", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "HOME"] {
            assert!(!is_scrubbed(kept), "{kept}");
        }
    }

    #[test]
    fn flags_keep_a_path_with_a_space_whole() {
        let flags = rustflags(&toolchain(), Path::new("/src/kernel-side"), "x86_64");
        let flags: Vec<&str> = flags.split('\x1f').collect();
        assert_eq!(flags[0], "-Clinker=/with space/bpf-linker");
        assert!(flags.contains(&"--cfg=bpf_target_arch=\"x86_64\""), "{flags:?}");
        assert_eq!(flags.last(), Some(&"--remap-path-prefix=/src=."), "the workspace is where the linker stands");
    }

    #[test]
    fn the_compiler_is_the_one_that_was_found_whatever_rustup_would_choose() {
        let command = cargo(&toolchain(), "build", Path::new("/crate"), Path::new("/target"), "x86_64");
        assert_eq!(command.get_program(), "/toolchain/bin/cargo");
        let rustc = command.get_envs().find(|(name, _)| *name == "RUSTC");
        assert_eq!(rustc, Some((OsStr::new("RUSTC"), Some(OsStr::new("/toolchain/bin/rustc")))));
    }
}
