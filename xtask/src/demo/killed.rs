//! The last act: the agent of a blocked job is killed while the job runs. What was refused must stay refused, without an
//! agent and with the one that takes over; and the log of both must be one chain.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::drop_host::PORT;
use super::namespace::DROP_HOST;
use crate::step;

/// A policy of two lines: everything public is refused.
const POLICY: &str = "version: 1\nname: nothing\nmode: block\n";

/// What the job says of each try.
const REFUSED: &str = "refused";

/// How long an agent may take to write something down, or a keeper to notice that its job has ended.
const WITHIN: Duration = Duration::from_secs(20);

/// Kills the agent of a job, tries, lets the next start take over, tries again, and reads the log.
pub fn run(agent: &Path, log: &Path) -> Result<()> {
    let mut act = Act::start(agent, log)?;
    act.must_be_refused("under its agent")?;
    // What an agent has read and not yet written dies with it.
    until("the agent has not written down the refusal", || {
        fs::read_to_string(log).is_ok_and(|text| has_refusal(&text))
    })?;
    act.agent.kill().context("killing the agent")?;
    act.agent.wait().context("waiting for the killed agent")?;
    println!("the agent was killed with SIGKILL; its job runs on");
    act.must_be_refused("without an agent")?;
    let said = act.next_start()?;
    print!("the next start said: {}", said.lines().next().map(|line| format!("{line}\n")).unwrap_or_default());
    act.must_be_refused("under the keeper that took over")?;
    act.end()?;
    judge(agent, log)
}

/// The log has to say who took over, to be whole, and to have the try that was made after.
fn judge(agent: &Path, log: &Path) -> Result<()> {
    let mut events = Command::new(agent);
    events.arg("events").arg(log).args(["--format", "json"]);
    let text =
        step::output(&mut events).context("the log of the killed agent and its keeper is not one whole chain")?;
    let lines: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let Some(taken) = lines.iter().position(|line| line["state"] == "taken-over") else {
        bail!("the log does not say that somebody took over");
    };
    let is_refusal = |line: &&serde_json::Value| is_refusal(line);
    let (before, after) = lines.split_at(taken);
    let refused = (before.iter().filter(is_refusal).count(), after.iter().filter(is_refusal).count());
    if refused.0 == 0 || refused.1 == 0 || after.last().is_none_or(|line| line["state"] != "ended") {
        bail!("the log lacks a refusal, or the job's end: {refused:?}");
    }
    println!(
        "the log is one chain of {} lines: {} refusals, `taken-over`, {} refusals, and the job's end",
        lines.len(),
        refused.0,
        refused.1
    );
    Ok(())
}

fn is_refusal(line: &serde_json::Value) -> bool {
    line["kind"] == "connect" && line["verdict"] == "blocked"
}

fn has_refusal(log: &str) -> bool {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).any(|line| is_refusal(&line))
}

/// Waits for something that announces itself to nobody.
fn until(what_is_wrong_else: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !is_so() {
        if Instant::now() >= deadline {
            bail!("{what_is_wrong_else}");
        }
        super::breathe();
    }
    Ok(())
}

/// A job that tries to reach the drop host each time it is told to. Nothing of it is left when this is dropped.
struct Act<'a> {
    agent_program: &'a Path,
    agent: Child,
    tell: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
    /// Of this demo alone: the next start must find this job, and nobody else's.
    folder: TempDir,
}

impl<'a> Act<'a> {
    fn start(agent: &'a Path, log: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("runner-agent-demo-").tempdir().context("a temporary folder")?;
        let policy = folder.path().join("nothing.yml");
        fs::write(&policy, POLICY).with_context(|| policy.display().to_string())?;
        let script = format!(
            "while read -r _; do if (exec 3<>/dev/tcp/{DROP_HOST}/{PORT}) 2>/dev/null; \
             then echo reached; else echo {REFUSED}; fi; done"
        );
        let mut command = Command::new(agent);
        command.arg("run").arg("--state").arg(folder.path().join("state")).arg("--policy").arg(&policy);
        command.arg("--log").arg(log).args(["--", "bash", "-c", &script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} can't be started", agent.display()))?;
        let tell = child.stdin.take();
        let hear = BufReader::new(child.stdout.take().context("the job's output")?);
        Ok(Self { agent_program: agent, agent: child, tell, hear, folder })
    }

    fn must_be_refused(&mut self, when: &str) -> Result<()> {
        let job = self.tell.as_mut().context("the job's input")?;
        job.write_all(b"try\n").context("telling the job to try")?;
        let mut answer = String::new();
        self.hear.read_line(&mut answer).context("the job's answer")?;
        if answer.trim() != REFUSED {
            bail!("{when}, the job said {answer:?} of the drop host");
        }
        println!("{when}: refused");
        Ok(())
    }

    /// Starts an agent, for a job of its own, and returns what it said.
    fn next_start(&self) -> Result<String> {
        let mut next = Command::new(self.agent_program);
        next.arg("run").arg("--state").arg(self.folder.path().join("state")).args(["--mode", "audit", "--", "true"]);
        let output = next.stdin(Stdio::null()).output().context("starting the next agent")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("the next start ended with {}: {said}", output.status);
        }
        Ok(said)
    }

    /// Lets the job end, and waits until its keeper has put everything away.
    fn end(&mut self) -> Result<()> {
        self.tell = None;
        let jobs = self.folder.path().join("state/jobs");
        let is_empty = || !fs::read_dir(&jobs).is_ok_and(|mut entries| entries.next().is_some());
        until("the keeper has not put away what the job needed", is_empty)
    }
}

impl Drop for Act<'_> {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        if self.tell.is_some() {
            // Something failed on the way. A start finds what is left, whoever looked after it, and the job's end ends it.
            self.tell = None;
            let _ = self.next_start();
            let _ = self.end();
        }
    }
}
