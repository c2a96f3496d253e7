//! Sinks against receivers that do their worst: what was handed over arrives, signed, in its order, or is counted and kept.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod answers;
mod chaos;
#[cfg(feature = "nats")]
mod nats;
mod proxy;
mod syslog;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use end_to_end::Received;
use ring::hmac;
use runner_agent::event::{Activity, Event, Finding};
use runner_agent::notice::{Content, Notice};
use runner_agent::policy::{Mode, Severity};
use runner_agent::sink::settings::{Batch, Bounds, Only, Proxy, Settings, Target, Webhook};
use runner_agent::sink::sign::SigningKey;
use runner_agent::sink::wire::Encoder;
use runner_agent::sink::wire::format::{About, Format};

/// Base64 of the shared secret that requests are signed with.
const SECRET: &str = "cnVubmVyLWFnZW50LXRlc3RzLXNpZ24tdGhpcw==";

/// A webhook at a URL that gets everything.
fn settings(name: &'static str, url: &str) -> Settings {
    let webhook = Webhook {
        url: url.parse().unwrap(),
        keys: vec![SigningKey::hmac(&format!("whsec_{SECRET}")).unwrap()],
        hub: None,
        headers: reqwest::header::HeaderMap::new(),
        ca: None,
        proxy: Proxy::None,
        gzip: false,
    };
    Settings {
        name,
        target: Target::Webhook(Box::new(webhook)),
        format: Format::Native,
        only: Only::All,
        batch: Batch { bytes: 64 << 10, wait: Duration::from_millis(200) },
        timeout: Duration::from_secs(10),
        bounds: Bounds { bytes: 256 << 20, age: Duration::from_hours(1) },
        required: false,
        drain: Duration::from_secs(10),
    }
}

fn about(job: &str) -> About {
    About {
        encoder: Encoder { boot_ns: 0, mount_namespace: 0 },
        job: job.into(),
        host: "runner".to_owned(),
        identity: None,
        trust: None,
        policy: "default".to_owned(),
        policy_sha256: String::new(),
        mode: Mode::Audit,
    }
}

fn event(job: &Arc<str>, seq: u64) -> Notice {
    let event = Event { seq, at_ns: seq, process: None, is_runners: false, activity: Activity::IoUring };
    Notice { seq, at_ns: seq, slot: 1, job: Some(job.clone()), content: Content::Event(event) }
}

fn finding(job: &Arc<str>, seq: u64) -> Notice {
    let finding = Finding {
        id: "io-uring",
        severity: Severity::Low,
        message: format!("the {seq}th"),
        techniques: &[],
        evidence: vec![seq - 1],
        fix: None,
        process: None,
        subject: String::new(),
    };
    Notice { seq, at_ns: seq, slot: 1, job: Some(job.clone()), content: Content::Finding(finding) }
}

/// Whether a request is signed as Standard Webhooks has it; written anew, so that it is not our own code that agrees.
fn is_signed(received: &Received) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET).unwrap());
    let mut text = format!("{}.{}.", received.header("webhook-id"), received.header("webhook-timestamp")).into_bytes();
    text.extend(&received.body);
    let wanted = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &text)));
    received.header("webhook-signature").split(' ').any(|signature| signature == wanted)
}

/// Job and number of each line.
fn lines(body: &[u8]) -> Vec<(String, u64)> {
    let text = str::from_utf8(body).unwrap();
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        (value["job"].as_str().unwrap().to_owned(), value["seq"].as_u64().unwrap())
    };
    text.lines().map(line).collect()
}

/// Files of a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
