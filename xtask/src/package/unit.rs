//! The systemd units: exposure, and whether systemd reads them as they were meant, drop-ins included.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Package;

/// The most exposure that the service may have, in tenths, as `systemd-analyze security` counts.
const MOST_EXPOSURE: u32 = 40;

/// What units may be ordered after, so that a made-up machine has it.
const STANDARD_UNITS: [&str; 6] =
    ["sysinit.target", "basic.target", "sockets.target", "shutdown.target", "local-fs.target", "network-pre.target"];

/// A runner's unit as its own `svc.sh` names it.
const RUNNER_UNIT: &str = "actions.runner.acme-app.one.service";

fn analyze(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).env("SYSTEMD_PAGER", "cat").env("SYSTEMD_COLORS", "0");
    command
}

pub fn exposure(package: &Package) -> Result<()> {
    let unit = package.root.path().join("usr/lib/systemd/system/runner-agent.service");
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let mut security = analyze(&["security", "--offline=true", "--no-pager", &threshold]);
    let output = security.arg(unit).output().context("systemd-analyze can't be started")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        bail!("{}", text.lines().rfind(|line| !line.is_empty()).unwrap_or("systemd-analyze said nothing").trim());
    }
    Ok(())
}

/// Service and socket as they are, with the drop-in for the engine's gate, and a runner's unit with the one that binds it.
pub fn are_understood(package: &Package) -> Result<()> {
    let machine = tempfile::tempdir().context("a folder for a made-up machine")?;
    let units = made(machine.path(), "usr/lib/systemd/system")?;
    for name in STANDARD_UNITS {
        fs::write(units.join(name), "[Unit]\nDescription=made up\n")?;
    }
    let from = |path: &str| package.root.path().join(path);
    for unit in ["runner-agent.service", "runner-agent.socket"] {
        fs::copy(from("usr/lib/systemd/system").join(unit), units.join(unit))?;
    }
    fs::copy(from("usr/bin/runner-agent"), made(machine.path(), "usr/bin")?.join("runner-agent"))?;
    verify(machine.path(), "runner-agent.service")?;
    verify(machine.path(), "runner-agent.socket")?;

    let runner = "[Service]\nExecStart=/usr/bin/runner-agent\nKillMode=process\n";
    fs::write(units.join(RUNNER_UNIT), runner)?;
    let drop_in = made(machine.path(), &format!("etc/systemd/system/{RUNNER_UNIT}.d"))?;
    fs::copy(from("usr/share/runner-agent/runner.conf"), drop_in.join("runner-agent.conf"))?;
    verify(machine.path(), RUNNER_UNIT)?;

    let drop_in = made(machine.path(), "etc/systemd/system/runner-agent.service.d")?;
    fs::copy(from("usr/share/runner-agent/engine-gate.conf"), drop_in.join("engine-gate.conf"))?;
    verify(machine.path(), "runner-agent.service")
}

fn made(root: &Path, folder: &str) -> Result<PathBuf> {
    let folder = root.join(folder);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// A key that systemd doesn't know is a line on standard error and no failure, and that is what is looked for.
fn verify(root: &Path, unit: &str) -> Result<()> {
    let mut verify = analyze(&["verify", "--man=no", "--generators=no"]);
    let output = verify.arg(format!("--root={}", root.display())).arg(unit).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !said.trim().is_empty() {
        bail!("{unit}: {}", said.trim());
    }
    Ok(())
}
