//! `demo`: a real build under the agent, with one planted bad dependency.
//!
//! A small cargo project is built from nothing: its real dependencies come fresh from the registry that this machine is
//! configured for, and one more dependency lies in the project itself. That one's build script reads a dummy
//! `~/.aws/credentials` and carries it to a drop host. Home and secret are made up, and the drop host lives in a network
//! namespace of this demo, so nothing leaves the machine but the registry's traffic.

pub mod drop_host;
mod namespace;
mod project;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::{build, setup, step};
use namespace::Namespace;
use project::Project;

/// The finding that the planted dependency has to cause.
const FINDING: &str = "secret-exfiltration";

#[derive(Args)]
pub struct Options {
    /// Run this runner-agent instead of building one
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<()> {
    if !step::is_root() {
        bail!(
            "the demo loads programs into the kernel and makes a network namespace: run it as root (`sudo -E cargo xtask demo`)"
        );
    }
    setup::run(&setup::Options::default())?;
    let compiler = kernel_toolchain::find_compiler()?;
    let agent = match &options.agent {
        Some(agent) => agent.clone(),
        None => build::binary(&build::Options { release: true, ..build::Options::default() })?,
    };
    let log = fresh_log()?;

    let stop = step::stop_flag()?;
    let _only_one = one_at_a_time()?;
    let project = Project::create(&compiler)?;
    let namespace = Namespace::create()?;
    let drop_host = namespace.start_drop_host()?;

    eprintln!("── a real build under the agent");
    let mut command = Command::new(&agent);
    command.args(["run", "--mode", "audit", "--policy"]).arg(step::root().join("policies/cargo.yml"));
    command.arg("--log").arg(&log).arg("--");
    project.build_command(&mut command);
    let child = command.spawn().with_context(|| format!("{} can't be started", agent.display()))?;
    let status = wait(child, &stop)?;
    let received = drop_host.stop();
    if stop.load(Ordering::Relaxed) {
        bail!("stopped by a signal; namespace and temporary files are gone");
    }

    eprintln!("── what the log says");
    println!("the drop host received {received} bytes");
    println!("the log is {}", log.display());
    judge(status, &log)
}

/// The build has to end well and the log has to name the planted chain.
fn judge(status: ExitStatus, log: &Path) -> Result<()> {
    let text = fs::read_to_string(log).with_context(|| format!("{} was not written", log.display()))?;
    let found = findings(&text);
    for (id, severity, evidence) in &found {
        println!("finding {id} ({severity}), evidence: {evidence}");
    }
    let caught = found.iter().any(|(id, ..)| id == FINDING);
    if !caught {
        bail!("the log names no `{FINDING}`: the planted dependency was not seen for what it is");
    }
    // In audit mode findings may set the exit code 3 (see --fail-on); all else is the build's own failure.
    if !status.success() && status.code() != Some(3) {
        bail!("the build under the agent ended with {status}");
    }
    println!("the planted dependency was named: {FINDING}");
    Ok(())
}

/// Identifier, severity and evidence of every finding in a log.
fn findings(log: &str) -> Vec<(String, String, String)> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|notice| notice["kind"] == "finding")
        .map(|notice| {
            // Identifier and severity stand at the top of the notice or in its finding's own object.
            let field = |name: &str| match (&notice[name], &notice["finding"][name]) {
                (serde_json::Value::Null, inner) => plain(inner),
                (outer, _) => plain(outer),
            };
            (field("id"), field("severity"), field("evidence"))
        })
        .collect()
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Outside the temporary folder: the log is what the demo leaves to look at.
fn fresh_log() -> Result<PathBuf> {
    let folder = step::target_dir()?.join("demo");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let log = folder.join("demo.jsonl");
    if log.exists() {
        fs::remove_file(&log).with_context(|| log.display().to_string())?;
    }
    Ok(log)
}

/// Two demos at once would give one address to two namespaces.
fn one_at_a_time() -> Result<File> {
    // In a folder that only root writes to: in the temporary one, anybody could have put a link of that name.
    let path = Path::new("/run/runner-agent-demo.lock");
    let lock = File::create(path).with_context(|| path.display().to_string())?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another demo on this machine");
        lock.lock().context("waiting for another demo")?;
    }
    Ok(lock)
}

/// Waits for the agent. Ctrl-C reaches it by the terminal; a signal that only reached this process is passed on.
fn wait(mut child: Child, stop: &AtomicBool) -> Result<ExitStatus> {
    let mut passed_on = false;
    loop {
        if let Some(status) = child.try_wait().context("waiting for the agent")? {
            return Ok(status);
        }
        if stop.load(Ordering::Relaxed) && !passed_on {
            passed_on = true;
            // It may have ended since; then there is nobody to tell.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program that is ended with this value.
struct Helper {
    child: Child,
}

impl Helper {
    fn start(command: &mut Command) -> Result<Self> {
        // Its standard input is the life line: it ends when this process does, however that happens.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Ok(Self { child: child.with_context(|| format!("`{}` can't be started", step::line(command)))? })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_from_among_other_notices() {
        let log = r#"{"kind":"exec","id":"no"}
not json
{"kind":"finding","id":"secret-exfiltration","severity":"high","evidence":[7,9]}
"#;
        assert_eq!(findings(log), [("secret-exfiltration".into(), "high".into(), "[7,9]".into())]);
    }
}
