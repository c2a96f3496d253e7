//! Nothing is missed and nothing counted twice under a load that fills a runner: 20,000 programs, 200,000 opens and
//! 20,000 connects in one job, with the rings as they are by default. A binary of its own, so that it runs alone.

use std::collections::HashMap;

use end_to_end::{Job, Line, binary, needs};

const ACT: &str = env!("CARGO_BIN_EXE_act");

const SHELLS: usize = 4;
const EXECS_EACH: usize = 5_000;
const CONNECTS: usize = 20_000;
const UNWATCHED: usize = 196_000;
const WATCHED: usize = 4_000;

/// How often each value occurs.
fn counted<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

#[test]
fn under_full_load_each_exec_watched_open_and_connect_is_in_the_log_exactly_once() {
    needs!();
    let script = "for shell in 1 2 3 4; do (for ((i = 0; i < 5000; i++)); do /bin/true $shell $i; done) & done; \
                  \"$ACT\" open storm /etc/hostname 196000 & \"$ACT\" open watched-storm ~/w 4000 & \
                  \"$ACT\" net storm 20000 & wait";
    let mut job = Job::new(binary::agent(ACT), ["bash", "-c", script]).variable("ACT", ACT).file("w/empty", "");
    assert!(std::path::Path::new("/etc/hostname").exists());
    for number in 0..WATCHED {
        job = job.file(&format!("w/{number}/.npmrc"), "");
    }
    let run = job.option("--max-loss").option("0").run().whole();
    let log = &run.log;

    let execs = counted(log.of("exec").filter_map(|exec| match exec.argv().as_slice() {
        ["/bin/true", shell, number] => Some((shell.parse::<usize>().unwrap(), number.parse::<usize>().unwrap())),
        _ => None,
    }));
    assert_eq!(execs.len(), SHELLS * EXECS_EACH);
    assert!(execs.values().all(|&count| count == 1));
    assert!((1..=SHELLS).all(|shell| (0..EXECS_EACH).all(|number| execs.contains_key(&(shell, number)))));

    let connects = counted(log.of("connect").map(|line| line.at("/destination/ip").as_str().unwrap()));
    assert_eq!(connects.len(), CONNECTS);
    assert!(connects.values().all(|&count| count == 1));
    assert!((0..CONNECTS).all(|number| connects.contains_key(&*format!("127.64.{}.{}", number >> 8, number & 255))));

    let files = counted(log.of("file").map(|line| line.text("path").to_owned()));
    assert_eq!(files.len(), WATCHED);
    assert!(files.values().all(|&count| count == 1));
    assert!((0..WATCHED).all(|number| files.contains_key(&run.path(&format!("w/{number}/.npmrc")))));
    assert_eq!(UNWATCHED + WATCHED, 200_000);

    let processes = counted(log.of("exit").map(Line::key));
    assert!(processes.values().all(|&count| count == 1), "a process ends once");
    assert_eq!((log.account("/lost"), log.account("/difference")), (0, 0));
}
