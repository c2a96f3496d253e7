//! A job that does one attempt after the other, as it is told, and the agent around it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use end_to_end::host::patience;
use end_to_end::internet::{JOB_V4, RESOLVER_V4, RESOLVER_V6};
use end_to_end::job::Running;
use end_to_end::{Cgroup, Helper, Internet, Job, Run, binary, log, wait_until};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::ACT;
use crate::attempt::{In, Meanwhile};
use crate::bound::Bound;

/// How long an agent may take to start a job.
const ARMED_WITHIN: Duration = Duration::from_mins(1);
/// How long the job may take to say that it waits for a call.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Where datagrams to the job come from; nobody listens there otherwise.
pub const CALLER_PORT: u16 = 4446;

/// Who the job is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Root, with every privilege.
    Root,
    /// Nobody, with none.
    Nobody,
}

/// Makes a command nobody's.
const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];

/// A job that waits for commands.
pub struct Session<'a> {
    internet: &'a Internet,
    running: Running,
    commands: UnixStream,
    answers: BufReader<UnixStream>,
    output: PathBuf,
    home: String,
    policy: String,
    tier: String,
    /// Where attempts to leave go.
    elsewhere: Cgroup,
    /// Hands sockets out, from outside the job.
    _giver: Helper,
}

/// What came of a command.
pub struct Told {
    /// Exit code, or a signal as a negative number; `None` when it took too long.
    pub code: Option<i32>,
    /// What it said.
    pub said: String,
}

impl<'a> Session<'a> {
    /// Starts an agent with this policy and a job that waits; an agent that refuses says why.
    pub fn start(internet: &'a Internet, kind: In, policy: &str, user: User) -> Result<Self, String> {
        let obeys = [ACT, "obey", "commands"];
        let job = match user {
            User::Root => Job::new(binary::agent(ACT), obeys),
            User::Nobody => Job::new(binary::agent(ACT), NOBODY.iter().chain(&obeys)),
        };
        let socket = job.path("control");
        let listener = UnixListener::bind(&socket).expect("a socket in the job's home");
        listener.set_nonblocking(true).expect("a socket can be told not to wait");
        let home = job.path("");
        let (resolv_conf, hosts) = (job.path("resolv.conf"), job.path("hosts"));
        let giver = Helper::start(internet.job().command(ACT).args(["pass", "give", &job.path("giver")]));
        let mut job = job
            .word(&socket)
            .policy(policy)
            .option("--state")
            .option(format!("{home}state"))
            .file("resolv.conf", &format!("nameserver {RESOLVER_V4}\nnameserver {RESOLVER_V6}\noptions timeout:1\n"))
            .file("hosts", "127.0.0.1 localhost\n::1 localhost\n")
            .program("bin/runner-upload", ACT)
            .program("bin/runner-replace", ACT)
            .variable("PATH", format!("{home}bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
            .file(".aws/credentials", "[default]\naws_access_key_id = dummy\n")
            .by(internet.wrapper(&resolv_conf, &hosts));
        if kind == In::Inherited {
            job = job.by(inherited());
        }
        if user == User::Nobody {
            open_to_all(Path::new(&home));
        }
        let mut running = job.start();
        let mut accepted = None;
        wait_until(patience(ARMED_WITHIN), || {
            accepted = listener.accept().ok();
            accepted.is_some() || running.has_ended()
        });
        let Some((commands, _)) = accepted else {
            let run = running.wait();
            return Err(run.stderr.trim_end().replace('\n', " | "));
        };
        commands.set_nonblocking(false).expect("a socket can be told to wait");
        let answers = BufReader::new(commands.try_clone().expect("a descriptor can be copied"));
        let output = PathBuf::from(&home).join("output");
        let (policy, elsewhere) = (policy.to_owned(), Cgroup::create());
        let tier = log::tier_in(|| fs::read_to_string(running.log()).unwrap_or_default());
        let tier = tier.ok_or("the log names no tier")?;
        Ok(Self { internet, running, commands, answers, output, home, policy, tier, elsewhere, _giver: giver })
    }

    /// The tier that the agent loaded.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// Has the job do a form of an attempt.
    pub fn act(&mut self, form: &Bound) -> Told {
        let cgroup = self.elsewhere.path().to_str().expect("a cgroup's path is text").to_owned();
        let giver = format!("{}giver", self.home);
        let mut commands = form.commands(ACT, self.home.trim_end_matches('/'));
        for word in commands.iter_mut().flatten() {
            *word = word.replace("{cgroup}", &cgroup).replace("{giver}", &giver);
        }
        let Some((last, first)) = commands.split_last() else { panic!("an attempt has a command") };
        for command in first {
            self.tell(command);
            self.answer();
        }
        self.tell(last);
        match form.attempt.meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Calls(port) => self.when_ready(|outside| call(outside, form.address(), port)),
            Meanwhile::Sends(port) => self.when_ready(|outside| send(outside, form.address(), port)),
        }
        self.answer()
    }

    /// Has the job run a command, and waits for its end.
    pub fn run(&mut self, words: &[&str]) -> Told {
        self.tell(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        self.answer()
    }

    fn tell(&mut self, words: &[String]) {
        // Written anew by each command; what an earlier one said is not this one's.
        let _ = fs::remove_file(&self.output);
        let _ = fs::remove_file(self.called());
        let output = self.output.to_str().expect("test paths are text").to_owned();
        let all: Vec<&String> = std::iter::once(&output).chain(words).collect();
        let line = serde_json::to_string(&all).expect("words are JSON");
        writeln!(self.commands, "{line}").expect("the job reads its commands");
    }

    fn answer(&mut self) -> Told {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the job answers");
        let said = fs::read_to_string(&self.output).unwrap_or_default();
        let code = line.trim_end().parse().ok();
        let said = if code.is_none() { line.trim_end().to_owned() } else { said };
        Told { code, said: said.trim_end().to_owned() }
    }

    /// Does something outside once the job says that it waits; a job that was refused before says nothing.
    fn when_ready(&self, act: impl Fn(&Internet)) {
        let says = || fs::read_to_string(&self.output).unwrap_or_default();
        wait_until(patience(READY_WITHIN), || says().contains('\n'));
        if says().starts_with("ready\n") {
            act(self.internet);
        }
        fs::write(self.called(), "").expect("the job's home is ours");
    }

    /// Where the job is told that whoever called it has given up.
    fn called(&self) -> PathBuf {
        PathBuf::from(&self.home).join("called")
    }

    /// Kills the agent; the job goes on.
    pub fn kill_agent(&mut self) {
        self.running.signal(rustix::process::Signal::KILL);
        wait_until(patience(READY_WITHIN), || self.running.has_ended());
    }

    /// Starts another agent where the killed one was; it takes the job over before its own command starts.
    pub fn start_successor(&mut self) -> Result<(), String> {
        let told = self.run(&["sh", "-c", "echo $PPID"]);
        let enter = ["nsenter", "--target", &told.said, "--mount", "--net"];
        let job = Job::new(binary::agent(ACT), ["true"]).policy(&self.policy);
        let run = job.option("--state").option(format!("{}state", self.home)).by(enter).run();
        if run.status.success() { Ok(()) } else { Err(run.stderr.trim_end().replace('\n', " | ")) }
    }

    /// The cgroup that the job runs in.
    pub fn cgroup(&mut self) -> PathBuf {
        let told = self.run(&["cat", "/proc/self/cgroup"]);
        let path = told.said.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
        end_to_end::host::cgroup_mount().expect("checked by `missing`").join(path)
    }

    /// Waits until nobody keeps the job any more, which is over: a keeper would make its folder again.
    pub fn wait_for_keeper(&self) {
        let kept = || fs::read_dir(format!("{}state/jobs", self.home)).is_ok_and(|mut jobs| jobs.next().is_some());
        wait_until(patience(READY_WITHIN), || !kept());
    }

    /// Ends the job, and with it the agent.
    pub fn end(self) -> Run {
        let Self { running, commands, answers, .. } = self;
        drop((commands, answers));
        running.wait()
    }
}

/// Lets every user do everything below this folder.
fn open_to_all(folder: &Path) {
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("root may do so");
    open(folder);
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        if entry.path().is_dir() { open_to_all(&entry.path()) } else { open(&entry.path()) }
    }
}

/// The wrapper that opens sockets before the agent is there. The twin's places are those that rules allow.
fn inherited() -> Vec<String> {
    let words = [ACT, "pass", "with-sockets", "203.0.113.250", "443", "4444", "7070"];
    words.map(str::to_owned).to_vec()
}

/// Calls the job from that address; whether it is taken is the attempt's to tell.
fn call(internet: &Internet, from: IpAddr, port: u16) {
    internet.other().inside(|| {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a stream socket");
        let patience = Some(Duration::from_secs(2));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, patience).expect("a socket takes a timeout");
        bind(&socket, &SocketAddr::new(from, 0)).expect("all these addresses stand outside");
        if connect(&socket, &SocketAddr::new(JOB_V4.into(), port)).is_ok() {
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience).expect("a socket takes a timeout");
            let _ = rustix::net::recv(&socket, &mut [0_u8; 64][..], rustix::net::RecvFlags::empty());
        }
    });
}

fn send(internet: &Internet, from: IpAddr, port: u16) {
    internet.other().inside(|| {
        let socket = UdpSocket::bind(SocketAddr::new(from, CALLER_PORT)).expect("all these addresses stand outside");
        let _ = socket.send_to(b"question", (JOB_V4, port));
    });
}
