//! The whole runner as scope: who is held to a job's policy without being the job's, and who isn't.
//!
//! The hooks hang on the topmost cgroup, so that these run in guests alone, one after the other.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use end_to_end::{Cgroup, Line, Log, Namespace, binary, host};

/// The helper that acts inside jobs.
const ACT: &str = env!("CARGO_BIN_EXE_act");

/// Each test holds the machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// How long an agent may take to arm, or to see that a service was started again.
const WITHIN: Duration = Duration::from_mins(2);

macro_rules! needs_guest {
    () => {
        end_to_end::needs!();
        if !end_to_end::host::is_guest() {
            end_to_end::report::needs_guest(end_to_end::test_name!(), "the topmost cgroup is this machine's");
            return;
        }
        let _machine = $crate::MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    };
}

mod daemon;
mod run;

/// A shell outside the job that connects where it is told to.
struct Outsider {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Outsider {
    /// Starts one in a cgroup; with a namespace, its network is that one's.
    fn start(program: &Path, cgroup: &Path, network: Option<&Namespace>) -> Self {
        let mut command = network.map_or_else(|| Command::new("/bin/bash"), |network| network.command("/bin/bash"));
        let script = "echo ready; while read -r address port; do \
                      { true 3<>/dev/tcp/$address/$port && echo reached; } 2>&1; echo; done";
        let mut child = command
            .args(["-c", "read -r program; exec $program -c \"$0\"", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let orders = child.stdin.take().expect("its input is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        // The test moves it: whoever is held to a policy doesn't come into another cgroup.
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).expect("a process can be moved");
        let mut outsider = Self { child, orders, answers };
        // A service is started where it belongs; the program that it was until then is another's.
        writeln!(outsider.orders, "{}", program.display()).expect("it takes orders");
        assert_eq!(outsider.line(), "ready");
        outsider
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("its output can be read");
        line.trim_end().to_owned()
    }

    /// What comes of its trying to connect.
    fn tries(&mut self, (address, port): (Ipv4Addr, u16)) -> &'static str {
        writeln!(self.orders, "{address} {port}").expect("it takes orders");
        let said: Vec<String> = std::iter::from_fn(|| Some(self.line()).filter(|line| !line.is_empty())).collect();
        let said = said.join(" ");
        if said.contains("not permitted") {
            "refused"
        } else if said.ends_with("reached") {
            "reached"
        } else {
            panic!("it said {said:?}")
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener that a policy closes, a service that the policy exempts, and the places for both.
struct Stage {
    closed: TcpListener,
    service: PathBuf,
    platform: Cgroup,
    elsewhere: Cgroup,
    folder: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let folder = tempfile::Builder::new().prefix("runner-agent-e2e-").tempdir().expect("a folder");
        let service = folder.path().join("service");
        binary::copy("/bin/bash", &service);
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let (platform, elsewhere) = (Cgroup::create(), Cgroup::create());
        Self { closed, service, platform, elsewhere, folder }
    }

    fn closed(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::LOCALHOST, self.closed.local_addr().expect("it is bound").port())
    }

    /// A policy that closes the listener and exempts the service, with the mode and the name of its own.
    fn policy(&self, name: &str, mode: &str) -> String {
        let mount = host::cgroup_mount().expect("checked");
        let below = |path: &Path| Path::new("/").join(path.strip_prefix(&mount).expect("it lies below the mount"));
        let (cgroup, own) = (below(self.platform.path()), below(&host::own_cgroup()));
        let test = std::env::current_exe().expect("this program has a file");
        format!(
            "version: 1\nname: {name}\nmode: {mode}\negress:\n  deny:\n    \
             - {{ class: loopback, ports: [{}], why: \"this test closes it\" }}\nplatform:\n  \
             - {{ cgroup: \"{}*\", exe: \"{}\", why: \"this test's platform\" }}\n  \
             - {{ cgroup: \"{}\", exe: \"{}\", why: \"makes cgroups, and kills agents\" }}\n",
            self.closed().1,
            cgroup.display(),
            self.service.display(),
            own.display(),
            test.display()
        )
    }
}

/// The only connect of a process outside the job.
fn connect_of<'a>(log: &'a Log, outsider: &Outsider) -> &'a Line {
    let mut found = log.of("connect").filter(|line| *line.at("/process/pid") == outsider.pid());
    let first = found.next().expect("it connected");
    assert!(found.next().is_none(), "each connect is told once");
    first
}
