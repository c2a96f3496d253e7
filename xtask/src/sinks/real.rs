//! A real job, whose configuration names every receiver that can be had here: what the job's log has, each of them must have got,
//! and once.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Row;
use super::alertmanager::Alertmanager;
use super::arrived::{Arrived, Log, in_order, objects, with_programs};
use super::endpoint::{Endpoint, python};
use super::nats::Broker;
use super::outside;
use super::rsyslog::Rsyslog;
use crate::{build, step};

/// What the job does: processes, a connection that its policy refuses, and a secret that it reads.
const JOB: &str = "for i in $(seq 40); do /bin/true; done; (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; \
                   cat \"$HOME/.aws/credentials\" >/dev/null; true";

const POLICY: &str = "version: 1\nname: receivers\nmode: block\negress:\n  deny:\n    \
                      - { class: loopback, ports: [9], why: \"this job is refused something\" }\n";

/// The key that the verifiers have.
const KEY: &str = "whsec_cnVubmVyLWFnZW50LXRlc3RzLXNpZ24tdGhpcw==";

pub fn rows() -> Result<Vec<Row>> {
    eprintln!("── a job, and every receiver");
    let binary = build::for_tests()?;
    let mut rsyslog = Rsyslog::start()?;
    let alertmanager = Alertmanager::start()?;
    let broker = Broker::start()?;
    let folder = tempfile::Builder::new().prefix("runner-agent-receivers-").tempdir().context("a folder for a job")?;
    let endpoint = Endpoint::start(folder.path())?;
    let path = |name: &str| folder.path().join(name);
    let (log_file, lake) = (path("job.jsonl"), path("lake.ndjson"));
    write_private(&path("key"), KEY)?;
    fs::create_dir(path(".aws")).and_then(|()| fs::write(path(".aws/credentials"), "[default]\n"))?;
    fs::write(path("policy.yml"), POLICY)?;
    let http = format!("http://127.0.0.1:{}", endpoint.port);
    let configuration = format!(
        "version: 1\nsinks:\n  \
         - {{ name: rsyslog, type: syslog, address: \"tcp://{}\", only: all }}\n  \
         - {{ name: alerts, type: webhook, url: \"http://{}/api/v2/alerts\", format: alertmanager }}\n  \
         - {{ name: otel, type: webhook, url: \"{http}/v1/logs\", format: otlp, only: all, compress: gzip }}\n  \
         - {{ name: soc, type: webhook, url: \"{http}/hook\", only: all, sign: {{ hmac: {{ file: {} }} }} }}\n  \
         - {{ name: bus, type: nats, url: \"{}\", only: all }}\n  \
         - {{ name: lake, type: file, path: {}, format: ocsf, only: all }}\n",
        rsyslog.address,
        alertmanager.address,
        path("key").display(),
        broker.url,
        lake.display(),
    );
    fs::write(path("config.yml"), configuration)?;
    let mut agent = Command::new(binary);
    agent.arg("run").arg("--config").arg(path("config.yml")).arg("--policy").arg(path("policy.yml"));
    agent.arg("--state").arg(path("state")).arg("--log").arg(&log_file);
    agent.args(["--", "bash", "-c", JOB]).env("HOME", folder.path()).current_dir(folder.path());
    let output = agent.stdin(Stdio::null()).output().context("the agent can't be started")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && !said.contains("undelivered"), "the job ended with {}:\n{said}", output.status);

    let log = Log::read(&log_file)?;
    let native = path("native.ndjson");
    let lines: Vec<String> = log.lines.values().map(ToString::to_string).collect();
    fs::write(&native, lines.join("\n"))?;
    let everything = log.numbers(false).len();
    let mut signed = log.row(
        "Standard Webhooks, of a job",
        "each the log's line, each request's signature by PyPI's and npm's verifiers",
        false,
        lines_of(&path("hooks")),
    );
    signed.problems.extend(outside::signatures(&path("hooks"), &native)?);
    Ok(vec![
        log.row(
            "rsyslog, of a job",
            "rsyslogd imtcp, mmpstrucdata: kind, program",
            false,
            rsyslog.written(everything).and_then(|all| with_programs(all.iter().map(of_syslog).collect())),
        ),
        log.row(
            "Alertmanager, of a job",
            "prometheus-alertmanager: listed by its API v2",
            true,
            alertmanager.listed().and_then(|all| all.iter().map(of_alert).collect()),
        ),
        log.row(
            "OTLP/HTTP, of a job",
            "opentelemetry-proto: an endpoint of its types, no collector; id, program",
            false,
            with_programs(objects(&fs::read_to_string(path("otlp.ndjson")).unwrap_or_default())),
        ),
        signed,
        log.row(
            "NATS JetStream, of a job",
            "nats-server, nats-py: the log's line, id, subject; in order",
            false,
            broker.messages().and_then(|said| in_order(objects(&said)?)),
        ),
        log.row(
            "ClickHouse, of a job",
            "chdb: rows of docs/fleet's table: kind, id",
            false,
            python("table", &lake).and_then(|said| objects(&said)),
        ),
    ])
}

/// Why no job can run here.
pub fn why_not() -> Option<&'static str> {
    if !step::is_root() {
        return Some("loading programs into the kernel needs root");
    }
    step::cgroup_v2().is_none().then_some("no cgroup v2 hierarchy is mounted")
}

fn of_syslog(message: &Value) -> Result<Arrived> {
    let data = &message["$!"]["rfc5424-sd"]["runner-agent@32473"];
    let seq = data["seq"].as_str().and_then(|text| text.parse().ok());
    Ok(Arrived {
        seq: seq.with_context(|| format!("a message without a number: {message}"))?,
        kind: message["msgid"].as_str().map(str::to_owned),
        exe: data["process.exe"].as_str().map(str::to_owned),
        ..Arrived::default()
    })
}

fn of_alert(alert: &Value) -> Result<Arrived> {
    let id = alert["annotations"]["notice"].as_str().with_context(|| format!("an alert of no notice: {alert}"))?;
    let seq = id.rsplit_once('-').and_then(|(_, seq)| seq.parse().ok()).context("an id ends with a number")?;
    Ok(Arrived { seq, id: Some(id.to_owned()), ..Arrived::default() })
}

/// The lines of the requests in a folder.
fn lines_of(folder: &Path) -> Result<Vec<Arrived>> {
    let mut arrived = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "body") {
            for line in fs::read_to_string(path)?.lines() {
                let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
                let seq = line["seq"].as_u64().with_context(|| format!("a line without a number: {line}"))?;
                arrived.push(Arrived { seq, line: Some(line), ..Arrived::default() });
            }
        }
    }
    Ok(arrived)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
