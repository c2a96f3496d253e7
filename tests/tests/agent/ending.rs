//! Ends: of the command, passed through; of the agent, without a trace; of what the job leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use end_to_end::host::patience;
use end_to_end::job::Running;
use end_to_end::{Cgroup, needs, wait_until};
use rustix::process::Signal;

use crate::{ACT, job, shell};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_commands_exit_code_is_the_agents() {
    needs!();
    for code in [0, 1, 3, 42, 125, 255] {
        let run = shell(&format!("exit {code}")).run().nothing_lost();
        assert_eq!(run.code(), code);
        assert_eq!(run.log.ended().0["exit_code"], code);
    }
}

#[test]
fn the_signal_that_ends_the_command_ends_the_agent() {
    needs!();
    for signal in [Signal::HUP, Signal::INT, Signal::KILL, Signal::SEGV, Signal::TERM, Signal::USR1] {
        let number = signal.as_raw();
        let run = shell(&format!("kill -{number} $$")).run().nothing_lost();
        assert_eq!(run.code(), -number);
        assert_eq!(run.log.ended().0["signal"], number);
    }
}

#[test]
fn output_and_environment_are_the_commands_own() {
    needs!();
    let run = shell("echo \"$MARK\"; echo err >&2; pwd").variable("MARK", "mark").run().whole();
    assert_eq!(run.stdout, format!("mark\n{}\n", run.home.path().display()));
    assert!(run.stderr.lines().any(|line| line == "err"));
}

/// Ids in the descriptors of a process: programs and links that it holds.
struct Held {
    programs: BTreeSet<String>,
    links: BTreeSet<String>,
}

impl Held {
    fn by(pid: u32) -> Self {
        let mut held = Self { programs: BTreeSet::new(), links: BTreeSet::new() };
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the agent runs").flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines() {
                if let Some(id) = line.strip_prefix("prog_id:") {
                    held.programs.insert(id.trim().to_owned());
                } else if let Some(id) = line.strip_prefix("link_id:") {
                    held.links.insert(id.trim().to_owned());
                }
            }
        }
        assert!(!held.programs.is_empty() && !held.links.is_empty(), "an armed agent holds programs and links");
        held
    }

    /// The kernel frees them a moment after the last descriptor.
    fn goes(&self) -> bool {
        let none_alive = |trick: &str, ids: &BTreeSet<String>| {
            let output = Command::new(ACT).args(["programs", trick]).args(ids).output().expect("the helper runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout.is_empty()
        };
        wait_until(patience(SOON), || none_alive("alive", &self.programs) && none_alive("links-alive", &self.links))
    }
}

/// A job that says `ready` and then stays, with a child that stays too. Returns the child's pid.
fn staying() -> (Running, u32) {
    let mut running = shell("sleep 1000 & echo $!; exec sleep 1000").start();
    let child = running.line().parse().expect("a pid");
    (running, child)
}

/// The job's cgroup, by the file in `/proc` of a process of the job.
fn cgroup_of(pid: u32) -> std::path::PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process lives");
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("it is in a v2 cgroup");
    end_to_end::host::cgroup_mount().expect("checked by `needs`").join(path)
}

/// Whether a process does anything still: one that has ended may wait for its parent to ask, which is not ours.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn ends_by(signal: Signal) {
    let (running, child) = staying();
    let (cgroup, held) = (cgroup_of(child), Held::by(running.pid()));
    let name = || fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
    assert!(wait_until(patience(SOON), || name().trim() == "sleep"), "the child is still the shell that made it");
    assert!(cgroup.is_dir() && cgroup != end_to_end::host::own_cgroup());
    running.signal(signal);
    let run = running.wait();
    assert_eq!(run.code(), -signal.as_raw(), "{}", run.stderr);
    assert!(!cgroup.exists(), "the job's cgroup is still there");
    assert!(wait_until(patience(SOON), || !runs(child)), "the job's child still runs");
    assert!(held.goes(), "programs or links are still loaded");
    let run = run.nothing_lost();
    assert_eq!(run.log.ended().0["signal"], signal.as_raw());
    assert_eq!(run.log.ended().list("/leftovers"), [format!("sleep (pid {child})")]);
}

#[test]
fn an_interrupt_to_the_agent_ends_job_and_agent_and_leaves_nothing() {
    needs!();
    ends_by(Signal::INT);
}

#[test]
fn a_termination_of_the_agent_ends_job_and_agent_and_leaves_nothing() {
    needs!();
    ends_by(Signal::TERM);
}

#[test]
fn a_job_that_ends_by_itself_leaves_nothing() {
    needs!();
    let job = shell("mkfifo ~/go; echo $$; read -r _ < ~/go");
    let go = job.path("go");
    let mut running = job.start();
    let pid: u32 = running.line().parse().expect("a pid");
    let agent = running.pid();
    let (cgroup, held) = (cgroup_of(pid), Held::by(agent));
    fs::write(go, "go\n").expect("the job reads");
    let run = running.wait().whole();
    assert!(!cgroup.exists());
    assert!(held.goes());
    let parting = format!("/sys/fs/bpf/runner-agent/parting-{agent}");
    assert!(!Path::new(&parting).exists(), "links that go are still pinned");
    assert_eq!(run.log.ended().list("/leftovers"), Vec::<&str>::new());
}

/// Else who waits for the job would wait for a grace period of the kernel for each of some twenty hooks.
#[test]
fn the_hooks_of_an_audited_job_are_let_go_at_once() {
    needs!();
    // A file system of its own, in which no job before has left a folder.
    let script = "mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    let run = shell("true").by(wrapper).variable("RUNNER_AGENT_LOG", "runner_agent=debug").run().whole();
    let at_once = run.stderr.lines().filter_map(|line| line.split_once(" links are let go at once"));
    let counts: Vec<usize> = at_once.map(|(line, _)| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    if run.log.tier() == "tracing" {
        assert!(matches!(counts[..], [count] if count > 10), "{}", run.stderr);
    } else {
        assert!(counts.is_empty(), "links of tracepoints go by themselves: {}", run.stderr);
    }
}

/// What a killed agent can't do is remove the job's cgroup and end the job; the kernel detaches the programs.
#[test]
fn a_killed_agent_leaves_nothing_attached() {
    needs!();
    let (running, child) = staying();
    let held = Held::by(running.pid());
    let _cgroup = Cgroup::adopt(cgroup_of(child));
    running.signal(Signal::KILL);
    let (status, _home) = running.end();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert!(held.goes(), "programs or links are still loaded");
}

#[test]
fn a_daemon_left_behind_is_ended_and_named() {
    needs!();
    let run = job(&[ACT, "exec", "daemon", "sleep", "1000"]).run().whole();
    let pid: u32 = run.stdout.trim().parse().expect("a pid");
    assert_eq!(run.log.ended().list("/leftovers"), [format!("sleep (pid {pid})")]);
    assert!(wait_until(patience(SOON), || !runs(pid)), "it still runs");
    let exit = run.log.of("exit").find(|exit| *exit.at("/process/pid") == pid).expect("its end");
    assert_eq!(exit.number("signal"), 9);
}

#[test]
fn two_agents_at_once_log_their_own_jobs_only() {
    needs!();
    let meeting = tempfile::tempdir().unwrap();
    let start = |own: &str, other: &str| {
        let script = "touch \"$0/$1\"; until [ -e \"$0/$2\" ]; do sleep 0.01; done; \
                      for i in $(seq 100); do /bin/true \"$1\" $i; done; \"$ACT\" net tcp \"$3\" 9; touch \"$0/$1-done\"; \
                      until [ -e \"$0/$2-done\" ]; do sleep 0.01; done";
        let address = format!("127.0.0.{}", own.len());
        job(&["bash", "-c", script, meeting.path().to_str().unwrap(), own, other, &address])
            .variable("ACT", ACT)
            .start()
    };
    let (first, second) = (start("a", "bb"), start("bb", "a"));
    let (first, second) = (first.wait().whole(), second.wait().whole());
    for (run, own, other, reached) in [(&first, "a", "bb", "127.0.0.1"), (&second, "bb", "a", "127.0.0.2")] {
        let tags: Vec<&str> = run
            .log
            .of("exec")
            .filter_map(|exec| match exec.argv().as_slice() {
                ["/bin/true", tag, _] => Some(*tag),
                _ => None,
            })
            .map(|tag| if tag == own { own } else { other })
            .collect();
        assert_eq!(tags, [own; 100]);
        let reaches: Vec<&str> =
            run.log.of("connect").map(|line| line.at("/destination/ip").as_str().unwrap()).collect();
        assert_eq!(reaches, [reached]);
    }
    let jobs = [&first, &second].map(|run| run.log.ended().text("job").to_owned());
    assert_ne!(jobs[0], jobs[1]);
}
