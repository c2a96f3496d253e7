//! What keeps a blocked job's command from starting: an agent that can't hold what its policy says says why, and starts nothing.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use end_to_end::{Job, Run, binary, needs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::block_faults::{NOT_ARMED, at_home, closing};
use crate::{ACT, shell};

/// The agent refused with these words, and never started the command.
fn refused(job: Job, words: &[&str]) -> Run {
    let started = PathBuf::from(job.path("started"));
    let run = job.run();
    assert_eq!(run.code(), NOT_ARMED, "{}", run.stderr);
    assert!(!started.exists(), "the command was started");
    let told =
        run.stderr.lines().find(|line| line.starts_with("runner-agent: not armed, the command was not started: "));
    let told = told.unwrap_or_else(|| panic!("nothing was told:\n{}", run.stderr));
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} is not in: {told}");
    run
}

fn marking(policy: &str) -> Job {
    at_home(shell("touch ~/started").policy(policy))
}

#[test]
fn rules_that_do_not_fit_keep_the_command_from_starting() {
    needs!();
    let front = "version: 1\nname: large\nmode: block\negress:\n  allow:\n";
    let scoped = |count: usize, network: &dyn Fn(usize) -> String| {
        (0..count).fold(front.to_owned(), |yaml, number| {
            let network = network(number);
            yaml + &format!("    - {{ cidr: {network}, ports: [443], exe: [tool{number}], why: \"this test\" }}\n")
        })
    };
    let at_one = |_| "198.51.100.0/24".to_owned();
    refused(marking(&scoped(9, &at_one)), &["9 rules meet at 198.51.100.0/24", "large/egress.allow[8]", "merge some"]);
    let apart = |number| format!("198.51.{number}.0/24");
    refused(marking(&scoped(64, &apart)), &["64 different `exe` lists", "make some of them equal"]);
    let mut ports = String::new();
    for number in 0..4090_u32 {
        let _ = write!(ports, "{}-{},", number * 16 + 1, number * 16 + 15);
    }
    let many = (0..5).fold(front.to_owned(), |yaml, number| {
        yaml + &format!("    - {{ cidr: 203.0.{number}.0/24, ports: [{ports}], why: \"this test\" }}\n")
    });
    refused(marking(&many), &["entries, and the kernel side holds 262144", "write wider networks"]);
}

#[test]
fn an_agent_that_can_not_pin_keeps_the_command_from_starting() {
    needs!();
    let policy = closing(&[9]);
    let plain = marking(&policy);
    let pins = plain.path("pins");
    refused(plain.option("--pins").option(&pins), &["can't pin to", "is not on a BPF file system", "mount -t bpf"]);
    let read_only = marking(&policy);
    let folder = PathBuf::from(read_only.path("bpf"));
    fs::create_dir(&folder).expect("a folder");
    mount("bpf", &folder, "bpf", MountFlags::RDONLY, None).expect("a BPF file system can be mounted");
    let mounted = Mounted(folder.clone());
    let run = refused(read_only.option("--pins").option(folder.join("pins")), &["can't make", "Read-only file system"]);
    // Before the job's home, in which it is.
    drop(mounted);
    drop(run);
    let file = shell("touch ~/started").policy(&policy).file("taken", "no folder");
    let state = file.path("taken");
    refused(file.option("--state").option(state), &["can't make the job's folder", "Not a directory"]);
}

/// Unmounted with this value.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::empty());
    }
}

#[test]
fn without_privileges_or_without_cgroup_v2_a_blocked_job_does_not_start() {
    needs!();
    let without = marking(&closing(&[9])).by([ACT, "space", "without-cgroup2"]);
    refused(without, &["no cgroup v2 hierarchy is mounted here"]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("its owner may");
    let (program, policy) = (folder.path().join("runner-agent"), folder.path().join("policy.yml"));
    binary::copy(binary::agent(ACT), &program);
    fs::write(&policy, closing(&[9])).expect("a file can be written");
    let job = Job::new(program, ["touch", folder.path().join("started").to_str().expect("text")]).without_log();
    let job = job.option("--policy").option(&policy).option("--state").option(folder.path().join("state"));
    refused(job.by(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]), &["can't"]);
    assert!(!folder.path().join("started").exists(), "the command was started");
}
