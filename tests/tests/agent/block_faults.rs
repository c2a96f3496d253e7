//! Faults under a blocked job: whatever goes wrong, what the policy forbids stays forbidden, and a job never starts
//! without that.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use end_to_end::{Cgroup, Helper, Job, Namespace, host, needs, wait_until};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use crate::{ACT, job, shell};

pub const NOT_ARMED: i32 = 125;
const SERVER: &str = "192.0.2.53";

/// Every five seconds the agent looks after its work; the rest is for ending the job.
fn looked_after() -> Duration {
    Duration::from_secs(5) + host::patience(Duration::from_secs(10))
}

/// A policy that closes these ports of loopback, and opens the names below `good.test`.
pub fn closing(ports: &[u16]) -> String {
    let mut yaml = String::from("version: 1\nname: faults\nmode: block\negress:\n  deny:\n");
    for port in ports {
        let _ = writeln!(yaml, "    - {{ class: loopback, ports: [{port}], why: \"this test closes it\" }}");
    }
    yaml + "  allow:\n    - { host: \"*.good.test\", names: 300, why: \"the names of this test\" }\n"
}

/// The job keeps its state, and so its pins, in its own home.
pub fn at_home(job: Job) -> Job {
    let state = job.path("state");
    job.option("--state").option(state)
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// Takes connections for as long as the test runs.
fn take_all(listener: TcpListener) {
    std::thread::spawn(move || listener.incoming().for_each(drop));
}

/// Fails if anybody ever connected.
fn nobody_came(listener: &TcpListener) {
    listener.set_nonblocking(true).expect("a listener can be asked");
    let error = listener.accept().map(|(_, from)| from).expect_err("nobody connects to what is closed");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// Where an agent's pins lie: on the machine's BPF file system, or on its own where the machine has none.
fn pins_of(agent: u32, own: &Path) -> PathBuf {
    let folders =
        [Path::new("/sys/fs/bpf/runner-agent"), own].map(|root| root.join(format!("runner-agent-job-{agent}")));
    folders.into_iter().find(|folder| folder.exists()).expect("an armed agent has pins")
}

/// What an agent that was killed leaves, and no successor takes away.
struct Left {
    bpf: PathBuf,
    pins: PathBuf,
    _cgroup: Cgroup,
}

impl Drop for Left {
    fn drop(&mut self) {
        for pin in fs::read_dir(&self.pins).into_iter().flatten().flatten() {
            let _ = fs::remove_file(pin.path());
        }
        let _ = fs::remove_dir(&self.pins);
        let _ = unmount(&self.bpf, UnmountFlags::empty());
    }
}

/// The cgroup of an agent's job.
fn cgroup_of_job(agent: u32) -> PathBuf {
    host::own_cgroup().join(format!("runner-agent-job-{agent}"))
}

#[test]
fn rules_hold_when_the_agent_is_killed_and_open_connections_live_on() {
    needs!();
    let ((echo, echo_port), (open, open_port), (closed, closed_port)) = (listener(), listener(), listener());
    take_all(open);
    std::thread::spawn(move || {
        let (mut stream, _) = echo.accept().expect("the job connects");
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    });
    let [echo_port, open_port] = [echo_port, open_port].map(|port| port.to_string());
    let trick = ["fault", "connects", "10000", &echo_port, &open_port, &closed_port.to_string()];
    // A job that reads nothing from its input ends at once; this one waits for the end of a pipe that nobody writes to.
    let waiting = shell("mkfifo ~/stay; exec 3<>~/stay; exec \"$@\" <&3").word("bash").word(ACT);
    let waiting = trick.iter().fold(waiting, Job::word);
    let waiting = at_home(waiting.policy(&closing(&[closed_port])));
    let bpf = PathBuf::from(waiting.path("state/bpf"));
    let mut running = waiting.start();
    assert_eq!(running.line(), "half");
    running.signal(Signal::KILL);
    let left = Left { pins: pins_of(running.pid(), &bpf), bpf, _cgroup: Cgroup::adopt(cgroup_of_job(running.pid())) };
    assert_eq!(running.line(), "open 5000 0 closed 0 5000");
    assert_eq!(running.line(), "echo", "the connection that was open lives on");
    nobody_came(&closed);
    let (status, home) = running.end();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    // Its mount before the job's home, in which it is.
    drop(left);
    drop(home);
}

#[test]
fn two_agents_that_start_at_once_both_hold() {
    needs!();
    for _ in 0..3 {
        let ((first, first_port), (second, second_port)) = (listener(), listener());
        let state = tempfile::tempdir().expect("a folder");
        let start = |own: u16| {
            let ports = [first_port, second_port].map(|port| port.to_string());
            let script = "\"$ACT\" fault reach \"$0\" \"$1\"; sleep 6; \"$ACT\" fault reach \"$0\" \"$1\"";
            let job = job(&["bash", "-c", script, &ports[0], &ports[1]]).variable("ACT", ACT);
            job.policy(&closing(&[own])).option("--state").option(state.path()).start()
        };
        let runs = [start(first_port), start(second_port)].map(|running| running.wait().whole());
        assert_eq!(runs[0].stdout, "closed\nopen\nclosed\nopen\n");
        assert_eq!(runs[1].stdout, "open\nclosed\nopen\nclosed\n");
        drop((first, second));
        assert_eq!(fs::read_dir(state.path().join("jobs")).expect("it was made").count(), 0);
    }
}

/// A job that stays, and whose agent ends it within the time in which it looks after its work.
fn ended_for(running: end_to_end::job::Running, pid: u32, reason: &str) {
    assert!(wait_until(looked_after(), || !runs(pid)), "the job goes on");
    let run = running.wait();
    assert_eq!(run.code(), NOT_ARMED, "{}", run.stderr);
    let told: Vec<&str> =
        run.log.of("agent").filter(|line| line.text("state") == "disarmed").map(|line| line.text("detail")).collect();
    assert!(matches!(told.as_slice(), [one] if one.contains(reason)), "{reason:?} is not in {told:?}\n{}", run.stderr);
}

fn staying() -> (end_to_end::job::Running, u32, PathBuf) {
    let job = at_home(shell("echo $$; exec sleep 1000").policy(&closing(&[9])));
    let bpf = PathBuf::from(job.path("state/bpf"));
    let mut running = job.start();
    let pid = running.line().parse().expect("a pid");
    (running, pid, bpf)
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_job_that_is_emptied_from_outside_ends_as_its_command_did() {
    needs!();
    let (running, pid, bpf) = staying();
    end_to_end::cgroup::end_all(&cgroup_of_job(running.pid()));
    let run = running.wait().nothing_lost();
    assert_eq!(run.code(), -9);
    assert!(!runs(pid));
    assert!(!bpf.exists() || fs::read_dir(&bpf).expect("a folder").next().is_none(), "pins are left");
}

#[test]
fn a_job_that_is_moved_out_of_its_cgroup_is_ended_though_the_cgroup_goes() {
    needs!();
    let (running, pid, _) = staying();
    let elsewhere = Cgroup::create();
    let cgroup = cgroup_of_job(running.pid());
    fs::write(elsewhere.path().join("cgroup.procs"), pid.to_string()).expect("a process can be moved");
    // The agent may have been quicker.
    let is_gone = || fs::remove_dir(&cgroup).is_ok() || !cgroup.exists();
    assert!(wait_until(looked_after(), is_gone), "the cgroup is not empty");
    let run = running.wait();
    assert_eq!(run.code(), -9, "{}", run.stderr);
    assert!(!runs(pid), "what was moved out lives on unblocked");
    assert_eq!(run.log.ended().0["signal"], 9);
    assert!(run.log.findings("cgroup-escape").count() > 0);
}

#[test]
fn a_job_whose_links_are_detached_is_ended() {
    needs!();
    let (running, pid, _) = staying();
    let cgroup = fs::metadata(cgroup_of_job(running.pid())).expect("the job runs").ino().to_string();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let entries = fs::read_dir(format!("/proc/{}/fdinfo", running.pid())).expect("the agent runs");
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let of_job = texts.filter(|text| field(text, "cgroup_id:").as_ref() == Some(&cgroup));
    let links: BTreeSet<String> = of_job.filter_map(|text| field(&text, "link_id:")).collect();
    let link = links.first().expect("an armed agent holds links of its job");
    assert!(Command::new(ACT).args(["fault", "detach", link]).status().expect("the helper runs").success());
    ended_for(running, pid, "1 of ");
}

#[test]
fn a_job_whose_pins_are_removed_is_ended() {
    needs!();
    let (running, pid, bpf) = staying();
    fs::remove_file(pins_of(running.pid(), &bpf).join("connect4-1")).expect("a pin");
    ended_for(running, pid, "the pin ");
}

/// A job in that namespace, on a runner whose resolver is [`SERVER`].
fn asking(namespace: &Namespace, script: &str) -> Job {
    let job = at_home(shell(script).policy(&closing(&[9])).file("resolv.conf", &format!("nameserver {SERVER}\n")));
    let file = job.path("resolv.conf");
    let enter = format!("--net={}", namespace.file().display());
    let mount = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    job.by(["nsenter", &enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", mount, &file])
}

fn server(namespace: &Namespace, trick: &str, file: Option<&Path>) -> Helper {
    namespace.address(&format!("{SERVER}/32"));
    let mut command = namespace.command(ACT);
    Helper::start(command.args(["fault", trick, SERVER]).args(file))
}

#[test]
fn an_upstream_that_fails_is_answered_for_in_time_and_told_and_its_return_too() {
    needs!();
    let namespace = Namespace::create();
    let mood = tempfile::NamedTempFile::new().expect("a file");
    let _server = server(&namespace, "moody", Some(mood.path()));
    let script = "for mood in fine silent noise wrong fine; do echo $mood >\"$MOOD\"; \
                  \"$ACT\" fault ask 192.0.2.53 $mood$((n++)).good.test; done";
    let run = asking(&namespace, script).variable("MOOD", mood.path()).run().whole();
    // Who asks gives up after ten seconds; that common stub resolvers have the answer sooner is what the resolver's limits are for.
    let codes: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(codes, ["0", "2", "2", "2", "0"]);
    let states: Vec<&str> = run.log.of("agent").map(|line| line.text("state")).collect();
    assert_eq!(states, ["ready", "upstream-failed", "upstream-recovered"]);
}

#[test]
fn an_address_beyond_those_that_a_job_may_learn_is_not_given_and_the_others_stay() {
    needs!();
    let namespace = Namespace::create();
    let _server = server(&namespace, "plenty", None);
    // 16,384 addresses fit: 256 names of 64.
    let script = "\"$ACT\" fault ask-many 192.0.2.53 260 good.test; \"$ACT\" fault ask 192.0.2.53 n0.good.test; \
                  \"$ACT\" net tcp 8.0.0.1 443; echo $?";
    let run = asking(&namespace, script).run().whole();
    assert_eq!(run.stdout, "256 2\n0\n0\n");
    assert_eq!(run.log.connect("8.0.0.1", 443).text("verdict"), "allowed");
    let told = run.log.of("agent").find(|line| line.text("state") == "admit-failed").expect("it is told");
    assert!(told.text("detail").contains("has learnt 16384 addresses"), "{}", told.0);
}
