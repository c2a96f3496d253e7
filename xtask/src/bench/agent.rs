//! Running a load under the agent, and what the agent itself takes: memory, time to ready.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How often the agent's memory is read; the kernel keeps the peak, so only the last reading counts.
const POLL: Duration = Duration::from_millis(10);

/// The loads break none of its rules (loopback is open unless a policy closes it), so what is measured is watching, not
/// findings. The watched file is one that no catalogue of secret files knows, so this rule is the only one for it.
const POLICY: &str = r#"version: 1
name: bench
mode: audit
secrets:
  files:
    - { path: "~/watched/credentials", readers: [xtask], why: "the load of watched opens" }
"#;

/// What the agent took, over all its runs.
#[derive(Debug, Default)]
pub struct Footprint {
    /// The highest resident set of any run, in KiB.
    pub peak_kib: u64,
    /// Milliseconds from start to ready, one for each run that said so.
    pub ready_ms: Vec<f64>,
}

pub struct Agent {
    binary: PathBuf,
    policy: PathBuf,
    log: PathBuf,
    output: PathBuf,
}

impl Agent {
    pub fn new(binary: &Path, folder: &Path) -> Result<Self> {
        let policy = folder.join("bench.yml");
        fs::write(&policy, POLICY).context("the benchmark's policy")?;
        Ok(Self { binary: binary.to_path_buf(), policy, log: folder.join("log.jsonl"), output: folder.join("output") })
    }

    /// `runner-agent run … --`, for the load to follow.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--fail-on", "never", "--policy"]).arg(&self.policy);
        command.arg("--log").arg(&self.log).arg("--");
        command
    }

    pub fn run(&self, mut command: Command, footprint: &mut Footprint) -> Result<()> {
        let output = File::create(&self.output).context("a file for the agent's output")?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn().with_context(|| format!("{} can't be started", self.binary.display()))?;
        let status_file = format!("/proc/{}/status", child.id());
        let mut peak_kib = 0;
        let status = loop {
            if let Some(status) = child.try_wait().context("waiting for the agent")? {
                break status;
            }
            // An agent that is just ending has no memory left to tell of.
            peak_kib = fs::read_to_string(&status_file).ok().and_then(|text| peak(&text)).unwrap_or(peak_kib);
            thread::sleep(POLL);
        };
        if !status.success() {
            let output = fs::read_to_string(&self.output).unwrap_or_default();
            bail!("the agent ended with {status}:\n{}", output.trim());
        }
        footprint.peak_kib = footprint.peak_kib.max(peak_kib);
        let log = fs::read_to_string(&self.log).context("the agent's log")?;
        footprint.ready_ms.extend(ready_ms(&log));
        fs::remove_file(&self.log).context("the agent's log")
    }
}

/// `VmHWM:     12345 kB` of proc(5).
fn peak(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The agent's own notice that it watches; it stands near the start of the log.
pub fn ready_ms(log: &str) -> Option<f64> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|notice| notice["kind"] == "agent" && notice["state"] == "ready")?["ready_ms"]
        .as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_proc() {
        assert_eq!(peak("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   5120 kB\n"), Some(5120));
        assert_eq!(peak("Name:\tzombie\n"), None);
    }

    #[test]
    fn the_time_to_ready_is_read_from_the_log() {
        let log = "{\"kind\":\"job\"}\n{\"kind\":\"agent\",\"state\":\"ready\",\"ready_ms\":87.5}\n";
        assert_eq!(ready_ms(log), Some(87.5));
        assert_eq!(ready_ms("{\"kind\":\"agent\",\"state\":\"stopped\"}\n"), None);
    }
}
