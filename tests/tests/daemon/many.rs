//! Many jobs on one daemon: one after the other, and side by side.

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;

use end_to_end::{Daemon, host, needs};

use crate::{CLOSED, daemon};

/// Jobs side by side.
const AT_ONCE: usize = 50;

/// Open descriptors, and resident memory in KiB.
fn footprint(daemon: &Daemon) -> (usize, u64) {
    let pid = daemon.pid();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the daemon runs").count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    (descriptors, resident.trim().trim_end_matches(" kB").parse().expect("a number of KiB"))
}

#[test]
fn a_thousand_jobs_one_after_the_other_leave_nothing_behind() {
    needs!();
    let jobs = 1000 / host::slowness() as usize;
    let daemon = daemon(&[CLOSED], "");
    let work = |from: usize, to: usize| {
        for number in from..to {
            let worked =
                daemon.run(&format!("start >/dev/null || exit 9; echo {number} >/dev/null; stop >/dev/null"), &[]);
            assert_eq!(worked.code, Some(0), "job {number}: {worked:?}\n{}", daemon.said());
        }
        daemon.wait_until_idle();
    };
    // What grows to its size does so first.
    let warm = jobs / 5;
    work(0, warm);
    let (maps, before) = (daemon.answer(&["status"])["maps"].clone(), footprint(&daemon));
    work(warm, jobs);
    assert_eq!(daemon.answer(&["status"])["maps"], maps);
    let after = footprint(&daemon);
    assert_eq!(after.0, before.0, "descriptors");
    assert!(after.1 <= before.1 + 4096, "{} KiB after {warm} jobs, {} after {jobs}", before.1, after.1);
    let logs = daemon.logs();
    assert_eq!(logs.len(), jobs);
    for (path, log) in logs {
        let id = path.file_stem().and_then(|name| name.to_str()).expect("a log's name").to_owned();
        assert!(log.lines().iter().all(|line| line.at("/job").as_str().is_none_or(|job| job == id)), "{id}");
        assert_eq!(log.lines().last().expect("lines").text("state"), "reset");
    }
}

#[test]
fn fifty_jobs_at_once_know_nothing_of_each_other() {
    needs!();
    let daemon = daemon(&[CLOSED], "");
    fs::create_dir(daemon.path("gates")).expect("a folder");
    let start = |number: usize| -> Child {
        let script = format!(
            "mkfifo gates/{number}; start >/dev/null || exit 9; echo ready >ready-{number}; read -r <gates/{number}; \
             /bin/echo job-{number} >/dev/null; (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; stop >/dev/null"
        );
        daemon.worker(&script, &[]).spawn().expect("a shell can be started")
    };
    let workers: Vec<Child> = (0..AT_ONCE).map(start).collect();
    let within = host::patience(std::time::Duration::from_mins(2));
    let all_ready = || (0..AT_ONCE).all(|number| daemon.path(&format!("ready-{number}")).exists());
    assert!(end_to_end::wait_until(within, all_ready), "{}", daemon.said());
    assert_eq!(daemon.answer(&["status"])["jobs"], AT_ONCE);
    for number in 0..AT_ONCE {
        fs::write(daemon.path(&format!("gates/{number}")), "\n").expect("somebody reads it");
    }
    for worker in workers {
        let out = worker.wait_with_output().expect("it is ours");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    daemon.wait_until_idle();
    let mut seen = BTreeSet::new();
    let logs = daemon.logs();
    assert_eq!(logs.len(), AT_ONCE);
    for (_, log) in &logs {
        let marks: Vec<String> = log
            .of("exec")
            .filter_map(|exec| {
                exec.argv().get(1).filter(|word| word.starts_with("job-")).map(|word| (*word).to_owned())
            })
            .collect();
        assert_eq!(marks.len(), 1, "each log has its own job's program and no other: {marks:?}");
        assert_eq!(log.connects("127.0.0.1", 9).len(), 1);
        assert_eq!((log.account("/lost"), log.account("/difference")), (0, 0));
        seen.extend(marks);
    }
    assert_eq!(seen.len(), AT_ONCE);
}
