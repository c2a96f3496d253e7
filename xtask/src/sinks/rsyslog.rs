//! rsyslog: messages after RFC 5424 by TCP with octet counting (RFC 6587), taken apart by the receiver and written as JSON.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::daemon::{Daemon, Place, free_port};
use super::{Bodies, Row};

pub fn rows(bodies: &Bodies) -> Result<Vec<Row>> {
    eprintln!("── rsyslog");
    let mut rsyslog = Rsyslog::start()?;
    let messages = bodies.lines("syslog")?;
    let got = rsyslog.pass(&messages)?;
    let problems =
        messages.iter().zip(&got).zip(&bodies.native).flat_map(|((sent, got), line)| compare(sent, got, line));
    let syslog = Row {
        receiver: "rsyslog, RFC 5424",
        sent: messages.len(),
        received: got.len(),
        validator: "rsyslogd imtcp, mmpstrucdata: header, structured data, message",
        problems: problems.collect(),
    };
    let wrapped = bodies.lines("cef-in-syslog")?;
    let lines = bodies.lines("cef")?;
    let got = rsyslog.pass(&wrapped)?;
    let differs = |(line, got): (&String, &Value)| {
        let is_same =
            got["msg"].as_str().is_some_and(|msg| msg.trim_start() == line) && got["syslogtag"] == "runner-agent";
        (!is_same).then(|| format!("{line}\narrived as {got}"))
    };
    let cef = Row {
        receiver: "rsyslog, CEF",
        sent: wrapped.len(),
        received: got.len(),
        validator: "rsyslogd imtcp: the message is the line",
        problems: lines.iter().zip(&got).filter_map(differs).collect(),
    };
    Ok(vec![syslog, cef])
}

pub struct Rsyslog {
    place: Place,
    daemon: Daemon,
    pub address: SocketAddr,
    /// Lines that were written before.
    seen: usize,
}

impl Rsyslog {
    pub fn start() -> Result<Self> {
        let place = Place::new()?;
        let address = free_port()?;
        let (out, work) = (place.path("out.json"), place.path(""));
        let configuration = format!(
            "global(workDirectory=\"{}\" maxMessageSize=\"64k\")\n\
             module(load=\"imtcp\")\n\
             module(load=\"mmpstrucdata\")\n\
             input(type=\"imtcp\" address=\"{}\" port=\"{}\")\n\
             template(name=\"json\" type=\"string\" string=\"%jsonmesg%\\n\")\n\
             action(type=\"mmpstrucdata\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"json\")\n",
            work.display(),
            address.ip(),
            address.port(),
            out.display(),
        );
        let file = place.write("rsyslog.conf", &configuration)?;
        let (pid, modules) = (place.path("pid"), place.libraries()?.join("rsyslog"));
        let of = Path::new;
        let arguments = [of("-n"), of("-f"), &file, of("-i"), &pid, of("-M"), &modules];
        let daemon = place.start("usr/sbin/rsyslogd", &arguments)?;
        Ok(Self { place, daemon, address, seen: 0 })
    }

    /// Sends messages and returns what was written of them, in order.
    fn pass(&mut self, messages: &[String]) -> Result<Vec<Value>> {
        let mut stream = self.daemon.connect(self.address)?;
        for message in messages {
            write!(stream, "{} {message}", message.len()).context("sending")?;
        }
        drop(stream);
        self.written(messages.len())
    }

    /// Waits until so many more messages were written, and returns what was written of them.
    pub fn written(&mut self, messages: usize) -> Result<Vec<Value>> {
        let (out, wanted) = (self.place.path("out.json"), self.seen + messages);
        let text = self.daemon.wait_for("writing what arrived", || {
            let text = fs::read_to_string(&out).ok()?;
            (text.matches('\n').count() >= wanted).then_some(text)
        })?;
        let lines: Vec<&str> = text.lines().skip(self.seen).collect();
        self.seen += lines.len();
        lines.iter().map(|line| serde_json::from_str(line).with_context(|| (*line).to_owned())).collect()
    }
}

/// What differs between a message and what the receiver took it for.
fn compare(sent: &str, got: &Value, line: &Value) -> Vec<String> {
    let seq = &line["seq"];
    let data = &got["$!"]["rfc5424-sd"]["runner-agent@32473"];
    let priority = sent.trim_start_matches('<').split('>').next().and_then(|text| text.parse::<u32>().ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut wanted = vec![
        ("facility", text(&got["syslogfacility"]), "13".to_owned()),
        ("severity", text(&got["syslogseverity"]), priority.map(|it| (it % 8).to_string()).unwrap_or_default()),
        ("protocol version", text(&got["protocol-version"]), "1".to_owned()),
        ("application", text(&got["app-name"]), "runner-agent".to_owned()),
        ("message id", text(&got["msgid"]), text(&line["kind"])),
        ("seq", text(&data["seq"]), seq.to_string()),
    ];
    // What holds no character of control arrives as it stands in the log.
    let exe = text(&line["process"]["exe"]);
    if !exe.chars().any(char::is_control) {
        wanted.push(("process.exe", text(&data["process.exe"]), exe));
    }
    let path = text(&line["path"]);
    if !path.chars().any(char::is_control) && line["kind"] == "file" {
        wanted.push(("path", text(&data["path"]), path));
    }
    let message = text(&got["msg"]);
    if !sent.ends_with(&message) || message.is_empty() {
        wanted.push(("message", message, sent.to_owned()));
    }
    let differs = |(name, is, should): (&str, String, String)| {
        (is != should).then(|| format!("notice {seq}: {name} is {is:?} and not {should:?}"))
    };
    wanted.into_iter().filter_map(differs).collect()
}
