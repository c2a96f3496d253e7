//! `setup`: finds what is needed, installs what is missing, and can be run again at any time.
//!
//! Needed are the three pieces of the kernel side (see `kernel-toolchain`, which looks for them exactly as the build
//! script does) and the components that `check` runs. `ip` and the static target are wanted: without them the rest
//! still works, so a failure there is told and not fatal.

mod packages;
pub mod action;
mod cross;
mod npm;
mod packaging;
mod python;
pub mod receivers;

use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kernel_toolchain::{Missing, Origin};

use crate::step;
use crate::target::Target;
use packages::Packages;
pub use packaging::{cyclonedx_python, has_rpm, kubernetes_validate};

#[derive(Args, Default)]
pub struct Options {
    /// Only report what is there and what is missing
    #[arg(long)]
    pub check: bool,
    /// Also what a static binary takes (musl)
    #[arg(long = "static")]
    pub with_static: bool,
    /// Also what the other architecture takes: a compiler for its C, and QEMU to run what was built
    #[arg(long = "cross")]
    pub with_cross: bool,
    /// Also what guests with other kernels take (QEMU)
    #[arg(long = "guests")]
    pub with_guests: bool,
    /// Also what packing it for Debian and looking at the package take
    #[arg(long = "package")]
    pub with_package: bool,
    /// Also what packing it as an RPM takes
    #[arg(long = "rpm")]
    pub with_rpm: bool,
    /// Also what looks at the Action's files
    #[arg(long = "action")]
    pub with_action: bool,
    /// Also what validating the forms of sinks takes
    #[arg(long = "sinks")]
    pub with_sinks: bool,
}

impl Options {
    /// What building for it takes; for nothing, a binary for this machine's C library.
    pub fn for_static(target: Option<&Target>) -> Self {
        let is_foreign = target.is_some_and(|target| !target.is_native());
        Self { with_static: target.is_some() && !is_foreign, with_cross: is_foreign, ..Self::default() }
    }
}

/// One thing that has to be there.
struct Need {
    name: &'static str,
    /// What does not work without it; `None`: nothing does.
    only_for: Option<&'static str>,
    /// What was found, or the sentence that says what is missing.
    look: fn() -> Result<String>,
    supply: fn(&mut Packages) -> Result<()>,
}

const NEEDS: &[Need] = &[
    Need { name: "C compiler", only_for: None, look: c_compiler, supply: supply_c_compiler },
    Need { name: "rustfmt and clippy", only_for: None, look: components, supply: supply_components },
    Need { name: "core's sources", only_for: None, look: core_sources, supply: supply_core_sources },
    Need { name: "bpf-linker", only_for: None, look: linker, supply: supply_linker },
    Need { name: "ip", only_for: Some("the demo and tests that use a network namespace"), look: ip, supply: supply_ip },
];

const STATIC_NEEDS: &[Need] = &[Need { name: "musl", only_for: None, look: musl, supply: supply_musl }];

/// The kernels themselves are fetched when they are asked for.
const GUEST_NEEDS: &[Need] = &[
    Need {
        name: "QEMU",
        only_for: None,
        look: || qemu(Target::native()),
        supply: |packages| supply_qemu(packages, Target::native()),
    },
    Need { name: "xz", only_for: None, look: xz, supply: |packages| packages.install(&["xz-utils"]) },
    Need { name: "dpkg", only_for: None, look: dpkg, supply: |packages| packages.install(&["dpkg"]) },
];

pub fn run(options: &Options) -> Result<()> {
    let needs: Vec<&Need> = NEEDS
        .iter()
        .chain(STATIC_NEEDS.iter().filter(|_| options.with_static))
        .chain(cross::NEEDS.iter().filter(|_| options.with_cross))
        .chain(GUEST_NEEDS.iter().filter(|_| options.with_guests))
        .chain(cross::GUEST_NEEDS.iter().filter(|_| options.with_guests && options.with_cross))
        .chain(packaging::NEEDS.iter().filter(|_| options.with_package))
        .chain(packaging::RPM_NEEDS.iter().filter(|_| options.with_rpm))
        .chain(action::NEEDS.iter().filter(|_| options.with_action))
        .chain(receivers::NEEDS.iter().filter(|_| options.with_sinks))
        .collect();
    let mut packages = Packages::default();
    let mut missing = Vec::new();
    for (number, need) in needs.iter().enumerate() {
        let heading = format!("[{}/{}] {}", number + 1, needs.len(), need.name);
        match (need.look)() {
            Ok(found) => {
                eprintln!("{heading}: {found}");
                continue;
            }
            Err(why) if options.check => {
                eprintln!("{heading}: missing: {}", told(&why));
                missing.extend(need.only_for.is_none().then_some(need.name));
                continue;
            }
            Err(why) => eprintln!("{heading}: missing: {}", told(&why)),
        }
        // Looked for again after the supply: only what is there then counts, not that a command ended well.
        match ((need.supply)(&mut packages).and_then(|()| (need.look)()), need.only_for) {
            (Ok(found), _) => eprintln!("{heading}: {found}"),
            (Err(why), Some(only_for)) => {
                eprintln!("{heading}: {}\n    left out: only {only_for} need it", told(&why));
            }
            (Err(why), None) => bail!("setup could not supply {}: {}", need.name, told(&why)),
        }
    }
    if !missing.is_empty() {
        bail!("missing: {}; `cargo xtask setup` supplies it", missing.join(", "));
    }
    Ok(())
}

fn c_compiler() -> Result<String> {
    let version = step::output(Command::new("cc").arg("--version")).context("a C compiler to link with")?;
    Ok(first_line(&version))
}

fn supply_c_compiler(packages: &mut Packages) -> Result<()> {
    packages.install(&["gcc", "libc6-dev"])
}

fn components() -> Result<String> {
    let version = |subcommand: &str, component: &str| {
        let text = step::output(step::cargo(subcommand).arg("--version"));
        text.map(|text| first_line(&text))
            .map_err(|_| anyhow!("the {component} component; `rustup component add {component}`"))
    };
    Ok(format!("{}, {}", version("fmt", "rustfmt")?, version("clippy", "clippy")?))
}

fn supply_components(_: &mut Packages) -> Result<()> {
    rustup(&["component", "add", "rustfmt", "clippy"])
}

fn core_sources() -> Result<String> {
    let compiler = kernel_toolchain::find_compiler()?;
    let origin = match compiler.origin {
        Origin::Workspace => "the workspace's toolchain",
        Origin::Nightly => "rustup's nightly",
        Origin::Distribution => "the distribution's compiler",
    };
    Ok(format!("rustc {} with LLVM {} ({origin})", compiler.version.release, compiler.version.llvm_major))
}

/// In this order: the sources for the toolchain at hand, a nightly beside it, the distribution's compiler. Each is
/// tried when the one before could not be had; the first failure is the one worth reading.
fn supply_core_sources(packages: &mut Packages) -> Result<()> {
    let own = rustup(&["component", "add", "rust-src"]);
    let Err(first) = own else { return Ok(()) };
    eprintln!("    {first:#}; trying a nightly");
    let nightly = ["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"];
    if rustup(&nightly).is_ok() {
        return Ok(());
    }
    eprintln!("    no nightly either; trying the distribution's compiler");
    packages.install(&["rustc-web", "cargo-web", "rust-web-src"]).map_err(|last| first.context(format!("{last:#}")))
}

fn linker() -> Result<String> {
    let linker = kernel_toolchain::find_linker(&kernel_toolchain::find_compiler()?)?;
    let llvm = linker.llvm_major.map_or_else(|| "LLVM linked in".to_owned(), |major| format!("LLVM {major}"));
    Ok(format!("{} ({llvm})", linker.path.display()))
}

/// The linker is built from source against the compiler's LLVM, so that comes first when it is missing.
fn supply_linker(packages: &mut Packages) -> Result<()> {
    let compiler = kernel_toolchain::find_compiler()?;
    let major = compiler.version.llvm_major;
    if kernel_toolchain::llvm_prefix(major).is_none() {
        let wanted = kernel_toolchain::llvm_packages(major);
        packages.install(&wanted.each_ref().map(String::as_str)).with_context(|| {
            format!(
                "LLVM {major} for development is missing (a distribution that has none can take LLVM's own packages)"
            )
        })?;
        // With its libraries back, an installed linker may start again.
        if kernel_toolchain::find_linker(&compiler).is_ok() {
            return Ok(());
        }
    }
    let prefix = kernel_toolchain::llvm_prefix(major).ok_or_else(|| {
        anyhow!("LLVM {major} was installed, but no llvm-config of that version is where it should be")
    })?;
    step::run(
        "building bpf-linker, which takes a few minutes",
        &mut kernel_toolchain::install_linker(&compiler, &prefix),
    )
}

fn ip() -> Result<String> {
    Ok(first_line(&step::output(Command::new("ip").arg("-V")).context("the ip command is missing")?))
}

fn supply_ip(packages: &mut Packages) -> Result<()> {
    packages.install(&["iproute2"])
}

fn qemu(target: &Target) -> Result<String> {
    let program = format!("qemu-system-{}", target.arch);
    let version = step::output(Command::new(&program).arg("--version"));
    Ok(first_line(&version.with_context(|| format!("{program} is missing, which guests run under"))?))
}

fn supply_qemu(packages: &mut Packages, target: &Target) -> Result<()> {
    packages.install(&[if target.arch == "aarch64" { "qemu-system-arm" } else { "qemu-system-x86" }])
}

fn xz() -> Result<String> {
    let version = step::output(Command::new("xz").arg("--version"));
    Ok(first_line(&version.context("xz is missing, which unpacks kernel modules")?))
}

fn dpkg() -> Result<String> {
    let version = step::output(Command::new("dpkg").arg("--version"));
    Ok(first_line(&version.context("dpkg is missing, which unpacks kernels")?))
}

fn musl() -> Result<String> {
    step::output(Command::new("musl-gcc").arg("-dumpversion")).context("musl-gcc is missing")?;
    Ok(format!("musl-gcc and {}", standard_library(Target::native())?))
}

/// The target's name, if the compiler has its standard library.
fn standard_library(target: &Target) -> Result<String> {
    let library = step::output(Command::new("rustc").args(["--print", "target-libdir", "--target", target.triple]))?;
    if !std::path::Path::new(library.trim()).is_dir() {
        bail!("the standard library for {} is missing", target.triple);
    }
    Ok(target.triple.to_owned())
}

fn supply_musl(packages: &mut Packages) -> Result<()> {
    if !step::succeeds(Command::new("musl-gcc").arg("-dumpversion")) {
        packages.install(&["musl-tools"])?;
    }
    rustup(&["target", "add", Target::native().triple])
}

fn rustup(arguments: &[&str]) -> Result<()> {
    let command = format!("rustup {}", arguments.join(" "));
    if !step::succeeds(Command::new("rustup").arg("--version")) {
        bail!("there is no rustup to run `{command}` with");
    }
    step::run(&command, Command::new("rustup").args(arguments).stdin(std::process::Stdio::null()))
}

/// Inside setup, a missing piece does not tell to run setup.
fn told(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Missing>() {
        Some(Missing { piece, why, command }) => format!("{piece}: {why}; `{command}`"),
        None => format!("{error:#}"),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use kernel_toolchain::Piece;

    use super::*;

    #[test]
    fn setup_does_not_tell_to_run_setup() {
        let missing = Missing {
            piece: Piece::Linker,
            why: "it is not on PATH".into(),
            command: "cargo install bpf-linker".into(),
        };
        assert_eq!(told(&missing.into()), "bpf-linker: it is not on PATH; `cargo install bpf-linker`");
    }
}
