//! Namespaces as a container engine makes them: what happens inside is the job's all the same.

use end_to_end::{Line, needs, report, test_name};

use crate::{ACT, act, shell};

#[test]
fn a_container_is_part_of_the_job_with_its_files_programs_and_network() {
    needs!();
    let job = act(&["space", "container"]).file(".aws/credentials", "dummy").file("root/empty", "");
    let (secret, root) = (job.path(".aws/credentials"), job.path("root"));
    let run = job.word(&secret).word(&root).word("9").run().whole();

    let program = run.log.exec_with(&["in-container"]);
    assert_eq!(program.at("/process/container"), true);
    let outside: Vec<&Line> = run.log.of("exec").filter(|exec| *exec.at("/process/exe") == ACT).collect();
    assert!(outside.iter().all(|exec| exec.at("/process/container").is_null()));

    let connect = run.log.connect("127.0.0.1", 9);
    assert_eq!(connect.text("hook"), "connect4");
    assert!(!connect.is("outside_cgroup"));

    let file = run.log.file(&format!("{root}/settings"));
    assert_eq!(file.text("known_as"), secret, "a bind mount doesn't hide it");
    assert_eq!(file.text("class"), "secrets/aws");
}

/// Mounts of its own, which are shared among themselves and with nobody else: what a job does to them stays with the test.
const SHARED: &str = "mount --make-rshared / && exec \"$@\"";

#[test]
fn who_makes_a_container_leaves_its_old_root_and_takes_nothing_from_the_agent() {
    needs!();
    let script = r#"
        in_own() { unshare --mount --propagation "$@" 2>/dev/null && echo "$1: done" || echo "$1: refused"; }
        for propagation in slave unchanged; do
            in_own $propagation umount --lazy /proc/
            in_own $propagation mount -t tmpfs none /proc
        done
    "#;
    let own = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SHARED, "sh"];
    let run = shell(script).by(own).run().whole();
    if run.log.tier() != "tracing" {
        report::needs_guest(test_name!(), "the tracepoint tier refuses no mount");
        return;
    }
    // What is shared would go from the agent's namespace too, or be covered there.
    let said: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(said, ["slave: done", "slave: done", "unchanged: refused", "unchanged: refused"], "{}", run.stderr);
    let told = run.log.of("attempt").filter(|line| line.text("operation") == "mount");
    assert_eq!(told.map(|line| line.text("verdict")).collect::<Vec<_>>(), ["blocked", "blocked"]);
}
