//! A daemon of a test's own, with folders and a socket that go away.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::host;
use crate::log::Log;

/// A daemon that runs. It is ended with the value.
pub struct Daemon {
    agent: PathBuf,
    folder: TempDir,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one with these policies, each the text of a file, and more lines of configuration; waits until it answers.
    pub fn start(agent: PathBuf, policies: &[&str], more: &str) -> Self {
        let mut daemon = Self::prepared(agent, policies, more);
        daemon.launch();
        daemon
    }

    /// The same, not started.
    pub fn prepared(agent: PathBuf, policies: &[&str], more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("runner-agent-daemon-").tempdir().expect("a folder for a daemon");
        let daemon = Self { agent, folder, child: None };
        fs::create_dir(daemon.path("policies")).expect("a folder for policies");
        for (number, policy) in policies.iter().enumerate() {
            fs::write(daemon.path(&format!("policies/{number}.yml")), policy).expect("a policy can be written");
        }
        let tier = crate::job::tier().filter(|_| !more.contains("tier: "));
        let tier = tier.map(|tier| format!("tier: {tier}\n")).unwrap_or_default();
        let at = |below: &str| daemon.path(below).display().to_string();
        let config = format!(
            "version: 1\nsocket: {}\npolicies: {}\nlogs: {}\nstate: {}\n{tier}{more}",
            at("socket"),
            at("policies"),
            at("logs"),
            at("state"),
        );
        fs::write(daemon.path("config.yml"), config).expect("a configuration can be written");
        // Everybody's jobs find the socket.
        fs::set_permissions(daemon.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("it is ours");
        daemon
    }

    /// Starts it, and waits until it answers.
    pub fn launch(&mut self) {
        self.launch_as(self.command());
    }

    /// Starts a command that is the daemon, and waits until it answers.
    pub fn launch_as(&mut self, mut command: Command) {
        let child = command.spawn().expect("the daemon can be started");
        self.child = Some(child);
        let answered = |daemon: &mut Self| {
            let ended = daemon.child.as_mut().and_then(|child| child.try_wait().expect("it is ours to wait for"));
            assert!(ended.is_none(), "the daemon ended: {}", daemon.said());
            daemon.ask(&["status"]).status.success()
        };
        let within = host::patience(std::time::Duration::from_mins(1));
        assert!(crate::wait_until(within, || answered(self)), "it doesn't answer: {}", self.said());
    }

    /// The daemon as a command, in a session of its own.
    pub fn command(&self) -> Command {
        self.command_after(&[])
    }

    /// The same, with a descriptor handed over as systemd does it.
    pub fn command_handed(&self, descriptor: OwnedFd) -> Command {
        let hand_over = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
        let mut command = self.command_after(&["bash", "-c", hand_over, "bash"]);
        command.stdin(descriptor);
        command
    }

    /// With words that start it.
    fn command_after(&self, starter: &[&str]) -> Command {
        let output = fs::File::create(self.path("output")).expect("what it says can be kept");
        let mut command = Command::new("setsid");
        command.arg("--wait").args(starter).arg(&self.agent).arg("daemon").arg("--config").arg(self.path("config.yml"));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.folder.path());
        command.env("RUNNER_AGENT_LOG", "info");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        command.process_group(0);
        command
    }

    /// A path below its folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        let setsid = self.child.as_ref().expect("it was started").id();
        let children = fs::read_to_string(format!("/proc/{setsid}/task/{setsid}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(setsid)
    }

    /// `job` with these words, from this process.
    pub fn ask(&self, words: &[&str]) -> Output {
        let mut command = Command::new(&self.agent);
        command.arg("job").args(words).arg("--socket").arg(self.path("socket"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.folder.path());
        command.output().expect("the client can be started")
    }

    /// What `job` answers, as JSON.
    pub fn answer(&self, words: &[&str]) -> Value {
        let out = self.ask(&[words, &["--format", "json"]].concat());
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// A worker: a shell that runs a script, in which `start` and `stop` are those of `job`, with these variables alone.
    pub fn worker(&self, script: &str, variables: &[(&str, &str)]) -> Command {
        let prelude = format!(
            "start() {{ {agent} job start --socket {socket} --deadline {patience} \"$@\"; }}\n\
             stop() {{ {agent} job stop --socket {socket} --deadline {patience} \"$@\"; }}\n",
            agent = self.agent.display(),
            socket = self.path("socket").display(),
            patience = host::patience(std::time::Duration::from_mins(1)).as_secs(),
        );
        let mut command = Command::new("bash");
        command.arg("-c").arg(prelude + script);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.folder.path());
        command.envs(variables.iter().copied()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a worker to its end.
    pub fn run(&self, script: &str, variables: &[(&str, &str)]) -> Worked {
        let out = self.worker(script, variables).output().expect("a shell can be started");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Worked { code: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) }
    }

    /// Waits until no job is left.
    pub fn wait_until_idle(&self) {
        let within = host::patience(std::time::Duration::from_secs(20));
        let is_idle = || self.answer(&["status"])["jobs"] == 0;
        assert!(crate::wait_until(within, is_idle), "jobs are left: {}", self.answer(&["list"]));
    }

    /// The files of all logs, also of jobs that are under way.
    pub fn logs_written(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("logs")).into_iter().flatten().flatten();
        let is_log = |path: &PathBuf| path.extension().is_some_and(|end| end == "jsonl");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_log).collect();
        paths.sort();
        paths
    }

    /// The logs of ended jobs, by name of their file.
    pub fn logs(&self) -> Vec<(PathBuf, Log)> {
        self.logs_written().into_iter().map(|path| (path.clone(), read(&path))).collect()
    }

    /// The only log.
    pub fn log(&self) -> Log {
        let mut logs = self.logs();
        assert_eq!(logs.len(), 1, "{:?}", logs.iter().map(|(path, _)| path).collect::<Vec<_>>());
        logs.remove(0).1
    }

    /// The agent's program.
    pub fn program(&self) -> &Path {
        &self.agent
    }

    /// The keeper of a job that a daemon before it began.
    pub fn keeper(&self) -> Option<Pid> {
        let state = self.path("state");
        let is_keeper = |pid: &i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
            matches!(words[..], [_, b"keep", b"--state", at, ..] if at == state.as_os_str().as_encoded_bytes())
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(is_keeper).and_then(Pid::from_raw)
    }

    /// Has the next start be of another program.
    pub fn upgrade(&mut self, agent: PathBuf) {
        self.agent = agent;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("it has a number");
        rustix::process::kill_process(pid, signal).expect("it is ours to signal");
    }

    /// Cgroups of the jobs that it has left to a successor.
    fn jobs_left(&self) -> Vec<PathBuf> {
        let stations = fs::read_dir(self.path("state/jobs")).into_iter().flatten().flatten();
        let words = stations.filter_map(|station| fs::read(station.path().join("job.json")).ok());
        let words = words.filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let jobs = words.flat_map(|word| word["jobs"].as_array().cloned().unwrap_or_default());
        jobs.filter_map(|job| job["cgroup"].as_str().map(PathBuf::from)).collect()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.take().and_then(|mut child| child.wait().ok()).and_then(|status| status.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && child.try_wait().is_ok_and(|ended| ended.is_none())
        {
            self.signal(Signal::TERM);
            self.wait();
        }
        // A daemon leaves jobs that are under way as they are, and after a test that failed nobody comes to see to them.
        for job in self.jobs_left() {
            crate::cgroup::end_all(&job);
            let is_gone = || !job.exists() || fs::remove_dir(&job).is_ok();
            if !crate::wait_until(host::patience(std::time::Duration::from_secs(10)), is_gone) {
                let _ = writeln!(std::io::stderr(), "{} stays behind", job.display());
            }
        }
        // It would make the folder again, in which it takes its pins away.
        if !crate::wait_until(host::patience(std::time::Duration::from_secs(10)), || self.keeper().is_none()) {
            let _ = writeln!(std::io::stderr(), "a keeper in {} goes on", self.folder.path().display());
        }
        let bpf = self.path("state/bpf");
        if bpf.exists() {
            // Not mounted where the system has one.
            let _ = rustix::mount::unmount(&bpf, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn read(path: &Path) -> Log {
    let mut text = String::new();
    fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).expect("a log can be read");
    Log::read(text)
}

/// What came of a worker.
#[derive(Debug)]
pub struct Worked {
    /// How it ended.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}
