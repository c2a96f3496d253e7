//! The gate on its socket, spoken to byte by byte, before an engine that is a real HTTP server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Engine, MADE};
use crate::engine::{Gate, Handle, Options, Peers};
use crate::policy::{Mode, Verdict};

/// How long anything may take.
const WITHIN: Duration = Duration::from_secs(30);

struct Is(bool);

impl Peers for Is {
    fn is_of_job(&self, _: u32) -> bool {
        self.0
    }
}

struct Setup {
    engine: Engine,
    gate: Handle,
    place: tempfile::TempDir,
}

fn options(place: &tempfile::TempDir, mode: Mode) -> Options {
    let work = place.path().join("work");
    fs::create_dir_all(work.join("checkout")).unwrap();
    Options {
        folder: place.path().join("state/gates"),
        name: "job".to_owned(),
        engine: place.path().join("engine.sock"),
        mode,
        policy: "ci".to_owned(),
        roots: vec![work],
        not_within: vec![place.path().join("home")],
    }
}

fn setup_with(mode: Mode, is_of_job: bool) -> Setup {
    let place = tempfile::tempdir().unwrap();
    let options = options(&place, mode);
    let engine = Engine::start(&options.engine);
    let gate = Gate::bind(options).unwrap().start(Box::new(Is(is_of_job))).unwrap();
    Setup { engine, gate, place }
}

fn setup(mode: Mode) -> Setup {
    setup_with(mode, true)
}

impl Setup {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.gate.socket()).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream
    }

    /// Sends bytes as they are, and reads everything up to the end of the connection.
    fn say(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        // A connection that is refused may be closed before all is written, and reset.
        let _ = stream.write_all(bytes.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn post(&self, target: &str, body: &str) -> String {
        self.say(&post(target, body))
    }

    fn told(&mut self) -> Vec<(String, Vec<String>, Verdict)> {
        let mut all = Vec::new();
        while let Ok(asked) = self.gate.reports().try_recv() {
            assert_eq!(asked.pid, std::process::id());
            all.push((asked.request.to_string(), asked.asks.iter().map(ToString::to_string).collect(), asked.verdict));
        }
        all
    }
}

fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_privileged_container_is_refused_in_words_and_never_reaches_the_engine() {
    let mut setup = setup(Mode::Block);
    let answer =
        setup.post("/v1.43/containers/create?name=a", r#"{"HostConfig":{"privileged":true,"PidMode":"host"}}"#);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let message = body(&answer)["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "runner-agent refused POST /containers/create, which asks for: host-pid, privileged (policy ci, guard.docker: gate). \
         Instead: leave the container its own namespaces."
    );
    assert!(setup.engine.seen().is_empty());
    let asks = vec!["host-pid".to_owned(), "privileged".to_owned()];
    assert_eq!(setup.told(), [("POST /containers/create".to_owned(), asks, Verdict::Blocked)]);
}

#[test]
fn an_audited_job_gets_what_it_asked_for_and_it_is_told() {
    let mut setup = setup(Mode::Audit);
    let asked = r#"{"HostConfig":{"Privileged":true,"X":1},"HostConfig":{}}"#;
    assert!(setup.post("/v1.43/containers/create", asked).starts_with("HTTP/1.1 201 "));
    let large = format!("{{\"Cmd\":[\"{}\"]}}", "x".repeat(3 << 20));
    assert!(setup.post("/containers/create", &large).starts_with("HTTP/1.1 201 "));
    assert!(setup.post("/swarm/init", "{}").starts_with("HTTP/1.1 200 "));
    let bodies: Vec<String> = setup.engine.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [asked, &large, "{}"]);
    let told = setup.told();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(_, _, verdict)| *verdict == Verdict::Audited), "{told:?}");
}

#[test]
fn what_is_passed_on_is_written_anew() {
    let setup = setup(Mode::Block);
    let asked = "POST http://elsewhere.example/v1.43/%63ontainers/create?NAME=a HTTP/1.1\r\nHost: x\r\nX-Mine: 1\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                 8\r\n{\"image\"\r\n5\r\n:\"a\"}\r\n0\r\n\r\n";
    assert!(setup.say(asked).starts_with("HTTP/1.1 201 "));
    let seen = setup.engine.seen();
    assert_eq!(
        (seen[0].request.as_str(), seen[0].body.as_str()),
        ("POST /v1.43/containers/create?name=a", r#"{"Image":"a"}"#)
    );
    assert!(seen[0].headers.contains("content-type: application/json\n"), "{}", seen[0].headers);
    assert!(!seen[0].headers.contains("x-mine") && !seen[0].headers.contains("elsewhere"), "{}", seen[0].headers);
}

#[test]
fn requests_behind_each_other_and_within_each_other_are_judged_each() {
    let setup = setup(Mode::Block);
    let first = post("/containers/create", r#"{"Image":"a"}"#).replace("Connection: close\r\n", "");
    let both = setup.say(&(first + &post("/containers/create", r#"{"HostConfig":{"Privileged":true}}"#)));
    assert!(both.contains("HTTP/1.1 201 ") && both.contains("HTTP/1.1 403 "), "{both}");
    assert_eq!(setup.engine.seen().len(), 1);

    // Two lengths, or a length and chunks: whichever counts, the rest is a request of its own or none.
    let hidden = post("/containers/create", r#"{"HostConfig":{"Privileged":true}}"#);
    for lengths in [
        format!("Content-Length: 0\r\nContent-Length: {}", hidden.len()),
        "Content-Length: 5\r\nTransfer-Encoding: chunked".to_owned(),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        format!("Content-Length: +{}", hidden.len()),
    ] {
        let smuggled = format!("POST /containers/mine/start HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n0\r\n\r\n{hidden}");
        setup.say(&smuggled);
        assert!(setup.engine.seen().iter().all(|seen| !seen.body.contains("Privileged")), "{lengths}");
    }
}

#[test]
fn a_container_is_asked_for_by_whoever_made_it_alone() {
    let mut setup = setup(Mode::Block);
    assert!(setup.post("/containers/mine/start", "").starts_with("HTTP/1.1 403 "), "it isn't the job's yet");
    assert!(setup.post("/containers/create?name=mine", "{}").starts_with("HTTP/1.1 201 "));
    assert!(setup.post("/containers/mine/start", "").starts_with("HTTP/1.1 204 "));
    assert!(setup.post("/containers/aaaaaaaaaaaa/start", "").starts_with("HTTP/1.1 204 "));
    assert!(setup.post("/containers/other/start", "").starts_with("HTTP/1.1 403 "));
    assert!(setup.post("/exec/exec1/start", "{}").starts_with("HTTP/1.1 403 "));
    assert!(setup.post("/containers/mine/exec", r#"{"Cmd":["sh"]}"#).starts_with("HTTP/1.1 201 "));
    assert!(setup.post("/exec/exec1/start", "{}").starts_with("HTTP/1.1 200 "));
    let gone = setup.say("DELETE /containers/nowhere?force=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(gone.starts_with("HTTP/1.1 404 "), "{gone}");
    let start = format!("POST /containers/{MADE}/start");
    let requests = setup.engine.requests();
    assert_eq!(requests.iter().filter(|request| **request == start).count(), 2, "{requests:?}");
    assert_eq!(setup.told().len(), 3, "what isn't there is nobody's");
}

#[test]
fn networks_and_volumes_count_by_what_the_engine_says_they_are() {
    let setup = setup(Mode::Block);
    let of_host =
        setup.post("/containers/create", r#"{"HostConfig":{"NetworkMode":"of-host","Binds":["of-root:/r"]}}"#);
    assert!(of_host.contains("volume of-root, host-network of-host"), "{of_host}");
    let fine = setup.post("/containers/create", r#"{"HostConfig":{"NetworkMode":"mine","Binds":["new:/r"]}}"#);
    assert!(fine.starts_with("HTTP/1.1 201 "), "{fine}");
}

#[test]
fn a_stream_carries_bytes_both_ways_to_its_end() {
    let setup = setup(Mode::Block);
    setup.post("/containers/create", "{}");
    let mut stream = setup.connect();
    let head = "POST /containers/mine/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"hello ").unwrap();
    let mut said = [0; 6];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HELLO ");
    stream.write_all(&b"x".repeat(1 << 18)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!((rest.len(), &rest[rest.len() - 3..]), ((1 << 18) + 3, &b"END"[..]));
}

#[test]
fn a_stream_is_no_way_around_where_none_is_known() {
    let setup = setup(Mode::Block);
    let answer = setup.say("POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}");
    // Passed on without the wish: a container, and no stream.
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let answer =
        setup.say("GET /containers/json HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(setup.engine.seen().iter().all(|seen| !seen.headers.contains("upgrade")));
    assert!(setup.say("CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 4"));
    assert_eq!(setup.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
}

#[test]
fn a_context_of_any_size_is_passed_on_unread_and_json_is_not() {
    let setup = setup(Mode::Block);
    let context = "x".repeat(3 << 20);
    assert!(setup.post("/v1.43/build?t=a", &context).starts_with("HTTP/1.1 200 "));
    assert_eq!(setup.engine.seen()[0].body.len(), context.len());
    let answer = setup.post("/containers/create", &format!("{{\"Cmd\":[\"{context}\"]}}"));
    assert!(answer.is_empty() || answer.contains("asks for: too-large"), "{answer}");
    assert_eq!(setup.engine.seen().len(), 1);
}

#[test]
fn strangers_and_engines_that_are_not_there_get_nothing() {
    let strange = setup_with(Mode::Block, false);
    assert_eq!(strange.say("GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "");
    let place = tempfile::tempdir().unwrap();
    let gate = Gate::bind(options(&place, Mode::Block)).unwrap().start(Box::new(Is(true))).unwrap();
    let mut stream = UnixStream::connect(gate.socket()).unwrap();
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("engine.sock"), "{answer}");
}

#[test]
fn a_gate_that_ends_leaves_nothing_and_clears_what_another_left() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("state/gates");
    fs::create_dir_all(folder.join("dead.mounts")).unwrap();
    fs::write(folder.join("dead.mounts/0"), "").unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.join("dead.sock")).unwrap());
    let gate = Gate::bind(options(&place, Mode::Block)).unwrap().start(Box::new(Is(true))).unwrap();
    let left = |folder: &PathBuf| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(left(&folder), ["job.mounts", "job.sock"]);
    let mut waiting = UnixStream::connect(gate.socket()).unwrap();
    drop(gate);
    assert!(left(&folder).is_empty());
    let mut rest = Vec::new();
    assert!(matches!(waiting.read_to_end(&mut rest), Ok(0) | Err(_)), "its connections end with it");
}

#[test]
fn nothing_outside_the_jobs_folders_is_bound_and_no_link_leads_out() {
    let setup = setup(Mode::Block);
    let work = setup.place.path().join("work");
    symlink("/etc", work.join("link")).unwrap();
    fs::create_dir(setup.place.path().join("outside")).unwrap();
    let at = |below: &str| work.join(below).display().to_string();
    for path in [
        "/".to_owned(),
        "/etc".to_owned(),
        at("link"),
        at("link/ssh"),
        at("../outside"),
        at("nowhere"),
        setup.place.path().join("outside").display().to_string(),
        "/proc/self/root".to_owned(),
    ] {
        let body = json!({ "HostConfig": { "Binds": [format!("{path}:/w:ro")] } }).to_string();
        let answer = setup.post("/containers/create", &body);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(&format!("host-mount {path}")), "{answer}");
    }
    assert!(setup.engine.seen().is_empty());
}
