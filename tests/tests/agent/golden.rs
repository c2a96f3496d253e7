//! One form of record for all tiers and kernels: the same job leaves the same log, but for numbers that differ by nature.
//!
//! What is compared stands in `tests/golden`, once for all. A kernel or tier that tells otherwise differs from it.

use end_to_end::{Job, Line, Run};
use serde_json::Value;

use crate::{ACT, job};

/// Fields that are another number on each run, or another word on each kernel.
const BY_NATURE: [&str; 16] = [
    "/ts",
    "/seq",
    "/prev",
    "/job",
    "/evidence",
    "/account",
    "/cgroup",
    "/key",
    "/policy_sha256",
    // None is told for a program in a temporary folder, and where this is built may be one.
    "/fix",
    "/process/key",
    "/process/pid",
    "/process/parent",
    "/process/cgroup",
    "/process/stdin_pipe",
    "/process/stdout_pipe",
];

/// What an audited job does: programs, an owner's read, a stranger's, a link, a removed file, connects that pass and that would
/// not.
const AUDITED: &str = r#"
    cat "$HOME/.aws/credentials" >copy
    echo made >"$HOME/.npmrc"
    mkdir desk
    $ACT open by-handle "$HOME/.aws/credentials" desk
    ln "$HOME/.aws/credentials" link
    cat link >/dev/null
    (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null
    (exec 3<>/dev/udp/127.0.0.1/9) 2>/dev/null
    unshare --mount true
    true
"#;

/// What a blocked job is kept from, and what it is not.
const BLOCKED: &str = r#"
    (exec 3<>/dev/tcp/203.0.113.7/443) 2>/dev/null
    (exec 3<>/dev/udp/203.0.113.7/443) 2>/dev/null
    (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null
    cat "$HOME/.aws/credentials" >/dev/null
    true
"#;

/// From a file, so that its text is no argument of every process that the log tells of.
fn script(text: &str) -> Job {
    let secret = "[default]\naws_access_key_id = dummy\n";
    job(&["bash", "job.sh"]).variable("ACT", ACT).file("job.sh", text).file(".aws/credentials", secret)
}

/// The log in a form that is the same everywhere.
fn normalised(run: &Run) -> String {
    let home = run.home.path().to_str().expect("test paths are text").to_owned();
    let lines = run.log.lines().iter().filter(|line| !matches!(line.text("kind"), "agent" | "checkpoint" | "loss"));
    lines.map(|line| one(line, &home)).collect()
}

fn one(line: &Line, home: &str) -> String {
    let mut value = line.0.clone();
    for pointer in BY_NATURE {
        let (above, name) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
        if let Some(Value::Object(fields)) = value.pointer_mut(above) {
            fields.remove(name);
        }
    }
    // A sentence has pids in it.
    if let Some(Value::String(message)) = value.get_mut("message") {
        let words = message.split("(pid ").map(|part| match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("N){rest}"),
            _ => part.to_owned(),
        });
        *message = words.collect::<Vec<_>>().join("(pid ");
    }
    format!("{value}\n").replace(home, "HOME").replace(ACT, "ACT")
}

fn compare(name: &str, run: &Run, expected: &str) {
    let found = normalised(run);
    if found == expected {
        return;
    }
    // Where somebody who changed the log on purpose finds what to commit.
    if let Some(folder) = std::env::var_os("RUNNER_AGENT_GOLDEN") {
        std::fs::write(std::path::Path::new(&folder).join(name), &found).expect("the folder can be written to");
    }
    let lines = expected.lines().zip(found.lines()).enumerate();
    let differing = lines.filter(|(_, (expected, found))| expected != found).map(|(number, (expected, found))| {
        format!("line {}:\n  expected {expected}\n  found    {found}\n", number + 1)
    });
    panic!(
        "{name}: {} lines expected, {} found; set RUNNER_AGENT_GOLDEN=DIR to have what was found\n{}",
        expected.lines().count(),
        found.lines().count(),
        differing.collect::<String>()
    );
}

#[test]
fn an_audited_job_leaves_the_same_log_on_every_tier_and_kernel() {
    let run = script(AUDITED).run().whole();
    compare("audited.jsonl", &run, include_str!("../golden/audited.jsonl"));
}

#[test]
fn a_blocked_job_leaves_the_same_log_on_every_tier_and_kernel() {
    let run = script(BLOCKED).option("--mode").option("block").run().whole();
    compare("blocked.jsonl", &run, include_str!("../golden/blocked.jsonl"));
}
