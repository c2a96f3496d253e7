//! Input that is not right: the exit code that the contract says, and a message that says what would be right.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use end_to_end::{Job, Run, binary, needs};

use crate::{ACT, job, shell};

const USAGE: i32 = 2;
const NOT_ARMED: i32 = 125;

/// A command that leaves a mark if it is ever started.
fn marking() -> Job {
    shell("touch ~/started")
}

/// The agent refused, with that code and these words, and never started the command.
fn refused(run: &Run, code: i32, messages: &[&str]) {
    for message in messages {
        assert!(run.agent_said(message), "not said: {message}\nsaid:\n{}", run.stderr);
    }
    assert_eq!(run.code(), code, "{}", run.stderr);
    assert!(!Path::new(&run.path("started")).exists(), "the command was started");
}

/// Refused for its policy, with these problems; `FILE` stands for its path.
fn refused_policy(yaml: &str, problems: &[&str]) {
    let run = marking().policy(yaml).run();
    let file = run.path("policy.yml");
    let problems: Vec<String> = problems.iter().map(|problem| problem.replace("FILE", &file)).collect();
    let mut messages: Vec<&str> = problems.iter().map(String::as_str).collect();
    messages.push("the policy is not right; the command was not started");
    refused(&run, USAGE, &messages);
}

#[test]
fn an_unknown_key_of_a_policy_is_told_with_the_right_one() {
    needs!();
    refused_policy(
        "version: 1\nname: wrong\negres:\n  allow: []\n",
        &["FILE:3:1: egres: is no known key; did you mean \"egress\"?"],
    );
}

#[test]
fn a_wrong_network_is_told_with_what_it_should_be() {
    needs!();
    let run = marking()
        .policy("version: 1\nname: wrong\negress:\n  allow:\n    - { cidr: 192.0.2.1/24, ports: [443], why: \"x\" }\n")
        .run();
    assert_eq!(run.code(), USAGE);
    let file = run.path("policy.yml");
    let place = format!("runner-agent: {file}:5:15: egress.allow[0].cidr: ");
    let told = run.stderr.lines().find_map(|line| line.strip_prefix(&place)).expect("told with its place");
    assert!(told.contains("192.0.2.0/24"), "{told}");
    refused(&run, USAGE, &["the policy is not right; the command was not started"]);
}

#[test]
fn an_empty_policy_is_told_how_one_starts() {
    needs!();
    refused_policy("", &["FILE:1:1: is empty; a policy starts with `version: 1`"]);
}

#[test]
fn a_policy_of_one_mib_is_refused_for_its_size() {
    needs!();
    let yaml = format!("version: 1\nname: large\n# {}\n", "x".repeat(1 << 20));
    let run = marking().policy(&yaml).run();
    assert_eq!(run.code(), USAGE, "{}", run.stderr);
    let place = format!("runner-agent: {}:1:1: ", run.path("policy.yml"));
    let told = run.stderr.lines().find_map(|line| line.strip_prefix(&place)).expect("told with its place");
    assert!(told == "has more than 262144 bytes; split it and include the parts", "{told}");
    refused(&run, USAGE, &["the policy is not right; the command was not started"]);
}

#[test]
fn a_directory_as_policy_is_refused() {
    needs!();
    let job = marking();
    let home = job.path("");
    let run = job.option("--policy").option(&home).run();
    refused(&run, USAGE, &[&format!("{home}:1:1: is a directory; name the files in it")]);
}

#[test]
fn a_policy_that_is_not_there_is_refused() {
    needs!();
    let job = marking();
    let missing = job.path("none.yml");
    let run = job.option("--policy").option(&missing).run();
    refused(&run, USAGE, &[&format!("{missing}:1:1: there is no such file")]);
}

#[test]
fn every_problem_of_a_policy_is_told_at_once() {
    needs!();
    refused_policy(
        "version: 1\nname: wrong\nmod: audit\negres: {}\n",
        &[
            "FILE:3:1: mod: is no known key; did you mean \"mode\"?",
            "FILE:4:1: egres: is no known key; did you mean \"egress\"?",
        ],
    );
}

#[test]
fn mode_block_never_becomes_audit() {
    needs!();
    let strict = "version: 1\nname: strict\nmode: block\nsecrets: { on-read: { other-readers: block } }\n";
    let run = marking().policy(strict).option("--tier").option("tracepoint").run();
    assert!(
        run.stderr.contains("not armed, the command was not started: can't refuse reads of secret files: "),
        "{}",
        run.stderr
    );
    refused(&run, NOT_ARMED, &[]);
    let overridden = shell("exit 7").policy(strict).option("--mode").option("audit").run();
    assert_eq!(overridden.code(), 7);
}

#[test]
fn a_command_that_does_not_exist_is_127() {
    needs!();
    let run = job(&["/nonexistent/program"]).run();
    assert_eq!(run.code(), 127);
    assert!(run.agent_said("/nonexistent/program: No such file or directory (os error 2)"), "{}", run.stderr);
    let run = job(&["no-such-program-anywhere"]).run();
    assert_eq!(run.code(), 127);
}

#[test]
fn a_command_that_can_not_run_is_126() {
    needs!();
    let job = job(&[]).file("plain", "no program");
    let plain = job.path("plain");
    let run = job.word(&plain).run();
    assert_eq!(run.code(), 126);
    assert!(run.agent_said(&format!("{plain}: Permission denied (os error 13)")), "{}", run.stderr);
}

#[test]
fn a_log_that_can_not_be_written_keeps_the_command_from_starting() {
    needs!();
    let job = marking().without_log();
    let log = job.path("no/such/folder/job.jsonl");
    let run = job.option("--log").option(&log).run();
    let message =
        format!("can't write the log {log}: No such file or directory (os error 2); the command was not started");
    refused(&run, NOT_ARMED, &[&message]);
}

#[test]
fn type_information_that_is_not_there_is_told_with_the_kernel_option() {
    needs!();
    let run = marking().option("--btf").option("/nonexistent/vmlinux").run();
    let message = "not armed, the command was not started: can't read the kernel's type information /nonexistent/vmlinux: No \
                   such file or directory (os error 2); the kernel must be built with CONFIG_DEBUG_INFO_BTF=y";
    refused(&run, NOT_ARMED, &[message]);
}

#[test]
fn type_information_that_is_none_is_refused() {
    needs!();
    let job = marking().file("vmlinux", "not type information");
    let btf = job.path("vmlinux");
    let run = job.option("--btf").option(&btf).run();
    let message = format!(
        "not armed, the command was not started: {btf} is not valid BTF; it must be the running kernel's own vmlinux BTF"
    );
    refused(&run, NOT_ARMED, &[&message]);
}

#[test]
fn a_kernel_without_the_fields_is_told_which_are_missing() {
    needs!();
    let job = marking();
    let btf = job.path("vmlinux");
    // `struct btf_header` without a type, and the empty string that every string section starts with.
    let mut header = vec![0x9f, 0xeb, 1, 0];
    header.extend([24_u32, 0, 0, 0, 1].iter().flat_map(|word| word.to_le_bytes()));
    header.push(0);
    fs::write(&btf, header).unwrap();
    let run = job.option("--btf").option(&btf).run();
    refused(&run, NOT_ARMED, &[]);
    let front = "runner-agent: not armed, the command was not started: this kernel lacks fields that the probes read: ";
    let told = run.stderr.lines().find_map(|line| line.strip_prefix(front)).expect("told which");
    let (fields, why) = told.split_once("; ").expect("fields, then the reason");
    assert!(fields.split(", ").any(|field| field == "task_struct::tgid"), "{fields}");
    assert_eq!(why, "it is older or newer than the probes know, and no offset is ever guessed");
}

#[test]
fn without_privileges_the_missing_ones_are_named() {
    needs!();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("runner-agent");
    binary::copy(binary::agent(ACT), &program);
    let run = Job::new(program, ["touch", "/nonexistent/started"])
        .without_log()
        .by(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .run();
    let message = "not armed, the command was not started: loading eBPF programs needs root, or the capabilities CAP_BPF, \
                   CAP_PERFMON and CAP_NET_ADMIN; missing here: CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN; start runner-agent with \
                   sudo";
    refused(&run, NOT_ARMED, &[message]);
}

#[test]
fn a_policy_that_may_not_be_read_is_told_so() {
    needs!();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (program, policy) = (folder.path().join("runner-agent"), folder.path().join("policy.yml"));
    binary::copy(binary::agent(ACT), &program);
    fs::write(&policy, "version: 1\nname: hidden\n").unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o600)).unwrap();
    let run = Job::new(program, ["touch", "/nonexistent/started"])
        .without_log()
        .option("--policy")
        .option(&policy)
        .by(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .run();
    refused(&run, USAGE, &[&format!("{}:1:1: can't be read: permission denied", policy.display())]);
}

#[test]
fn without_cgroup_v2_the_mount_command_is_told() {
    needs!();
    let run = marking().by([ACT, "space", "without-cgroup2"]).run();
    let message = "not armed, the command was not started: no cgroup v2 hierarchy is mounted here (nothing of type cgroup2 in \
                   /proc/self/mountinfo); mount one, for instance with: mount -t cgroup2 none /sys/fs/cgroup/unified";
    refused(&run, NOT_ARMED, &[message]);
}

#[test]
fn without_tracefs_everything_works() {
    needs!();
    let script = "umount --all --types tracefs,debugfs 2>/dev/null; ! grep -q -e ' - tracefs ' /proc/self/mountinfo || exit 99; \
                  exec \"$@\"";
    let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    let run = shell("/bin/true seen").by(wrapper).run().whole();
    run.log.exec_with(&["seen"]);
}

#[test]
fn a_ring_that_can_not_be_is_refused_with_the_sizes_that_can() {
    needs!();
    for size in ["0", "3", "5", "x", "2097152"] {
        let run = marking().option("--bulk-ring").option(size).run();
        assert_eq!(run.code(), USAGE);
        assert!(run.stderr.contains("a power of two from 4 to 1048576 is"), "{}", run.stderr);
        refused(&run, USAGE, &[]);
    }
}
