//! The daemon's figures: as OpenMetrics text over its socket, and in the file for a collector, which is another format.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Row;
use super::daemon::Daemon;
use super::endpoint::python;
use crate::{build, setup, step};

/// A daemon without jobs has figures too.
pub fn rows() -> Result<Vec<Row>> {
    eprintln!("── figures");
    let binary = build::for_tests()?;
    let folder = tempfile::Builder::new().prefix("runner-agent-figures-").tempdir().context("a folder for a daemon")?;
    let mut agent = Agent::start(&binary, folder.path())?;
    let socket = folder.path().join("socket");
    drop(agent.daemon.wait_for("listening", || UnixStream::connect(&socket).ok())?);
    let open =
        step::output(Command::new(&binary).args(["job", "metrics", "--socket"]).arg(&socket).stdin(Stdio::null()))?;
    let file = folder.path().join("figures.prom");
    let file = agent.daemon.wait_for("writing figures", || fs::read_to_string(&file).ok())?;
    drop(agent);
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let kept = folder.path().join("open.txt");
    fs::write(&kept, &open)?;
    let counted = python("figures", &kept).and_then(|said| said.trim().parse().context("a number of samples"));
    let problems = counted.as_ref().err().map(|error| format!("{error:#}"));
    Ok(vec![
        Row {
            receiver: "OpenMetrics, of a daemon",
            sent: samples(&open),
            received: counted.unwrap_or(0),
            validator: "prometheus-client: its strict parser",
            problems: problems.into_iter().collect(),
        },
        Row {
            receiver: "textfile, of a daemon",
            sent: samples(&open),
            received: samples(&file),
            validator: "promtool check metrics: reads it, and has nothing to say",
            problems: objections(&file)?,
        },
    ])
}

/// What promtool says of figures, and that it would say something of others.
fn objections(file: &str) -> Result<Vec<String>> {
    let said = |text: &str| -> Result<Vec<String>> {
        let place = tempfile::NamedTempFile::new().context("a file for figures")?;
        fs::write(place.path(), text)?;
        let mut promtool = Command::new(setup::receivers::folder()?.join(setup::receivers::PROMTOOL));
        let output = promtool.args(["check", "metrics"]).stdin(fs::File::open(place.path())?).output()?;
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let mut lines: Vec<String> = words.lines().map(str::to_owned).collect();
        if !output.status.success() && lines.is_empty() {
            lines.push(format!("promtool ended with {}", output.status));
        }
        Ok(lines)
    };
    let mut problems = said(file)?;
    for spoilt in [file.replacen(" counter\n", " info\n", 1), file.replacen("# HELP", "# LEFT", 1)] {
        if said(&spoilt)?.is_empty() {
            problems.push("promtool took what is spoilt".to_owned());
        }
    }
    Ok(problems)
}

/// The agent as a daemon without jobs.
struct Agent {
    daemon: Daemon,
    /// Mounted by it where the system has none.
    bpf: PathBuf,
}

impl Agent {
    fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let at = |name: &str| folder.join(name).display().to_string();
        fs::create_dir(folder.join("policies"))?;
        fs::write(folder.join("policies/audit.yml"), "version: 1\nname: figures\nmode: audit\n")?;
        let configuration = format!(
            "version: 1\nsocket: {}\npolicies: {}\nlogs: {}\nstate: {}\nmetrics-file: {}\n",
            at("socket"),
            at("policies"),
            at("logs"),
            at("state"),
            at("figures.prom"),
        );
        fs::write(folder.join("config.yml"), configuration)?;
        let output = folder.join("output");
        let log = fs::File::create(&output)?;
        // In a session of its own: what shares the daemon's could signal it, and it says so.
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(binary).arg("daemon").arg("--config").arg(folder.join("config.yml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("the daemon can't be started")?;
        Ok(Self { daemon: Daemon::of(child, output), bpf: folder.join("state/bpf") })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The daemon is the only child of `setsid --wait`, which ends with it.
        let of = self.daemon.id();
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
        let daemon = children.split_whitespace().next().unwrap_or_default().to_owned();
        if !daemon.is_empty() && step::succeeds(Command::new("kill").arg(daemon)) {
            self.daemon.wait();
        }
        if self.bpf.exists() {
            step::succeeds(Command::new("umount").arg(&self.bpf));
        }
    }
}
