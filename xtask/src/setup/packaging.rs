//! What `package` takes: cargo's packers in pinned versions, and the distribution's own programs that look at the result.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Need, dpkg, first_line};
use crate::setup::packages::Packages;
use crate::step;

const CARGO_DEB: &str = "3.8.0";
const CARGO_GENERATE_RPM: &str = "0.21.1";
/// Its version is that of the newest Kubernetes it has schemas of.
const KUBERNETES_VALIDATE: &str = "1.37.0";

pub(super) const NEEDS: &[Need] = &[
    Need { name: "dpkg", only_for: None, look: dpkg, supply: |packages| packages.install(&["dpkg"]) },
    Need {
        name: "cargo-deb",
        only_for: None,
        look: || cargo_program("deb", CARGO_DEB),
        supply: |_| install("cargo-deb", CARGO_DEB),
    },
    Need { name: "lintian", only_for: None, look: lintian, supply: |packages| packages.install(&["lintian"]) },
    Need { name: "systemd-analyze", only_for: None, look: systemd, supply: |packages| packages.install(&["systemd"]) },
    Need { name: "shellcheck", only_for: None, look: shellcheck, supply: |packages| packages.install(&["shellcheck"]) },
    Need {
        name: "kubernetes-validate",
        only_for: Some("the check of the DaemonSet"),
        look: || kubernetes_validate().map(|path| path.display().to_string()),
        supply: supply_kubernetes_validate,
    },
];

pub(super) const RPM_NEEDS: &[Need] = &[
    Need {
        name: "cargo-generate-rpm",
        only_for: None,
        look: || cargo_program("generate-rpm", CARGO_GENERATE_RPM),
        supply: |_| install("cargo-generate-rpm", CARGO_GENERATE_RPM),
    },
    Need { name: "rpm", only_for: None, look: rpm, supply: |packages| packages.install(&["rpm"]) },
];

/// A subcommand of cargo, in the version that is pinned: another one packs in another way.
fn cargo_program(subcommand: &str, version: &str) -> Result<String> {
    let said = step::output(step::cargo(subcommand).arg("--version"));
    let said = said.with_context(|| format!("cargo-{subcommand} is missing"))?;
    if !said.split_whitespace().any(|word| word == version) {
        bail!("cargo-{subcommand} is {}, and {version} is wanted", first_line(&said));
    }
    Ok(format!("cargo-{subcommand} {version}"))
}

fn install(name: &str, version: &str) -> Result<()> {
    let mut cargo = step::cargo("install");
    cargo.args([name, "--version", version, "--locked", "--force"]);
    step::run(format_args!("building {name} {version}"), &mut cargo)
}

fn lintian() -> Result<String> {
    let version = step::output(Command::new("lintian").arg("--version"));
    Ok(first_line(&version.context("lintian is missing, which knows Debian's rules for packages")?))
}

fn systemd() -> Result<String> {
    let version = step::output(Command::new("systemd-analyze").arg("--version"));
    Ok(first_line(&version.context("systemd-analyze is missing, which knows how exposed a service is")?))
}

fn shellcheck() -> Result<String> {
    let version = step::output(Command::new("shellcheck").arg("--version"));
    let version = version.context("shellcheck is missing, which reads the hooks")?;
    Ok(version.lines().take(2).collect::<Vec<_>>().join(", "))
}

fn rpm() -> Result<String> {
    Ok(first_line(&step::output(Command::new("rpm").arg("--version")).context("rpm is missing, which reads an RPM")?))
}

/// In a folder of its own below the target directory: a distribution's Python takes nothing from outside any more.
pub fn kubernetes_validate() -> Result<PathBuf> {
    let program = environment()?.join("bin/kubernetes-validate");
    let version = step::output(Command::new(&program).arg("--version")).context("kubernetes-validate is missing")?;
    if !version.contains(KUBERNETES_VALIDATE) {
        bail!("kubernetes-validate is {}, and {KUBERNETES_VALIDATE} is wanted", first_line(&version));
    }
    Ok(program)
}

fn environment() -> Result<PathBuf> {
    Ok(step::target_dir()?.join("tools/kubernetes-validate"))
}

fn supply_kubernetes_validate(packages: &mut Packages) -> Result<()> {
    let environment = environment()?;
    // One that was begun and not finished would be taken as it is.
    if environment.exists() {
        fs::remove_dir_all(&environment).with_context(|| environment.display().to_string())?;
    }
    if !step::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        packages.install(&["python3-venv"])?;
    }
    step::output(Command::new("python3").args(["-m", "venv"]).arg(&environment).stdin(Stdio::null()))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["--quiet", "--disable-pip-version-check", "install"]);
    step::run(
        "installing kubernetes-validate",
        pip.arg(format!("kubernetes-validate=={KUBERNETES_VALIDATE}")).stdin(Stdio::null()),
    )
}
