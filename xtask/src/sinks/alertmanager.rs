//! Alertmanager: alerts are posted, and read back by its own interface.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::daemon::{Daemon, PATIENCE, Place, free_port};
use super::{Bodies, Row};

const CONFIGURATION: &str = "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n";

pub fn rows(bodies: &Bodies) -> Result<Vec<Row>> {
    eprintln!("── Alertmanager");
    let alertmanager = Alertmanager::start()?;
    let address = alertmanager.address;
    let body = bodies.one("alertmanager")?;
    let sent: Vec<Value> = serde_json::from_slice(&body.bytes()?)?;
    let mut problems = Vec::new();
    // A receiver that takes anything would prove nothing.
    if ask(address, "POST", "/api/v2/alerts", br#"[{"labels":{"0":"x"}}]"#)?.0 != 400 {
        problems.push("an alert with a label that can't be one was taken".to_owned());
    }
    let (status, said) = ask(address, "POST", "/api/v2/alerts", &body.bytes()?)?;
    if status != 200 {
        problems.push(format!("status {status}: {said}"));
    }
    let listed = alertmanager.listed()?;
    for alert in &sent {
        let Some(found) = listed.iter().find(|found| found["labels"] == alert["labels"]) else {
            problems.push(format!("no alert has the labels {}", alert["labels"]));
            continue;
        };
        for field in ["annotations", "generatorURL"] {
            if found[field] != alert[field] {
                problems.push(format!("{field} is {} and not {}", found[field], alert[field]));
            }
        }
    }
    let validator = "prometheus-alertmanager: POST, read back, labels and annotations equal";
    Ok(vec![Row { receiver: "Alertmanager", sent: body.items, received: listed.len(), validator, problems }])
}

/// A running one.
pub struct Alertmanager {
    _place: Place,
    _daemon: Daemon,
    pub address: SocketAddr,
}

impl Alertmanager {
    pub fn start() -> Result<Self> {
        let place = Place::new()?;
        let address = free_port()?;
        let configuration = place.write("alertmanager.yml", CONFIGURATION)?;
        let arguments = [
            format!("--config.file={}", configuration.display()),
            format!("--storage.path={}", place.path("data").display()),
            format!("--web.listen-address={address}"),
            // Without a cluster it opens no other port.
            "--cluster.listen-address=".to_owned(),
        ];
        let arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
        let mut daemon = place.start("usr/bin/prometheus-alertmanager", &arguments)?;
        daemon.wait_for("getting ready", || {
            ask(address, "GET", "/-/ready", b"").ok().filter(|(status, _)| *status == 200)
        })?;
        Ok(Self { _place: place, _daemon: daemon, address })
    }

    /// The alerts that it has.
    pub fn listed(&self) -> Result<Vec<Value>> {
        let (_, listed) = ask(self.address, "GET", "/api/v2/alerts", b"")?;
        serde_json::from_str(&listed).context("the list of alerts")
    }
}

/// One request, by HTTP/1.0: the answer ends with the connection.
fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).context("connecting to Alertmanager")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).context("asking Alertmanager")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("Alertmanager's answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let Some(status) = head.split(' ').nth(1).and_then(|word| word.parse().ok()) else {
        bail!("an answer without a status: {head}");
    };
    Ok((status, body.to_owned()))
}
