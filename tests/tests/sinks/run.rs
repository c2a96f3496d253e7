//! `run --config`: two sinks, and a receiver that is open to the agent alone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use end_to_end::{Receiver, Reply, needs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use crate::{closing, job, lines, same_as_log, webhook};

#[test]
fn two_sinks_get_what_the_log_has_and_the_job_can_not_reach_the_receiver() {
    needs!();
    let (receiver, kept) = Receiver::keeping();
    let port = receiver.port();
    let script =
        format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&1 | grep -o 'not permitted'; cat \"$HOME/.aws/credentials\"");
    let sinks = webhook(&receiver, "") + "  - { name: copy, type: file, path: HOME/copy.ndjson, only: all }\n";
    let place = tempfile::tempdir().expect("a folder for the copy");
    let run = job(&script, &sinks.replace("HOME", &place.path().display().to_string()))
        .file(".aws/credentials", "[default]\naws_access_key_id = dummy\n")
        .policy(&closing(&port.to_string()))
        .run()
        .whole();
    assert!(run.stdout.starts_with("not permitted\n"), "{}", run.stdout);
    assert!(!run.stderr.contains("undelivered"), "{}", run.stderr);
    let got = lines(&kept);
    same_as_log(&got, &run);
    assert!(run.log.finding_ids().contains(&"egress-denied"), "{:?}", run.log.finding_ids());
    let copy = std::fs::read_to_string(place.path().join("copy.ndjson")).expect("the second sink is a file");
    assert_eq!(copy.lines().count(), got.len());
    let kept = kept.lock().expect("no holder panicked");
    assert!(kept.iter().all(|received| received.header("webhook-signature").starts_with("v1,")));
    let alerts = kept.iter().filter(|received| !received.header("webhook-id").contains(".."));
    assert!(alerts.count() >= 4, "ready, begun, a finding, ended: each alone");
}

#[test]
fn what_is_not_delivered_at_the_deadline_lies_beside_the_log_and_the_summary_says_so() {
    needs!();
    let receiver =
        Receiver::start(|_, _| Reply::Answer(503, vec![("retry-after", "60".to_owned())], "later".to_owned()));
    let run = job("true", &webhook(&receiver, ", drain: 5s")).run().whole();
    let file = run.path("job.jsonl.undelivered.soc.ndjson");
    let left = std::fs::read_to_string(&file).expect("what is left is written");
    assert_eq!(left.lines().count(), run.log.lines().len() + 1, "the log's lines, and the word of the receipt");
    let said = format!(
        "{} notices were not delivered to soc (503 Service Unavailable: later); {file} has them",
        left.lines().count()
    );
    assert!(run.stderr.contains(&said), "{said}\n{}", run.stderr);
}

#[test]
fn a_full_disk_leaves_a_file_of_whole_lines_and_the_rest_beside_the_log() {
    needs!();
    let folder = tempfile::tempdir().expect("a folder");
    mount("tmpfs", folder.path(), "tmpfs", MountFlags::NODEV, Some(c"size=16k"))
        .expect("a small file system can be mounted");
    let _mounted = Mounted(folder.path());
    let copy = folder.path().join("copy.ndjson");
    let sink = format!("  - {{ name: copy, type: file, path: {}, only: all, drain: 300ms }}\n", copy.display());
    let run = job("for i in $(seq 60); do /bin/true $i; done", &sink).run().whole();
    let copied = std::fs::read_to_string(&copy).expect("some of it is there");
    let left = std::fs::read_to_string(run.path("job.jsonl.undelivered.copy.ndjson")).expect("what is left is written");
    assert!(copied.ends_with('\n') && !left.is_empty(), "a half line stays:\n{copied}");
    let is_line = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["seq"].is_u64());
    let whole = copied.lines().chain(left.lines()).filter(|line| is_line(line)).count();
    assert_eq!(whole, run.log.lines().len() + 1, "the log's lines, and the word of the receipt");
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_job_begins_when_a_sink_that_is_required_has_its_start_and_key() {
    needs!();
    let place = tempfile::tempdir().expect("a folder for a mark");
    let mark = place.path().join("began");
    let (is_early, announced) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let (early, key, looked_at) = (is_early.clone(), announced.clone(), mark.clone());
    // Takes a job's start the second time it comes, and looks whether the job went ahead meanwhile.
    let receiver = Receiver::start(move |count, received| {
        let line: Value = serde_json::from_slice(&received.body).unwrap_or_default();
        let mut key = key.lock().expect("no holder panicked");
        if key.is_none() {
            early.fetch_or(looked_at.exists(), Ordering::Relaxed);
            if line["state"] == "started" && count > 2 {
                *key = line["key"].as_str().map(str::to_owned);
            }
        }
        Reply::status(if count <= 2 { 503 } else { 204 })
    });
    let run = job(&format!("touch {}", mark.display()), &webhook(&receiver, ", required: true")).run().whole();
    assert!(mark.exists() && !is_early.load(Ordering::Relaxed), "the job did not wait");
    let receipt = std::fs::read_to_string(run.path("job.jsonl.receipt.json")).expect("the job has a receipt");
    let key = announced.lock().expect("no holder panicked").clone().expect("the start announces the key");
    assert!(receipt.contains(&format!("\"key\": \"{key}\"")), "{key} signed\n{receipt}");
}

#[test]
fn without_a_sink_that_is_required_the_command_is_not_started() {
    needs!();
    let receiver = Receiver::start(|_, _| Reply::Answer(503, Vec::new(), "later".to_owned()));
    let run = job("touch ~/started", &webhook(&receiver, ", required: true, timeout: 5s, drain: 100ms")).run();
    assert_eq!(run.code(), 125, "{}", run.stderr);
    let said =
        "the sink soc is `required`, and did not take the job's start within 5 s (503 Service Unavailable: later)";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(!Path::new(&run.path("started")).exists());
}

#[test]
fn a_configuration_that_is_not_right_is_told_whole_and_the_command_is_not_started() {
    needs!();
    let run = job(
        "echo started",
        "  - { name: soc, type: webhook, url: 'http://siem.example.org/' }\n  - { name: x, type: pager }\n",
    )
    .without_log()
    .run();
    assert_eq!((run.code(), run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("config.yml:3:38: sinks[0].url: is http"), "{}", run.stderr);
    assert!(run.stderr.contains("sinks[1].type: \"pager\" is no type of sink"), "{}", run.stderr);
    assert!(run.agent_said("the configuration is not right; the command was not started"));
}
