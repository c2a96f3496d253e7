//! An agent, a job that does what it is told, and everything around them that attempts are at: all of it the test's own. In
//! one file because what an attempt changed is put back by who made it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use end_to_end::job::Running;
use end_to_end::{Cgroup, Helper, Job, binary, host, log, wait_until};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::ACT;
use crate::attempt::In;
use crate::state::State;

/// How long an agent may take to start a job.
const ARMED_WITHIN: Duration = Duration::from_mins(1);
/// How long a command may take, that of a flood included.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);
/// What an armed agent and its job may take more, where that is limited.
const MEMORY: u64 = 64 << 20;
/// How long an agent may take to see what was done to what it stands on, and one that goes on after another to begin.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// A job that waits for commands.
pub struct Session {
    running: Running,
    job: In,
    commands: UnixStream,
    answers: BufReader<UnixStream>,
    output: PathBuf,
    home: PathBuf,
    /// Holds the agent's program, its state, its pins, and the sockets of an engine and a message bus.
    place: TempDir,
    /// The agent's log, whatever becomes of its name.
    log: File,
    log_path: PathBuf,
    /// The root of the agent's mount namespace, which lives as long as this.
    root: File,
    /// The first process of the job.
    first: u32,
    policy: String,
    /// A cgroup outside the job, and a process in it.
    elsewhere: Cgroup,
    outsider: Helper,
    /// Holds agent and job, where their memory is limited; goes away after them.
    limited: Option<Cgroup>,
    closed: TcpListener,
    tier: String,
}

/// What came of a command.
pub struct Said {
    /// Exit code, or a signal as a negative number; `None` when the job ended with it.
    pub code: Option<i32>,
    /// What it said.
    pub text: String,
    /// It was ended, because it took longer than a command may.
    pub is_late: bool,
}

impl Session {
    /// Starts an agent and a job that waits; an agent that refuses says why.
    pub fn start(kind: In) -> Result<Self, String> {
        let place = tempfile::Builder::new().prefix("runner-agent-e2e-tamper-").tempdir().expect("a folder");
        let at = |below: &str| place.path().join(below).to_str().expect("test paths are text").to_owned();
        for folder in ["bin", "bpf", "disk"] {
            fs::create_dir(at(folder)).expect("a folder can be made");
        }
        // What is tampered with is the test's own copy.
        binary::copy(binary::agent(ACT), at("bin/agent"));
        binary::copy("/bin/true", at("bin/sudo"));
        fs::set_permissions(at("bin/sudo"), fs::Permissions::from_mode(0o4755)).expect("root may do so");
        for daemon in ["engine", "bus"] {
            let daemon = UnixListener::bind(at(daemon)).expect("a socket can be made");
            std::thread::spawn(move || daemon.incoming().for_each(drop));
        }
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");

        let job = Job::new(at("bin/agent").into(), [ACT, "obey", "commands"]);
        let socket = job.path("control");
        let listener = UnixListener::bind(&socket).expect("a socket in the job's home");
        listener.set_nonblocking(true).expect("a socket can be told not to wait");
        let home = PathBuf::from(job.path(""));
        let log_path = if kind == In::SmallDisk { at("disk/events.jsonl").into() } else { home.join("events.jsonl") };
        let policy = policy(kind, closed.local_addr().expect("it is bound").port());
        let limited = (kind == In::SmallMemory).then(Cgroup::with_memory);
        let enter = limited.as_ref().map(|cgroup| format!("echo 0 >{}/cgroup.procs && ", cgroup.path().display()));
        let mounts = "mount -t bpf none \"$0/bpf\" && mount -t tmpfs -o size=1m none \"$0/disk\" && exec \"$@\"";
        let mounts = enter.unwrap_or_default() + mounts;
        // A group and mounts of its own: a signal to the one, and what is done to the others, stay with the job.
        let wrapper = ["setsid", "unshare", "--mount", "--propagation", "private", "sh", "-c", &mounts, &at("")];
        let mut job = job
            .word(&socket)
            .policy(&policy)
            .without_log()
            .file(".aws/credentials", "[default]\naws_access_key_id = dummy\n")
            .variable("PATH", format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", at("bin")))
            .variable("DOCKER_HOST", format!("unix://{}", at("engine")))
            .variable("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", at("bus")))
            .variable(host::SLOWNESS, host::slowness().to_string())
            .by(wrapper.map(|word| word.trim_end_matches('/').to_owned()));
        for (option, value) in [
            ("--log", log_path.to_str().expect("test paths are text")),
            ("--state", &at("state")),
            ("--pins", &at("bpf/pins")),
        ] {
            job = job.option(option).option(value);
        }
        if host::is_guest() {
            job = job.variable(host::GUEST, "1");
        }
        if kind == In::Flooded {
            job = job.option("--critical-ring").option("4").option("--bulk-ring").option("4");
        }
        let outsider = Helper::start(Command::new(ACT).args(["footing", "listen", &at("outsider")]));
        let elsewhere = Cgroup::create();
        fs::write(elsewhere.path().join("cgroup.procs"), outsider.pid().to_string()).expect("a process can be moved");

        let mut running = job.start();
        let mut accepted = None;
        wait_until(host::patience(ARMED_WITHIN), || {
            accepted = listener.accept().ok();
            accepted.is_some() || running.has_ended()
        });
        let Some((commands, _)) = accepted else {
            return Err(running.wait().stderr.trim_end().replace('\n', " | "));
        };
        commands.set_nonblocking(false).expect("a socket can be told to wait");
        // So that it is seen when the job itself was stopped.
        commands.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket takes a timeout");
        let root = File::open(format!("/proc/{}/root", running.pid())).expect("the agent has a root");
        let log = File::open(within(&root, &log_path)).expect("the agent has made its log");
        let answers = BufReader::new(commands.try_clone().expect("a descriptor can be copied"));
        let mut session = Self {
            running,
            job: kind,
            commands,
            answers,
            output: home.join("output"),
            home,
            place,
            log,
            log_path,
            root,
            first: 0,
            policy,
            elsewhere,
            outsider,
            limited,
            closed,
            tier: String::new(),
        };
        session.first = session.run(&["sh", "-c", "echo $PPID"]).text.parse().map_err(|_| "the job says no pid")?;
        if let Some(limited) = &session.limited {
            limited.limit_memory(MEMORY);
        }
        session.tier = log::tier_in(|| session.log_text()).ok_or("the log names no tier")?;
        Ok(session)
    }

    /// The tier that the agent loaded.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// What a command's placeholders mean here.
    pub fn expand(&self, text: &str) -> String {
        let place = self.place.path().display().to_string();
        let pid = self.running.pid();
        let pins = format!("{place}/bpf/pins/runner-agent-job-{pid}");
        let job = format!("{place}/state/jobs/runner-agent-job-{pid}");
        let known = [
            ("{act}", ACT.to_owned()),
            ("{agent}", pid.to_string()),
            ("{group}", pid.to_string()),
            ("{own}", host::own_cgroup().join(format!("runner-agent-job-{pid}")).display().to_string()),
            ("{logs}", self.log_path.parent().unwrap_or(&self.log_path).display().to_string()),
            ("{log}", self.log_path.display().to_string()),
            ("{home}", self.home.display().to_string().trim_end_matches('/').to_owned()),
            ("{program}", format!("{place}/bin/agent")),
            ("{record}", format!("{job}/job.json")),
            ("{lock}", format!("{job}/lock")),
            ("{pin}", self.a_pin(&pins)),
            ("{pins}", pins),
            ("{bpf}", format!("{place}/bpf")),
            ("{disk}", format!("{place}/disk")),
            ("{state}", format!("{place}/state")),
            ("{place}", place),
            ("{cgroup}", self.elsewhere.path().display().to_string()),
            ("{parent}", host::own_cgroup().display().to_string()),
            ("{outsider}", self.outsider.pid().to_string()),
            ("{guards}", self.guards()),
            ("{link}", self.ids("link_id:").into_iter().next().unwrap_or_default()),
        ];
        known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Where the agent's pins lie.
    pub fn a_pin(&self, pins: &str) -> String {
        let names = fs::read_dir(within(&self.root, Path::new(pins))).into_iter().flatten().flatten();
        let link =
            names.filter_map(|entry| entry.file_name().into_string().ok()).find(|name| name.contains("connect4"));
        format!("{pins}/{}", link.unwrap_or_default())
    }

    /// Id of the map of what jobs may not do.
    fn guards(&self) -> String {
        let mut which = Command::new(ACT);
        which.args(["attack", "map-named", "GUARDS"]).args(self.ids("map_id:"));
        let said = which.output().expect("the helper can be started");
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// Ids of that kind among the agent's descriptors.
    fn ids(&self, field: &str) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fdinfo", self.running.pid())).into_iter().flatten().flatten();
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let value =
            |text: String| text.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned());
        texts.filter_map(value).collect()
    }

    /// How everything stands that attempts are at.
    pub fn state(&self) -> State {
        let place = self.place.path();
        let pid = self.running.pid();
        let files = [
            ("log", self.log_path.clone()),
            ("policy", self.home.join("policy.yml")),
            ("program", place.join("bin/agent")),
            ("record", place.join(format!("state/jobs/runner-agent-job-{pid}/job.json"))),
            ("lock", place.join(format!("state/jobs/runner-agent-job-{pid}/lock"))),
        ];
        let mut state = State::of_process(pid);
        for (name, path) in files {
            state.add_file(name, &within(&self.root, &path), name == "log");
        }
        state.add_folder("pins", &within(&self.root, &place.join(format!("bpf/pins/runner-agent-job-{pid}"))));
        state.add_folder("bpf", &within(&self.root, &place.join("bpf")));
        state.add("outsider", State::letter(self.outsider.pid()));
        let frozen = fs::read_to_string(self.elsewhere.path().join("cgroup.freeze")).unwrap_or_default();
        state.add("elsewhere", format!("{} frozen {}", self.elsewhere.processes().len(), frozen.trim()));
        state
    }

    /// Has the job run a command, and waits for its end.
    pub fn run(&mut self, words: &[&str]) -> Said {
        // Written anew by each command; what an earlier one said is not this one's.
        let _ = fs::remove_file(&self.output);
        let output = self.output.to_str().expect("test paths are text");
        let all: Vec<&str> = std::iter::once(output).chain(words.iter().copied()).collect();
        let line = serde_json::to_string(&all).expect("words are JSON");
        let mut answer = String::new();
        if writeln!(self.commands, "{line}").is_ok() {
            wait_until(host::patience(ANSWERED_WITHIN), || {
                if self.answers.read_line(&mut answer).is_ok() {
                    return true;
                }
                // Whoever stops a group that it belongs to is one of those that are stopped.
                if State::letter(self.first) == "T" {
                    signal(self.first, Signal::CONT);
                }
                false
            });
        }
        let text = fs::read_to_string(&self.output).unwrap_or_default().trim_end().to_owned();
        let answer = answer.trim_end();
        Said { code: answer.parse().ok(), text, is_late: answer == "late" }
    }

    /// Undoes what would keep the next attempt from meaning anything.
    pub fn recover(&mut self, changed: &[String]) {
        let pid = self.running.pid();
        if State::letter(pid) == "T" && !self.running.has_ended() {
            signal(pid, Signal::CONT);
        }
        if changed.iter().any(|change| {
            ["nice", "scheduler", "processors", "descriptors"].iter().any(|name| change.starts_with(name))
        }) {
            // An agent that hardly runs would say nothing of what comes next in the time that the test has.
            let _ = Command::new(ACT).args(["tamper", "restore", &pid.to_string()]).status();
        }
        let _ = fs::write(self.elsewhere.path().join("cgroup.freeze"), "0");
        if State::letter(self.outsider.pid()) == "Z" {
            self.outsider =
                Helper::start(Command::new(ACT).args(["footing", "listen", &self.expand("{place}/outsider-2")]));
            let procs = self.elsewhere.path().join("cgroup.procs");
            fs::write(procs, self.outsider.pid().to_string()).expect("a process can be moved");
        }
    }

    /// Waits until the log has one of these texts beyond that place; it is read as it is, whatever was done to it.
    pub fn wait_for_any(&mut self, texts: &[String], beyond: usize) -> bool {
        let has = |rest: &str| texts.iter().any(|text| rest.contains(text));
        wait_until(host::patience(SEEN_WITHIN), || self.log_text().get(beyond..).is_some_and(has))
    }

    /// The log as it stands in the file that the agent has made.
    pub fn log_text(&self) -> String {
        let mut bytes = Vec::new();
        let again = File::open(format!("/proc/self/fd/{}", self.log.as_raw_fd()));
        let _ = again.and_then(|mut file| file.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the agent is gone. One that has been killed may take a moment to end.
    pub fn is_orphaned(&mut self) -> bool {
        if State::is_ending(self.running.pid()) {
            wait_until(host::patience(SEEN_WITHIN), || self.running.has_ended());
        }
        self.running.has_ended()
    }

    /// Whether what the policy closes is closed.
    pub fn holds(&mut self) -> bool {
        let port = self.closed.local_addr().expect("it is bound").port().to_string();
        self.run(&[ACT, "fault", "reach", &port]).text == "closed"
    }

    /// Starts another agent where the killed one was, with more variables in its environment: a keeper goes on with the job.
    pub fn start_successor(&mut self, variables: &[(&str, &str)]) -> Result<(), String> {
        let enter = ["nsenter", "--target", &self.first.to_string(), "--mount"];
        let place = self.place.path();
        let mut job = Job::new(place.join("bin/agent"), ["true"]).policy(&self.policy).by(enter);
        for (option, below) in [("--state", "state"), ("--pins", "bpf/pins")] {
            job = job.option(option).option(place.join(below));
        }
        for (name, value) in variables {
            job = job.variable(name, value);
        }
        let run = job.run();
        if run.status.success() { Ok(()) } else { Err(run.stderr.trim_end().replace('\n', " | ")) }
    }

    /// Ends the job, and with it the agent or whoever went on after it. Returns the log, and what is wrong with that end.
    pub fn end(mut self) -> (String, Option<String>) {
        let is_orphaned = self.running.has_ended();
        let cgroup = Cgroup::adopt(host::own_cgroup().join(format!("runner-agent-job-{}", self.running.pid())));
        let Self { running, commands, answers, log, job, place, .. } = self;
        drop((commands, answers));
        let read = || {
            let mut bytes = Vec::new();
            let again = File::open(format!("/proc/self/fd/{}", log.as_raw_fd()));
            let _ = again.and_then(|mut file| file.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if is_orphaned {
            let ended = || read().contains("\"state\":\"ended\"") || job == In::Audit;
            let complaint =
                (!wait_until(host::patience(SEEN_WITHIN), ended)).then(|| "nobody went on to the job's end".to_owned());
            drop((running.end(), cgroup, place));
            return (read(), complaint);
        }
        let run = running.wait();
        let complaint = match run.status.code() {
            Some(0) => None,
            _ => Some(run.stderr.lines().last().unwrap_or_default().to_owned()),
        };
        drop((cgroup, place));
        (read(), complaint)
    }
}

/// A path as the agent's mount namespace has it.
fn within(root: &File, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/self/fd/{}", root.as_raw_fd())).join(path.strip_prefix("/").unwrap_or(path))
}

/// Signals a process that the test has started.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn policy(kind: In, closed: u16) -> String {
    let mode = if kind == In::Audit { "audit" } else { "block" };
    format!(
        "version: 1\nname: tamper\nmode: {mode}\nguard: {{ sudo: deny, docker: deny, services: deny }}\negress:\n  deny:\n    \
         - {{ class: loopback, ports: [{closed}], why: \"this test closes it\" }}\n"
    )
}
