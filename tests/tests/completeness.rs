//! Nothing is missed and nothing counted twice under a load that fills a runner: 20,000 programs, 200,000 opens and
//! 20,000 connects in one job, with the rings as they are by default. A binary of its own, so that it runs alone. A
//! machine that is told to be slower (`RUNNER_AGENT_TEST_SLOWNESS`) is given that much less; whoever tells it says so.

use std::collections::HashMap;

use end_to_end::{Job, Line, binary, host, needs};

const ACT: &str = env!("CARGO_BIN_EXE_act");

const SHELLS: usize = 4;

/// How much of each the job does.
struct Load {
    execs_each: usize,
    connects: usize,
    unwatched: usize,
    watched: usize,
}

impl Load {
    fn of_this_machine() -> Self {
        let slowness = host::slowness() as usize;
        let [execs_each, connects, unwatched, watched] = [5_000, 20_000, 196_000, 4_000].map(|full| full / slowness);
        Self { execs_each, connects, unwatched, watched }
    }
}

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
    let Load { execs_each, connects: connects_made, unwatched, watched } = Load::of_this_machine();
    let script = format!(
        "for shell in 1 2 3 4; do (for ((i = 0; i < {execs_each}; i++)); do /bin/true $shell $i; done) & done; \
         \"$ACT\" open storm /etc/hostname {unwatched} & \"$ACT\" open watched-storm ~/w {watched} & \
         \"$ACT\" net storm {connects_made} & wait"
    );
    let mut job = Job::new(binary::agent(ACT), ["bash", "-c", &script]).variable("ACT", ACT).file("w/empty", "");
    assert!(std::path::Path::new("/etc/hostname").exists());
    for number in 0..watched {
        job = job.file(&format!("w/{number}/.npmrc"), "");
    }
    let run = job.option("--max-loss").option("0").run().whole();
    let log = &run.log;

    let execs = counted(log.of("exec").filter_map(|exec| match exec.argv().as_slice() {
        ["/bin/true", shell, number] => Some((shell.parse::<usize>().unwrap(), number.parse::<usize>().unwrap())),
        _ => None,
    }));
    assert_eq!(execs.len(), SHELLS * execs_each);
    assert!(execs.values().all(|&count| count == 1));
    assert!((1..=SHELLS).all(|shell| (0..execs_each).all(|number| execs.contains_key(&(shell, number)))));

    let connects = counted(log.of("connect").map(|line| line.at("/destination/ip").as_str().unwrap()));
    assert_eq!(connects.len(), connects_made);
    assert!(connects.values().all(|&count| count == 1));
    assert!((0..connects_made).all(|number| connects.contains_key(&*format!(
        "127.64.{}.{}",
        number >> 8,
        number & 255
    ))));

    let files = counted(log.of("file").map(|line| line.text("path").to_owned()));
    assert_eq!(files.len(), watched);
    assert!(files.values().all(|&count| count == 1));
    assert!((0..watched).all(|number| files.contains_key(&run.path(&format!("w/{number}/.npmrc")))));

    let processes = counted(log.of("exit").map(Line::key));
    assert!(processes.values().all(|&count| count == 1), "a process ends once");
    assert_eq!((log.account("/lost"), log.account("/difference")), (0, 0));
}
