//! What `package` takes: cargo's packers in pinned versions, and the distribution's own programs that look at the result.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::python::Environment;
use super::{Need, dpkg, first_line};
use crate::step;

const CARGO_DEB: &str = "3.8.0";
const CARGO_GENERATE_RPM: &str = "0.21.1";
/// Its version is that of the newest Kubernetes it has schemas of.
const KUBERNETES_VALIDATE: Environment =
    Environment { name: "kubernetes-validate", packages: &[("kubernetes-validate", "1.37.0")] };

const CARGO_CYCLONEDX: &str = "0.5.9";
/// It brings CycloneDX's schemas.
const CYCLONEDX: Environment =
    Environment { name: "cyclonedx", packages: &[("cyclonedx-python-lib[json-validation]", "11.12.0")] };

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
        name: "cargo-cyclonedx",
        only_for: None,
        look: || cargo_program("cyclonedx", CARGO_CYCLONEDX),
        supply: |_| install("cargo-cyclonedx", CARGO_CYCLONEDX),
    },
    Need {
        name: "cyclonedx-python-lib",
        only_for: Some("the check of the bill of materials"),
        look: || CYCLONEDX.look(),
        supply: |packages| CYCLONEDX.supply(packages),
    },
    Need {
        name: "kubernetes-validate",
        only_for: Some("the check of the DaemonSet"),
        look: || KUBERNETES_VALIDATE.look(),
        supply: |packages| KUBERNETES_VALIDATE.supply(packages),
    },
];

pub(super) const RPM_NEEDS: &[Need] = &[
    Need {
        name: "cargo-generate-rpm",
        only_for: Some("the RPM and its checks"),
        look: || cargo_program("generate-rpm", CARGO_GENERATE_RPM),
        supply: |_| install("cargo-generate-rpm", CARGO_GENERATE_RPM),
    },
    Need {
        name: "rpm",
        only_for: Some("the RPM and its checks"),
        look: rpm,
        supply: |packages| packages.install(&["rpm"]),
    },
    Need {
        name: "rpmlint",
        only_for: Some("a check of the RPM"),
        look: rpmlint,
        supply: |packages| packages.install(&["rpmlint"]),
    },
];

/// Whether an RPM can be made here and looked at.
pub fn has_rpm() -> bool {
    cargo_program("generate-rpm", CARGO_GENERATE_RPM).and(rpm()).is_ok()
}

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

fn rpmlint() -> Result<String> {
    let version = step::output(Command::new("rpmlint").arg("--version"));
    Ok(format!("rpmlint {}", first_line(&version.context("rpmlint is missing, which knows the rules for an RPM")?)))
}

/// Where `setup` put it.
pub fn kubernetes_validate() -> Result<PathBuf> {
    KUBERNETES_VALIDATE.program("kubernetes-validate")
}

/// The Python that has CycloneDX's schemas.
pub fn cyclonedx_python() -> Result<PathBuf> {
    CYCLONEDX.program("python")
}
