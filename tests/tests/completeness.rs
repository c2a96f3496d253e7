//! Nothing is missed and nothing counted twice under a load that fills a runner: 20,000 programs, 200,000 opens and
//! 20,000 connects in one job, with the rings as they are by default. A binary of its own, so that it runs alone. A
//! machine that is told to be slower (`RUNNER_AGENT_TEST_SLOWNESS`) is given that much less; whoever tells it says so.
//!
//! A kernel that preempts programs leaves out runs of them (docs/tiers.md). There a program or an open may be missing for each
//! run of its probe that was told, connects never: hooks of a cgroup are always run.

use std::collections::HashSet;

use end_to_end::{AT_EVERY_CALL, Job, Line, binary, host, needs};

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

/// Runs that a kernel which preempts programs may leave out, for each thousand things that the job does.
const LEFT_OUT_IN_A_THOUSAND: u64 = 10;

/// The different values. Fails if one of them comes twice.
fn each_once<T: std::hash::Hash + Eq + std::fmt::Debug>(values: impl Iterator<Item = T>) -> HashSet<T> {
    let mut once = HashSet::new();
    for value in values {
        if let Some(twice) = once.replace(value) {
            panic!("{twice:?} is in the log twice");
        }
    }
    once
}

/// Fails if something is in the log that the job didn't do, or more is missing than may be.
fn whole<T: std::hash::Hash + Eq + std::fmt::Debug>(what: &str, found: &HashSet<T>, done: &HashSet<T>, may_miss: u64) {
    let invented: Vec<&T> = found.difference(done).collect();
    assert!(invented.is_empty(), "{what} that the job didn't do: {invented:?}");
    let missing: Vec<&T> = done.difference(found).collect();
    assert!(missing.len() as u64 <= may_miss, "{what} that are missing, though {may_miss} may be: {missing:?}");
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
    let run = job.option("--max-loss").option("0").run();
    let log = &run.log;
    assert_eq!((log.account("/lost"), log.account("/difference")), (0, 0), "{}", run.stderr);

    let left_out = run.left_out();
    let of = |program: &str| left_out.get(program).copied().unwrap_or(0);
    let told = left_out.values().sum::<u64>() - of(AT_EVERY_CALL);
    let done = SHELLS * execs_each + connects_made + unwatched + watched;
    assert!(told * 1000 <= LEFT_OUT_IN_A_THOUSAND * done as u64, "{left_out:?} of {done}");
    assert_eq!(run.code(), if told == 0 { 0 } else { 3 }, "{left_out:?}\n{}", run.stderr);

    let found = each_once(log.of("exec").filter_map(|exec| match exec.argv().as_slice() {
        ["/bin/true", shell, number] => Some((shell.parse::<usize>().unwrap(), number.parse::<usize>().unwrap())),
        _ => None,
    }));
    let done = (1..=SHELLS).flat_map(|shell| (0..execs_each).map(move |number| (shell, number))).collect();
    whole("programs", &found, &done, of("process_exec"));

    let found = each_once(log.of("connect").map(|line| line.at("/destination/ip").as_str().unwrap().to_owned()));
    let done = (0..connects_made).map(|number| format!("127.64.{}.{}", number >> 8, number & 255)).collect();
    whole("connects", &found, &done, 0);

    let found = each_once(log.of("file").map(|line| line.text("path").to_owned()));
    let done = (0..watched).map(|number| run.path(&format!("w/{number}/.npmrc"))).collect();
    whole("opens", &found, &done, of(if log.tier() == "tracing" { "file_open" } else { AT_EVERY_CALL }));

    each_once(log.of("exit").map(Line::key));
}
