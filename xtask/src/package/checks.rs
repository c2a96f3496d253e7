//! Whether a package is what it should be: one table of checks, each with a name that is true when it holds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Package, contents, daemonset, sbom, unit};
use crate::suite::Suite;
use crate::{setup, step};

/// Why a check could not run.
type Reason = Option<&'static str>;

struct Check {
    name: &'static str,
    holds: fn(&Package) -> Result<()>,
    could_not_run: fn(&Package) -> Reason,
}

const fn check(name: &'static str, holds: fn(&Package) -> Result<()>) -> Check {
    Check { name, holds, could_not_run: |_| None }
}

const CHECKS: &[Check] = &[
    check("the package holds what it should, with the rights it should", contents::files_and_rights),
    check("an upgrade keeps what was configured", contents::configuration),
    check("lintian has no error and no warning", lintian),
    Check {
        name: "the RPM holds what it should, with the rights it should",
        holds: |package| package.rpm.as_deref().map_or(Ok(()), contents::files_and_rights_of_rpm),
        could_not_run: lacks_rpm,
    },
    Check { name: "rpmlint has no error", holds: rpmlint, could_not_run: lacks_rpmlint },
    check("every command has its manual page", contents::manual_pages),
    check("bash, zsh and fish complete it as the binary says", contents::completions),
    check("the binary is static and says its version", binary),
    check("the service is exposed no more than it may be", unit::exposure),
    check("systemd understands the service and both drop-ins", unit::are_understood),
    check("the hooks are shell, and good shell", hooks),
    check("the policies are right, and so are their cases", policies),
    check("the daemon takes its configuration", configuration),
    check("the binary names no folder of the machine that built it", folders),
    check("the bill of materials names every package that cargo builds it from, and its digest", sbom::is_complete),
    Check {
        name: "the bill of materials is what CycloneDX's schema says",
        holds: sbom::is_valid,
        could_not_run: lacks_cyclonedx,
    },
    check("a sink that the binary was built without is refused, and says so", sinks),
    Check {
        name: "Kubernetes knows every key of the DaemonSet",
        holds: daemonset::is_valid,
        could_not_run: lacks_validator,
    },
];

pub fn all(package: &Package) -> Suite {
    let mut suite = Suite { name: super::name(package.target), ..Suite::default() };
    for check in CHECKS {
        let name = check.name.to_owned();
        if let Some(reason) = (check.could_not_run)(package) {
            suite.skipped.push((name, reason.to_owned()));
            continue;
        }
        suite.take(&name, (check.holds)(package));
    }
    suite
}

fn lintian(package: &Package) -> Result<()> {
    let mut lintian = Command::new("lintian");
    if step::is_root() {
        lintian.arg("--allow-root");
    }
    let output = lintian.args(["--fail-on", "error,warning"]).arg(&package.deb).output()?;
    if !output.status.success() {
        bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// It says no to what was meant, and knows no words of our field: what it may say stands in its configuration, each with its reason.
fn rpmlint(package: &Package) -> Result<()> {
    let Some(rpm) = &package.rpm else { return Ok(()) };
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--config").arg(step::root().join("packaging/rpm/rpmlint.toml")).arg(rpm);
    step::output(&mut rpmlint).map(drop)
}

fn binary(package: &Package) -> Result<()> {
    let binary = package.root.path().join("usr/bin/runner-agent");
    let said = step::output(package.command(&binary).arg("--version"))?;
    let expected = format!("runner-agent {}", env!("CARGO_PKG_VERSION"));
    if said.trim() != expected {
        bail!("it says {said:?}, and should say {expected:?}");
    }
    let linked = Command::new("ldd").arg(&package.binary).output()?;
    let linked = String::from_utf8_lossy(&linked.stdout) + String::from_utf8_lossy(&linked.stderr);
    if !linked.contains("statically linked") && !linked.contains("not a dynamic executable") {
        bail!("it is linked with {}", linked.trim());
    }
    Ok(())
}

/// The homes of cargo and of the compiler, and the sources: they would make another binary in another folder.
fn folders(package: &Package) -> Result<()> {
    let program = package.root.path().join("usr/bin/runner-agent");
    let outside = kernel_toolchain::outside(&kernel_toolchain::find_compiler()?);
    let folders = outside.into_iter().map(|(folder, _)| folder).chain([step::root(), step::target_dir()?]);
    for folder in folders {
        let mut grep = Command::new("grep");
        grep.args(["--text", "--quiet", "--fixed-strings", "--"]).arg(&folder).arg(&program);
        match grep.status().context("grep can't be started")?.code() {
            Some(1) => {}
            Some(0) => bail!("it has {} in it", folder.display()),
            code => bail!("grep ended with {code:?}"),
        }
    }
    Ok(())
}

fn hooks(package: &Package) -> Result<()> {
    for name in ["job-started.sh", "job-completed.sh"] {
        let hook = package.root.path().join("usr/lib/runner-agent/hooks").join(name);
        step::output(Command::new("sh").arg("-n").arg(&hook))?;
        step::output(Command::new("shellcheck").args(["--severity=style", "--shell=sh"]).arg(&hook))?;
        fails_closed(&hook)?;
    }
    Ok(())
}

/// As the runner starts it, where there is no agent: the job must fail. A machine that has one would be asked, so then the
/// hook is left alone.
fn fails_closed(hook: &Path) -> Result<()> {
    if Path::new("/usr/bin/runner-agent").exists() {
        return Ok(());
    }
    let output = Command::new("sh").arg("-e").arg(hook).output()?;
    if output.status.success() {
        bail!("{} ends well without an agent", hook.display());
    }
    Ok(())
}

/// As they lie in the package, and once more as they are in the binary, where their cases are.
fn policies(package: &Package) -> Result<()> {
    let folder = package.root.path().join("etc/runner-agent");
    let mut check = package.agent();
    check.args(["policy", "check"]).arg(folder.join("floor.yml"));
    for name in ["build", "pr-validation", "release"] {
        check.arg(folder.join("policies").join(name).with_extension("yml"));
    }
    step::output(&mut check)?;
    step::output(package.agent().args(["policy", "check"])).map(drop)
}

/// The machine that checks has nothing of it in /etc: the same configuration, of the files as they lie unpacked.
fn configuration(package: &Package) -> Result<()> {
    let folder = package.root.path().join("etc/runner-agent");
    let text = fs::read_to_string(folder.join("config.yml")).context("the package's configuration")?;
    let file = tempfile::NamedTempFile::new().context("a file for the configuration")?;
    fs::write(file.path(), text.replace("/etc/runner-agent", &folder.display().to_string()))?;
    step::output(package.agent().args(["daemon", "--check", "--config"]).arg(file.path())).map(drop)
}

fn sinks(package: &Package) -> Result<()> {
    let file = tempfile::NamedTempFile::new().context("a file for a configuration")?;
    fs::write(file.path(), "version: 1\nsinks: [{ name: bus, type: nats, url: 'nats://127.0.0.1:4222' }]\n")?;
    let output = package.agent().args(["sink", "list", "--config"]).arg(file.path()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(2) || !said.contains("is not in this binary") {
        bail!("it ended with {}: {said}", output.status);
    }
    Ok(())
}

fn lacks_validator(_: &Package) -> Reason {
    let is_there = daemonset::validator().is_ok_and(|program| program.is_file());
    (!is_there).then_some("kubernetes-validate is not installed; setup says why")
}

fn lacks_cyclonedx(_: &Package) -> Reason {
    let is_there = setup::cyclonedx_python().is_ok_and(|python| python.is_file());
    (!is_there).then_some("cyclonedx-python-lib is not installed; setup says why")
}

fn lacks_rpm(package: &Package) -> Reason {
    package
        .rpm
        .is_none()
        .then_some("no RPM was made: `cargo xtask package --rpm` makes one, where its tools can be had")
}

fn lacks_rpmlint(package: &Package) -> Reason {
    let is_there = step::succeeds(Command::new("rpmlint").arg("--version"));
    lacks_rpm(package).or((!is_there).then_some("rpmlint is not installed; setup says why"))
}
