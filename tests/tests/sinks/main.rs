//! Sinks of the agent, end to end: what a real job does arrives at a receiver on this machine that the job itself can't reach.

mod daemon;
mod killed;
mod latency;
mod power;
mod run;

use std::path::Path;
use std::sync::{Arc, Mutex};

use end_to_end::{Job, Line, Received, Receiver, Run, binary};
use serde_json::Value;

/// The helper that acts inside jobs.
const ACT: &str = env!("CARGO_BIN_EXE_act");

/// A key that signs nothing else.
const KEY: &str = "whsec_cnVubmVyLWFnZW50LXRlc3RzLXNpZ24tdGhpcw==";

/// Closes these ports of loopback, so that there is something to refuse.
fn closing(ports: &str) -> String {
    format!(
        "version: 1\nname: sinks\nmode: block\negress:\n  deny:\n    \
         - {{ class: loopback, ports: [{ports}], why: \"this test closes it\" }}\n"
    )
}

/// A job that runs a script, with its state in its home; `sinks` are the lines of the list, in which `KEY` is the file of a key.
fn job(script: &str, sinks: &str) -> Job {
    let job = Job::new(binary::agent(ACT), ["bash", "-c", script]);
    let (key, state) = (job.path("key"), job.path("state"));
    configured(job, sinks, &key).option("--state").option(state)
}

/// Writes configuration and key into the job's home.
fn configured(job: Job, sinks: &str, key: &str) -> Job {
    let config = job.path("config.yml");
    let job = job.file("key", KEY).file("config.yml", &format!("version: 1\nsinks:\n{}", sinks.replace("KEY", key)));
    private(Path::new(key));
    job.option("--config").option(config)
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// A webhook that gets everything.
fn webhook(receiver: &Receiver, more: &str) -> String {
    format!(
        "  - {{ name: soc, type: webhook, url: \"{}\", only: all, sign: {{ hmac: {{ file: KEY }} }}, \
         batch: {{ wait: 200ms }}{more} }}\n",
        receiver.url()
    )
}

/// The lines of what was received, in the order of their numbers, each once.
fn lines(kept: &Arc<Mutex<Vec<Received>>>) -> Vec<Line> {
    let kept = kept.lock().expect("no holder panicked");
    let mut lines: Vec<Value> = kept
        .iter()
        .flat_map(|received| received.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()))
        .map(|line| serde_json::from_slice(line).expect("a line is JSON"))
        .collect();
    lines.sort_by_key(|line| line["seq"].as_u64());
    lines.dedup();
    lines.into_iter().map(Line).collect()
}

/// Fails unless these are the lines of the log, but for the chain.
fn same_as_log(received: &[Line], run: &Run) {
    let unchained = |line: &Line| {
        let mut value = line.0.clone();
        value["prev"] = Value::from("");
        value
    };
    let wanted: Vec<Value> = run.log.lines().iter().map(unchained).collect();
    // The receipt is about the log, and not in it.
    let (receipts, got): (Vec<&Line>, Vec<&Line>) = received.iter().partition(|line| line.text("kind") == "receipt");
    assert_eq!(receipts.len(), 1, "the sinks are told of the receipt");
    assert_eq!(receipts[0].number("lines"), wanted.len() as u64);
    let got: Vec<Value> = got.into_iter().map(|line| line.0.clone()).collect();
    assert_eq!(got, wanted);
}
