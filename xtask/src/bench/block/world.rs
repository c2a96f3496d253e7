//! Where block mode is measured: a network namespace joined to nothing, with a resolver's address of its own, and three
//! ways to run a load in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;
use serde_json::Value;
use tempfile::TempDir;

use super::load::{self, Work};
use crate::step;

/// The resolver that the namespace's `resolv.conf` names (TEST-NET-1): the loads' own upstream answers there.
pub const UPSTREAM: &str = "192.0.2.53";

/// Who looks at a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Nobody,
    Audit,
    Block,
}

/// The namespace goes away with this value, and so does every file.
pub struct World {
    folder: TempDir,
    agent: PathBuf,
    name: String,
}

impl World {
    pub fn new(agent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("runner-agent-bench-").tempdir().context("a temporary folder")?;
        fs::write(folder.path().join("resolv.conf"), format!("nameserver {UPSTREAM}\n")).context("resolv.conf")?;
        let name = format!("ra-bench-{}", std::process::id());
        step::output(Command::new("ip").args(["netns", "add", &name]))?;
        let world = Self { folder, agent: agent.to_path_buf(), name };
        world.ip(&["link", "set", "lo", "up"])?;
        world.ip(&["addr", "add", &format!("{UPSTREAM}/32"), "dev", "lo"])?;
        Ok(world)
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        step::output(Command::new("ip").args(["-n", &self.name]).args(arguments)).map(drop)
    }

    /// A file of the world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes policies under these names; a load runs under all that are given to it.
    pub fn policies(&self, name: &str, texts: &[String]) -> Result<Vec<PathBuf>> {
        let write = |(number, text): (usize, &String)| {
            let path = self.path(&format!("{name}-{number}.yml"));
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            Ok(path)
        };
        texts.iter().enumerate().map(write).collect()
    }

    /// A command in the namespace, which sees the namespace's `resolv.conf` as the machine's.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"").arg(self.path("resolv.conf"));
        command.stdin(Stdio::null());
        command
    }

    /// This program, in the namespace, doing that work beside the loads until it is ended.
    pub fn beside(&self, work: Work) -> Result<Beside> {
        let mut command = self.enter();
        self.load(&mut command, work, 0, 0)?;
        command.stdout(Stdio::piped());
        let mut child = command.spawn().context("the work beside the loads")?;
        let mut said = [0; 6];
        let ready = child.stdout.take().context("its output is a pipe")?;
        let told = std::io::Read::read_exact(&mut { ready }, &mut said);
        let beside = Beside(child);
        told.context("the work beside the loads did not start")?;
        Ok(beside)
    }

    fn load(&self, command: &mut Command, work: Work, count: u64, rules: usize) -> Result<()> {
        let named = work.to_possible_value().context("each work has a name")?;
        command.arg(std::env::current_exe().context("where this program lies")?);
        command.args([
            "bench-block-load",
            named.get_name(),
            &count.to_string(),
            "--rules",
            &rules.to_string(),
            "--result",
        ]);
        command.arg(self.path("result"));
        Ok(())
    }

    /// Runs a load, under rules of which it knows the number; its result, and the milliseconds that the agent needed until it was ready.
    pub fn run(
        &self,
        watch: Watch,
        policies: &[PathBuf],
        work: Work,
        count: u64,
        rules: usize,
    ) -> Result<(Value, f64)> {
        let (result, log, output) = (self.path("result"), self.path("log.jsonl"), self.path("output"));
        let mut command = self.enter();
        if watch != Watch::Nobody {
            let mode = if watch == Watch::Audit { "audit" } else { "block" };
            command.arg(&self.agent).args(["run", "--mode", mode, "--log"]).arg(&log);
            command.arg("--state").arg(self.path("state"));
            for policy in policies {
                command.arg("--policy").arg(policy);
            }
            command.arg("--");
        }
        self.load(&mut command, work, count, rules)?;
        if watch != Watch::Nobody {
            command.arg("--under-agent");
        }
        let said = File::create(&output).context("a file for the output")?;
        let status = command.stdout(said.try_clone()?).stderr(said).status().context("starting the load")?;
        if !status.success() {
            let said = fs::read_to_string(&output).unwrap_or_default();
            bail!("{work:?} under {watch:?} ended with {status}:\n{}", said.trim());
        }
        let value = serde_json::from_slice(&fs::read(&result).context("the load left no result")?)?;
        fs::remove_file(&result).context("the load's result")?;
        let ready = fs::read_to_string(&log).ok().and_then(|log| crate::bench::agent::ready_ms(&log));
        Ok((value, ready.unwrap_or_default()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Work beside the loads; ended with this value.
pub struct Beside(std::process::Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counts how long each eBPF program runs, for as long as this lives; the machine's setting is then what it was.
pub struct KernelStatistics(String);

/// The switch, of the whole machine.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl KernelStatistics {
    pub fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).context(SWITCH)?;
        fs::write(SWITCH, "1").context(SWITCH)?;
        Ok(Self(before))
    }
}

impl Drop for KernelStatistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.0.trim()) {
            eprintln!("{SWITCH} is still 1: {error}");
        }
    }
}

/// A number of a load's result.
pub fn number(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().with_context(|| format!("the load told no {name}"))
}

/// A policy that opens loopback's networks by explicit rules, so that each verdict looks for one.
pub fn open_loopback() -> String {
    format!(
        "version: 1\nname: bench-block\negress:\n  allow:\n    - {{ cidr: 127.0.0.0/8, ports: [{}-{}], protocol: any, \
         class: loopback, why: \"the loads\" }}\n    - {{ host: \"*.bench.test\", names: 30000, class: public, \
         why: \"the loads ask for names\" }}\n",
        load::PORTS.start(),
        load::PORTS.end()
    )
}
