//! Namespaces as a container engine makes them: what happens inside is the job's all the same.

use end_to_end::{Line, needs};

use crate::{ACT, act};

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
