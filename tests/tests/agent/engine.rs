//! The gate to a container engine, as a job meets it. The engine is a server that makes no containers and records what it saw.

use std::fs;
use std::path::Path;

use end_to_end::engine::{Engine, MADE};
use end_to_end::{Job, needs};

use crate::shell;

const NOT_ARMED: i32 = 125;

/// What scripts ask with: prints the body, then the status.
const ASK: &str = r#"
    set -u
    gate=${DOCKER_HOST#unix://}
    ask() { ${as-} curl -sS --unix-socket "$gate" -w '\n%{http_code}\n' -X "$1" "http://engine$2" ${3+-H 'Content-Type: application/json' -d "$3"}; }
"#;

/// A job whose policy has the gate, with an engine of its own.
fn gated(mode: &str, script: &str) -> (Job, Engine) {
    let policy = format!("version: 1\nname: ci\nmode: {mode}\nguard: {{ docker: gate }}\n");
    let job = shell(&format!("{ASK}{script}")).policy(&policy);
    let (state, socket) = (job.path("state"), job.path("engine.sock"));
    let engine = Engine::start(Path::new(&socket));
    (job.option("--state").option(state).variable("DOCKER_HOST", format!("unix://{socket}")), engine)
}

#[test]
fn a_blocked_job_gets_what_is_harmless_and_nothing_that_gives_the_machine_away() {
    needs!();
    let (job, engine) = gated(
        "block",
        r#"
        ask POST /v1.43/containers/create '{"Image":"a","HostConfig":{"privileged":true,"Binds":["/:/host"]}}'
        ask POST /v1.43/containers/create?name=mine '{"Image":"a","HostConfig":{"Memory":1048576}}'
        ask POST /containers/mine/start
        ask POST /session
        ask DELETE /containers/other
        "#,
    );
    let run = job.run().whole();
    let said: Vec<&str> = run.stdout.lines().collect();
    let statuses: Vec<&str> = said.iter().copied().filter(|line| line.len() == 3).collect();
    assert_eq!(statuses, ["403", "201", "204", "403", "403"], "{}", run.stdout);
    assert!(
        said[0].starts_with(
            "{\"message\":\"runner-agent refused POST /containers/create, which asks for: host-mount /, privileged (policy ci, "
        ),
        "{}",
        said[0]
    );
    assert!(run.stdout.contains("DOCKER_BUILDKIT=0"), "{}", run.stdout);
    let start = format!("POST /containers/{MADE}/start");
    assert_eq!(engine.requests(), ["POST /v1.43/containers/create?name=mine", start.as_str()]);
    assert_eq!(engine.seen()[0].body, r#"{"HostConfig":{"Memory":1048576},"Image":"a"}"#);

    let told: Vec<_> = run.log.of("attempt").filter(|line| line.text("operation") == "engine-request").collect();
    let asks: Vec<Vec<&str>> = told.iter().map(|line| line.list("/asks")).collect();
    assert_eq!(asks, [vec!["host-mount /", "privileged"], vec!["opaque-stream"], vec!["container-of-others other"]]);
    assert_eq!(told[0].text("request"), "POST /containers/create");
    for line in told {
        assert_eq!(line.text("verdict"), "blocked");
        assert_eq!(line.argv()[0], "curl", "the process that asked is named");
    }
    assert_eq!(run.log.findings("engine-request").count(), 3);
    assert!(!Path::new(&run.path("state/gates")).read_dir().unwrap().any(|_| true), "the gate's socket is gone");
}

#[test]
fn an_audited_job_gets_everything_and_it_is_told() {
    needs!();
    let (job, engine) =
        gated("audit", r#"ask POST /containers/create '{"Image":"a","HostConfig":{"PidMode":"host"}}'"#);
    let run = job.run().whole();
    assert!(run.stdout.ends_with("\n201\n"), "{}", run.stdout);
    assert_eq!(engine.seen()[0].body, r#"{"Image":"a","HostConfig":{"PidMode":"host"}}"#);
    let attempt = run.log.of("attempt").find(|line| line.text("operation") == "engine-request").unwrap();
    assert_eq!((attempt.text("verdict"), attempt.list("/asks")), ("audited", vec!["host-pid"]));
    let finding = run.log.findings("engine-request").next().unwrap();
    assert!(finding.evidence().contains(&attempt.number("seq")));
}

#[test]
fn a_stream_to_a_container_carries_bytes_both_ways() {
    needs!();
    let (job, _engine) = gated(
        "block",
        r#"
        ask POST /containers/create '{"Image":"a"}' >&2
        "$ACT" engine stream "$gate" '/containers/mine/attach?stream=1&stdin=1&stdout=1' 'hello'
        "#,
    );
    let run = job.run().whole();
    assert_eq!(run.stdout, "HTTP/1.1 101 Switching Protocols\nHELLOEND\n");
}

#[test]
fn a_folder_of_the_job_is_held_fast_when_the_job_puts_something_else_in_its_place() {
    needs!();
    let (job, engine) = gated(
        "block",
        r#"
        bind() { ask POST /containers/create "{\"Image\":\"a\",\"HostConfig\":{\"Binds\":[\"$1:/w:ro\"]}}" | tail -n 1; }
        mkdir out; ln -s /etc work/link
        bind "$HOME/work/checkout"; bind "$HOME/work/link"; bind "$HOME/work/checkout/../.."; bind "$HOME"; bind /
        mount -t tmpfs none work/over; bind "$HOME/work/over"; umount work/over
        mv work/checkout old; ln -s / work/checkout
        ls state/gates/*.mounts/0
        bind "$HOME/work/checkout"
        "#,
    );
    let workspace = job.path("work");
    let run = job
        .file("work/checkout/of-the-job", "")
        .file("work/over/file", "")
        .variable("GITHUB_WORKSPACE", &workspace)
        // What is mounted stays with the job.
        .by(["unshare", "--mount", "--propagation", "private"])
        .run()
        .whole();
    let said: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(said, ["201", "403", "403", "403", "403", "403", "of-the-job", "403"], "{}", run.stderr);
    let seen = engine.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].body.contains(".mounts/0:/w:ro"), "{}", seen[0].body);
    assert!(fs::read_dir(run.path("state/gates")).unwrap().next().is_none(), "nothing is left");
    assert!(Path::new(&run.path("old/of-the-job")).exists(), "what was held is untouched");
}

#[test]
fn a_user_reaches_the_gate_and_writes_only_where_no_file_becomes_anothers_right() {
    needs!();
    let (job, engine) = gated(
        "block",
        r#"
        bind() { ask POST /containers/create "{\"Image\":\"a\",\"HostConfig\":{\"Binds\":[\"$1\"]}}" | tail -n 1; }
        chmod 711 "$HOME"; mkdir work/own work/of-root temp/own; chown 12345 work/own temp/own
        as="setpriv --reuid=12345 --clear-groups"
        bind "$HOME/work/own:/w:ro"; bind "$HOME/work/of-root:/w:ro"
        bind "$HOME/work/own:/w"; bind "$HOME/temp/own:/w"
        as=; bind "$HOME/work/of-root:/w"
        "#,
    );
    let (home, work, temp) = (job.path(""), job.path("work"), job.path("temp"));
    let mounts = "mkdir \"$0/work\" \"$0/temp\" && mount -t tmpfs none \"$0/work\" && \
                  mount -t tmpfs -o nosuid,nodev none \"$0/temp\" && exec \"$@\"";
    let run = job
        .variable("GITHUB_WORKSPACE", &work)
        .variable("RUNNER_TEMP", &temp)
        .by(["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts, &home])
        .run()
        .whole();
    let said: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(said, ["201", "403", "403", "201", "201"], "{}", run.stderr);
    assert_eq!(engine.seen().len(), 3);
}

#[test]
fn the_engines_own_socket_is_refused_where_the_tier_can_and_else_that_is_said() {
    needs!();
    let (job, engine) =
        gated("block", r#"curl -sS --unix-socket "$HOME/engine.sock" http://engine/version || echo refused"#);
    let run = job.run().whole();
    if run.log.tier() == "tracing" {
        assert_eq!(run.stdout, "refused\n");
        assert!(engine.seen().is_empty());
        assert!(run.log.finding_ids().contains(&"engine-socket"), "{:?}", run.log.finding_ids());
    } else {
        assert!(
            run.stderr.contains(
                "guard.docker: gate: a job that may write to the container engine's own socket gets past the gate"
            ),
            "{}",
            run.stderr
        );
        assert_eq!(engine.requests(), ["GET /version"]);
    }
}

#[test]
fn who_is_not_of_the_job_gets_nothing_from_its_gate() {
    needs!();
    let (job, engine) = gated("block", r#"echo "$gate"; read -r _ <wait"#);
    let wait = job.path("wait");
    assert!(std::process::Command::new("mkfifo").arg(&wait).status().unwrap().success());
    let mut running = job.start();
    let gate = running.line();
    let asked = std::process::Command::new("curl")
        .args(["-sS", "--unix-socket", &gate, "http://engine/version"])
        .output()
        .expect("curl is there");
    assert!(!asked.status.success());
    fs::write(&wait, "go on\n").unwrap();
    assert!(running.wait().whole().stdout.is_empty());
    assert!(engine.seen().is_empty());
}

#[test]
fn an_engine_that_cannot_be_gated_keeps_a_blocked_job_from_starting() {
    needs!();
    let (job, _engine) = gated("block", "echo started");
    let run = job.variable("DOCKER_HOST", "tcp://127.0.0.1:2375").run();
    assert_eq!((run.code(), run.stdout.as_str()), (NOT_ARMED, ""));
    assert!(run.stderr.contains("only a Unix socket (unix:///…) can be gated"), "{}", run.stderr);
}

#[test]
fn the_docker_client_is_refused_in_words_and_runs_what_is_harmless() {
    needs!();
    let has_docker =
        std::process::Command::new("docker").arg("--version").output().is_ok_and(|out| out.status.success());
    needs!(has_docker, "there is no docker client");
    let (job, engine) = gated(
        "block",
        "
        docker run -d --privileged alpine true 2>&1 | grep -o 'asks for: [^(]*'
        docker run -d -v /:/host alpine true 2>&1 | grep -o 'asks for: [^(]*'
        docker run -d --network host --pid host alpine true 2>&1 | grep -o 'asks for: [^(]*'
        docker run -d --name mine -m 64m -p 8080:80 alpine true
        docker exec -d mine true && echo exec
        docker exec --privileged -d mine true 2>&1 | grep -o 'asks for: [^(]*'
        docker ps -q && echo ps
        docker rm -f mine
        ",
    );
    let run = job.run();
    let said: Vec<&str> = run.stdout.lines().map(str::trim_end).collect();
    let expected = [
        "asks for: privileged",
        "asks for: host-mount /",
        "asks for: host-network, host-pid",
        MADE,
        "exec",
        "asks for: privileged",
        "ps",
        "mine",
    ];
    assert_eq!(said, expected, "{}", run.stderr);
    let created = engine.seen().into_iter().filter(|seen| seen.request.contains("/containers/create")).count();
    assert_eq!(created, 1);
}
