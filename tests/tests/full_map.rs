//! More processes than the agent remembers. A binary of its own, because it fills the machine with them.

use std::fs;

use end_to_end::{Cgroup, Job, binary, host, needs};

const ACT: &str = env!("CARGO_BIN_EXE_act");

/// How many processes of jobs the kernel side remembers: `TASKS` in `runner-agent-ebpf/src/maps.rs`.
const REMEMBERED: u64 = 32_768;

/// More than those, in case some of them are the machine's.
const CROWD: u64 = REMEMBERED + 256;

/// Memory that each of them takes, in KiB: its stacks, and what the kernel knows of it.
const KIB_EACH: u64 = 40;

/// Why there can't be so many processes here, if that is so; a guest's limits are the test's own.
fn no_room() -> Option<String> {
    for limit in ["pid_max", "threads-max"] {
        let path = format!("/proc/sys/kernel/{limit}");
        let needed = CROWD + 4096;
        if host::is_guest() {
            fs::write(&path, (2 * needed).to_string()).expect("a guest's limits can be set");
        }
        let most: u64 = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        if most < needed {
            return Some(format!("kernel.{limit} is {most}, and {needed} processes are needed"));
        }
    }
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    let free: u64 = free.and_then(|text| text.parse().ok()).unwrap_or_default();
    (free < CROWD * KIB_EACH).then(|| format!("{free} KiB of memory are free, and {} are needed", CROWD * KIB_EACH))
}

#[test]
fn a_child_that_is_born_outside_ends_even_if_there_was_no_room_to_remember_whose_it_is() {
    let no_room = no_room();
    needs!(no_room.is_none(), &no_room.unwrap_or_default());
    let cgroup = Cgroup::create();
    let outside = cgroup.path().to_str().expect("a cgroup's path is text");
    let job = Job::new(binary::agent(ACT), [ACT, "crowd", "born-outside", &CROWD.to_string(), outside, "born"]);
    let born = job.home().join("born");
    let run = job.option("--mode").option("block").run();
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), ["signal 9", "signal 9"], "{}", run.stderr);
    assert!(!born.exists(), "it did something first");
    // The first was known, and is told; of the second nobody knew more than whose child it is.
    assert!(run.log.account("/probes/fork/map_full") > 0, "{}", run.log.ended().0);
    let told = run.log.of("cgroup").filter(|line| line.0["killed"] == true).count();
    assert_eq!(told, 1);
}
