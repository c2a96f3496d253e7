//! `run --scope runner`: one job holds the machine.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use end_to_end::job::Running;
use end_to_end::{Cgroup, Job, Namespace, Run, binary, wait_until};
use rustix::process::Signal;

use crate::{ACT, Outsider, Stage, WITHIN, connect_of};

/// A job that runs a script.
fn shell(script: &str) -> Job {
    Job::new(binary::agent(ACT), ["bash", "-c", script])
}

/// Held to a policy that closes the listener, for the whole runner: a job that runs until its file is there.
fn job(stage: &Stage, mode: &str, script: &str) -> Job {
    let script = format!("{script}\necho armed; until [ -e done ]; do read -rt 0.05 _ <> <(:); done; true");
    shell(&script).policy(&stage.policy("scope", mode)).option("--scope").option("runner")
}

/// Lets the job come to its end.
fn end(running: Running, home: &Path) -> Run {
    fs::write(home.join("done"), "").expect("the job's home takes files");
    running.wait()
}

fn is_unheard(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("a socket can be told not to wait");
    listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn everybody_is_held_to_the_policy_but_services_by_cgroup_and_program() {
    needs_guest!();
    let stage = Stage::set();
    let bash = Path::new("/bin/bash");
    let mut elsewhere = Outsider::start(bash, stage.elsewhere.path(), None);
    let mut service = Outsider::start(&stage.service, stage.platform.path(), None);
    let mut other_program = Outsider::start(bash, stage.platform.path(), None);
    let mut other_place = Outsider::start(&stage.service, stage.elsewhere.path(), None);
    let job = job(&stage, "block", "{ true 3<>/dev/tcp/127.0.0.1/$CLOSED; } 2>&1 | grep -o 'not permitted' | head -1");
    let job = job.variable("CLOSED", stage.closed().1.to_string());
    let home = job.home().to_owned();
    let mut running = job.start();
    assert_eq!(running.line(), "not permitted");
    assert_eq!(running.line(), "armed");

    assert_eq!(elsewhere.tries(stage.closed()), "refused");
    assert_eq!(other_program.tries(stage.closed()), "refused");
    assert_eq!(other_place.tries(stage.closed()), "refused");
    assert!(is_unheard(&stage.closed));
    assert_eq!(service.tries(stage.closed()), "reached");

    let run = end(running, &home).whole();
    let line = connect_of(&run.log, &elsewhere);
    assert_eq!((line.text("scope"), line.text("verdict")), ("runner", "blocked"));
    assert!(run.log.of("connect").all(|line| *line.at("/process/pid") != service.pid()), "who is exempt is not told");
    let told = run.log.of("agent").find(|line| line.text("state") == "runner-in-scope").expect("it says whom it holds");
    assert!(told.text("detail").contains("bash ("), "{}", told.text("detail"));
    let finding = run.log.findings("egress-denied").any(|line| line.text("message").contains("outside the job"));
    assert!(finding, "a finding says that it was nobody of the job");

    // With the job its hooks have gone, and whoever was not the job's runs on.
    assert_eq!(elsewhere.tries(stage.closed()), "reached");
}

#[test]
fn an_audited_runner_is_told_and_not_refused() {
    needs_guest!();
    let stage = Stage::set();
    let mut elsewhere = Outsider::start(Path::new("/bin/bash"), stage.elsewhere.path(), None);
    let job = job(&stage, "audit", "");
    let home = job.home().to_owned();
    let mut running = job.start();
    assert_eq!(running.line(), "armed");
    assert_eq!(elsewhere.tries(stage.closed()), "reached");
    let late = Outsider::start(Path::new("/bin/bash"), stage.elsewhere.path(), None);
    let run = end(running, &home).whole();
    let line = connect_of(&run.log, &elsewhere);
    assert_eq!((line.text("scope"), line.text("verdict")), ("runner", "audited"));
    let left = run.log.ended().list("/left_on_runner");
    assert_eq!(left, [format!("bash (pid {})", late.pid())], "whoever came while the job ran, and stays");
}

#[test]
fn a_container_on_a_bridge_of_its_own_is_held_too() {
    needs_guest!();
    let stage = Stage::set();
    // As an engine does it: a bridge that the user asked for, one end of a pair in the container, a cgroup outside the job.
    let (engine, container) = (Namespace::create(), Namespace::create());
    engine.ip(&format!(
        "link add br-user type bridge\naddr add 10.77.0.1/24 dev br-user\nlink set br-user up\n\
         link add veth-host type veth peer name eth0 netns {}\nlink set veth-host master br-user\nlink set veth-host up\n",
        container.name()
    ));
    container.ip("addr add 10.77.0.2/24 dev eth0\nlink set eth0 up\n");
    let listener = engine.inside(|| TcpListener::bind("10.77.0.1:0")).expect("the bridge has that address");
    let address = (Ipv4Addr::new(10, 77, 0, 1), listener.local_addr().expect("it is bound").port());
    let mut inside = Outsider::start(Path::new("/bin/bash"), stage.elsewhere.path(), Some(&container));
    let job = job(&stage, "block", "");
    let home = job.home().to_owned();
    let mut running = job.start();
    assert_eq!(running.line(), "armed");
    assert_eq!(inside.tries(address), "refused");
    assert!(is_unheard(&listener));
    let run = end(running, &home).whole();
    let line = connect_of(&run.log, &inside);
    assert_eq!((line.text("scope"), line.text("verdict")), ("runner", "blocked"));
    assert_eq!(inside.tries(address), "reached", "it was the policy that kept it");
}

#[test]
fn a_service_that_is_started_again_is_exempt_again() {
    needs_guest!();
    let stage = Stage::set();
    let job = job(&stage, "block", "");
    let home = job.home().to_owned();
    let mut running = job.start();
    assert_eq!(running.line(), "armed");
    // The same name and one more, as a template's instances have it: another cgroup than any that was there.
    let again = Cgroup::adopt(PathBuf::from(format!("{}-again", stage.platform.path().display())));
    fs::create_dir(again.path()).expect("a cgroup can be made");
    let mut service = Outsider::start(&stage.service, again.path(), None);
    assert!(wait_until(WITHIN, || service.tries(stage.closed()) == "reached"), "its cgroup is found");
    drop(end(running, &home).whole());
}

#[test]
fn a_killed_agent_leaves_the_runner_held_and_a_successor_goes_on() {
    needs_guest!();
    let stage = Stage::set();
    let mut elsewhere = Outsider::start(Path::new("/bin/bash"), stage.elsewhere.path(), None);
    let mut service = Outsider::start(&stage.service, stage.platform.path(), None);
    let job = job(&stage, "block", "");
    let home = job.home().to_owned();
    let folder = job.path("state");
    let mut running = job.option("--state").option(&folder).start();
    assert_eq!(running.line(), "armed");
    running.signal(Signal::KILL);
    assert!(wait_until(WITHIN, || running.has_ended()));
    assert_eq!(elsewhere.tries(stage.closed()), "refused");
    assert_eq!(service.tries(stage.closed()), "reached");

    let next = shell("true").option("--state").option(&folder).run();
    assert!(next.status.success(), "{}", next.stderr);
    let log = || fs::read_to_string(home.join("job.jsonl")).unwrap_or_default();
    assert!(wait_until(WITHIN, || log().contains("\"taken-over\"")));
    assert_eq!(elsewhere.tries(stage.closed()), "refused");
    assert_eq!(service.tries(stage.closed()), "reached");
    fs::write(home.join("done"), "").expect("the job's home takes files");
    assert!(wait_until(WITHIN, || log().contains("\"state\":\"ended\"")), "the keeper sees the job's end");
    assert!(wait_until(WITHIN, || elsewhere.tries(stage.closed()) == "reached"), "and takes its hooks away");
    drop(running.end());
}
