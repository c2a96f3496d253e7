//! A command run as a job, and what came of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::log::Log;
use crate::{binary, host};

/// How long any job of a test may take.
const WITHIN: Duration = Duration::from_secs(150);

/// The program that runs at the end of every system call: hardly any run of it has something to tell.
pub const AT_EVERY_CALL: &str = "sys_exit";

/// Names the tier that agents of tests load; the best that there is without it.
const TIER: &str = "RUNNER_AGENT_TEST_TIER";

/// Names the way by which agents of tests take the hooks of the tracing tier; the best that there is without it.
const HOOKS: &str = "RUNNER_AGENT_TEST_HOOKS";

/// The tier that agents of tests are to load, if one was asked for.
pub fn tier() -> Option<String> {
    std::env::var(TIER).ok()
}

/// Whether the agent can refuse an open of a file here: whether its tracing tier loads. Found out once.
pub fn can_refuse(beside: &str) -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    let tracing = || Job::new(binary::agent(beside), ["true"]).option("--tier").option("tracing").without_log();
    *CAN.get_or_init(|| tracing().run().status.success())
}

/// A job to run.
pub struct Job {
    agent: PathBuf,
    home: TempDir,
    options: Vec<OsString>,
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    with_log: bool,
}

/// A job that runs.
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    stderr: JoinHandle<String>,
    home: TempDir,
}

/// What came of a job.
pub struct Run {
    /// How the agent ended.
    pub status: ExitStatus,
    /// What agent and command wrote to standard error.
    pub stderr: String,
    /// What the command wrote to standard output.
    pub stdout: String,
    /// The log; empty when none was written.
    pub log: Log,
    /// The job's home, which goes away with this value.
    pub home: TempDir,
}

impl Job {
    /// A job that runs this command, with a home of its own.
    pub fn new<T: AsRef<OsStr>>(agent: PathBuf, command: impl IntoIterator<Item = T>) -> Self {
        Self {
            agent,
            home: tempfile::Builder::new().prefix("runner-agent-e2e-").tempdir().expect("a folder for the job's home"),
            options: Vec::new(),
            command: command.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            with_log: true,
        }
    }

    /// The job's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path below the job's home, as text.
    pub fn path(&self, below: &str) -> String {
        self.home.path().join(below).to_str().expect("test paths are text").to_owned()
    }

    /// Puts a file below the job's home, folders included.
    #[must_use]
    pub fn file(self, below: &str, content: &str) -> Self {
        let path = self.home.path().join(below);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
        self
    }

    /// Puts a copy of a program below the job's home, folders included.
    #[must_use]
    pub fn program(self, below: &str, of: impl AsRef<Path>) -> Self {
        let path = self.home.path().join(below);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder can be made");
        binary::copy(of, path);
        self
    }

    /// Uses this policy.
    #[must_use]
    pub fn policy(self, yaml: &str) -> Self {
        let path = self.path("policy.yml");
        self.file("policy.yml", yaml).option("--policy").option(path)
    }

    /// One more option of `run`.
    #[must_use]
    pub fn option(mut self, option: impl AsRef<OsStr>) -> Self {
        self.options.push(option.as_ref().to_owned());
        self
    }

    /// One more word of the command.
    #[must_use]
    pub fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.push(word.as_ref().to_owned());
        self
    }

    /// One more variable of the environment, which has `PATH` and `HOME` alone.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts the agent by way of another command (nsenter, setpriv, unshare), to which the agent's own is appended.
    #[must_use]
    pub fn by<T: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = T>) -> Self {
        self.wrapper.extend(wrapper.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Writes no log.
    #[must_use]
    pub fn without_log(mut self) -> Self {
        self.with_log = false;
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let mut words = self.wrapper;
        words.extend([self.agent.into_os_string(), "run".into()]);
        if let Some(tier) = tier()
            && !self.options.iter().any(|option| option == "--tier")
        {
            words.extend(["--tier".into(), tier.into()]);
        }
        if let Some(way) = std::env::var_os(HOOKS)
            && !self.options.iter().any(|option| option == "--hooks")
        {
            words.extend(["--hooks".into(), way]);
        }
        if self.with_log {
            words.extend(["--log".into(), log_path(&self.home).into_os_string()]);
        }
        words.extend(self.options);
        words.push("--".into());
        words.extend(self.command);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.home.path())
            .env("LC_ALL", "C")
            .envs(self.environment)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent can be started");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut errors = child.stderr.take().expect("its standard error is a pipe");
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Running { child, output, stderr, home: self.home }
    }

    /// Runs it to its end.
    pub fn run(self) -> Run {
        self.start().wait()
    }
}

impl Running {
    /// The job's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The agent's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the log is written.
    pub fn log(&self) -> PathBuf {
        log_path(&self.home)
    }

    /// Whether the agent has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// The next line that the command writes to standard output; empty at its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the output can be read");
        line.trim_end().to_owned()
    }

    /// Signals the agent alone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the agent can be signalled");
    }

    /// Waits for the agent's end without reading the log: for agents that were killed.
    pub fn end(mut self) -> (ExitStatus, TempDir) {
        (self.child.wait().expect("the agent can be waited for"), self.home)
    }

    /// Waits for its end, for so long at most; then the agent is asked to end, and the test fails.
    pub fn wait(self) -> Run {
        let Self { mut child, mut output, stderr, home } = self;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        let (sender, receiver) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let mut stdout = Vec::new();
            let _ = output.read_to_end(&mut stdout);
            let status = child.wait();
            let _ = sender.send(());
            (status, String::from_utf8_lossy(&stdout).into_owned())
        });
        let within = host::patience(WITHIN);
        let in_time = receiver.recv_timeout(within).is_ok();
        if !in_time {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let (status, stdout) = waiter.join().expect("the waiting thread ends well");
        let status = status.expect("the agent can be waited for");
        let stderr = stderr.join().expect("the reading thread ends well");
        assert!(in_time, "the job did not end within {within:?}; standard error:\n{stderr}");
        let log = Log::read(fs::read_to_string(log_path(&home)).unwrap_or_default());
        Run { status, stderr, stdout, log, home }
    }
}

impl Run {
    /// Fails unless the command ended well and nothing of it was lost.
    #[must_use]
    pub fn whole(self) -> Self {
        assert!(self.status.success(), "ended with {:?}:\n{}{}", self.status, self.stdout, self.stderr);
        self.nothing_lost()
    }

    /// Fails if anything was lost, or went missing uncounted.
    #[must_use]
    pub fn nothing_lost(self) -> Self {
        let account = self.log.ended().at("/account");
        assert_eq!((&account["lost"], &account["difference"]), (&0.into(), &0.into()), "{account}");
        // What the kernel leaves out of the runs of probes may be anybody's.
        assert!(self.log.of("loss").all(|loss| loss.text("reason") == "skipped"));
        self
    }

    /// Runs of probes that the kernel left out, by program, as the receipt says. Fails unless each was told: by `loss` lines,
    /// but those at the end of every system call, which are told in the account's sum alone.
    pub fn left_out(&self) -> BTreeMap<String, u64> {
        let receipt = fs::read(self.path("job.jsonl.receipt.json")).expect("the job has a receipt");
        let receipt: serde_json::Value = serde_json::from_slice(&receipt).expect("a receipt is JSON");
        let runs = receipt["account"]["skipped"].as_object().expect("runs by program");
        let runs: BTreeMap<String, u64> =
            runs.iter().map(|(program, runs)| (program.clone(), runs.as_u64().expect("a count is a number"))).collect();
        let mut told: BTreeMap<&str, u64> = BTreeMap::new();
        for loss in self.log.of("loss").filter(|loss| loss.text("reason") == "skipped") {
            *told.entry(loss.text("place")).or_default() += loss.number("count");
        }
        let to_tell = runs.iter().filter(|(program, _)| *program != AT_EVERY_CALL);
        assert_eq!(told, to_tell.map(|(program, &runs)| (&**program, runs)).collect());
        assert_eq!(runs.values().sum::<u64>(), self.log.account("/skipped"));
        runs
    }

    /// Exit code, or the signal's number as a negative one.
    pub fn code(&self) -> i32 {
        self.status.code().or(self.status.signal().map(|signal| -signal)).expect("a process ends in one of two ways")
    }

    /// A path below the job's home, as text.
    pub fn path(&self, below: &str) -> String {
        self.home.path().join(below).to_str().expect("test paths are text").to_owned()
    }

    /// Whether the agent itself said this line (without its name in front).
    pub fn agent_said(&self, message: &str) -> bool {
        self.stderr.lines().any(|line| line.strip_prefix("runner-agent: ") == Some(message))
    }
}

fn log_path(home: &TempDir) -> PathBuf {
    home.path().join("job.jsonl")
}
