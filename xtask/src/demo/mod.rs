//! `demo`: a real build under the agent, with one planted bad dependency: watched, then refused, then without an agent.
//!
//! A small cargo project is built from nothing: its real dependencies come fresh from the registry that this machine is
//! configured for, and one more dependency lies in the project itself. That one's build script reads a dummy
//! `~/.aws/credentials` and carries it to a drop host. Home and secret are made up, and the drop host lives in a network
//! namespace of this demo, so nothing leaves the machine but the registry's traffic.
//!
//! Three acts: in mode audit the secret arrives and the log names who carried it; in mode block the same build works and the
//! drop host hears nothing; and when the agent is killed while its job runs, what was refused stays refused.

pub mod drop_host;
mod killed;
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
use kernel_toolchain::Compiler;
use rustix::process::{Pid, Signal, kill_process};

use crate::{build, setup, step};
use drop_host::Received;
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
    let stop = step::stop_flag()?;
    let _only_one = one_at_a_time()?;
    let namespace = Namespace::create()?;
    let stage = Stage { compiler: &compiler, agent: &agent, namespace: &namespace, stop: &stop };

    eprintln!("── a real build under the agent, in mode audit");
    let watched = stage.build("audit", "demo.jsonl")?;
    eprintln!("── what the log says");
    watched.tell();
    watched.judge_audit()?;

    eprintln!("── the same build in mode block");
    let blocked = stage.build("block", "demo-block.jsonl")?;
    eprintln!("── what the log says");
    blocked.tell();
    blocked.judge_block()?;

    eprintln!("── a blocked job whose agent is killed");
    let log = fresh_log("demo-killed.jsonl")?;
    let drop_host = namespace.start_drop_host()?;
    let held = killed::run(&agent, &log);
    let received = drop_host.stop()?;
    stopped(&stop)?;
    held?;
    println!("the drop host received {received}");
    println!("the log is {}", log.display());
    nothing_arrived(received)
}

/// What each act plays on.
struct Stage<'a> {
    compiler: &'a Compiler,
    agent: &'a Path,
    namespace: &'a Namespace,
    stop: &'a AtomicBool,
}

impl Stage<'_> {
    /// Builds a fresh project, with a drop host of its own that listens all the while.
    fn build(&self, mode: &str, log: &str) -> Result<Played> {
        let log = fresh_log(log)?;
        let project = Project::create(self.compiler)?;
        let drop_host = self.namespace.start_drop_host()?;
        let mut command = Command::new(self.agent);
        command.args(["run", "--mode", mode, "--policy"]).arg(step::root().join("policies/cargo.yml"));
        command.arg("--log").arg(&log).arg("--");
        project.build_command(&mut command);
        let child = command.spawn().with_context(|| format!("{} can't be started", self.agent.display()))?;
        let status = wait(child, self.stop)?;
        stopped(self.stop)?;
        let received = drop_host.stop()?;
        let text = fs::read_to_string(&log).with_context(|| format!("{} was not written", log.display()))?;
        Ok(Played { status, received, log, text })
    }
}

/// How an act went.
struct Played {
    status: ExitStatus,
    received: Received,
    log: PathBuf,
    text: String,
}

impl Played {
    fn tell(&self) {
        println!("the drop host received {}", self.received);
        println!("the log is {}", self.log.display());
        for (id, severity, evidence) in findings(&self.text) {
            println!("finding {id} ({severity}), evidence: {evidence}");
        }
    }

    /// The build has to end well and the log has to name the planted chain.
    fn judge_audit(&self) -> Result<()> {
        let caught = findings(&self.text).iter().any(|(id, ..)| id == FINDING);
        if !caught {
            bail!("the log names no `{FINDING}`: the planted dependency was not seen for what it is");
        }
        // In audit mode findings may set the exit code 3 (see --fail-on); all else is the build's own failure.
        if !self.status.success() && self.status.code() != Some(3) {
            bail!("the build under the agent ended with {}", self.status);
        }
        println!("the planted dependency was named: {FINDING}");
        Ok(())
    }

    /// The build has to end well, the planted dependency has to have tried, and nothing may have arrived.
    fn judge_block(&self) -> Result<()> {
        if !self.status.success() {
            bail!("the build in mode block ended with {}", self.status);
        }
        let lines: Vec<serde_json::Value> =
            self.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_refused = |kind: &str, place: &str, wanted: &str| {
            lines.iter().any(|line| {
                line["kind"] == kind
                    && line["verdict"] == "blocked"
                    && line.pointer(place).is_some_and(|it| it == wanted)
            })
        };
        let address = namespace::DROP_HOST.to_string();
        if !is_refused("dns", "/name", drop_host::NAME) || !is_refused("connect", "/destination/ip", &address) {
            bail!("the log lacks a refusal: of the name {}, or of the address {address}", drop_host::NAME);
        }
        nothing_arrived(self.received)?;
        println!("the build works, and the planted dependency was kept from the name and from the address");
        Ok(())
    }
}

fn nothing_arrived(received: Received) -> Result<()> {
    if received != Received::default() {
        bail!("the drop host received {received}: blocking did not hold");
    }
    Ok(())
}

fn stopped(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        bail!("stopped by a signal; namespace and temporary files are gone");
    }
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
fn fresh_log(name: &str) -> Result<PathBuf> {
    let folder = step::target_dir()?.join("demo");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let log = folder.join(name);
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
        breathe();
    }
}

/// Between two looks at something that can't be waited for.
fn breathe() {
    thread::sleep(Duration::from_millis(20));
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
