//! ArcSight's Common Event Format: one line a notice.
//!
//! Source: Micro Focus, "Common Event Format", version 0 of the format. Nothing in the header is a job's choice. In the extension
//! `\`, `=`, CR and LF are escaped; any other character that steers a terminal is written out as in the log's text form. What
//! the dictionary has no key for has one that begins with `runnerAgent`. Over syslog the line is the message.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::attributes;
use super::facts::{self, Value};
use super::format::About;
use crate::event::Activity;
use crate::notice::{Content, Notice};
use crate::policy::Severity;
use crate::text::{base_name, is_active};

/// Bytes of a value as it is written: the dictionary's texts have room for 1023 or 4000 characters. What is cut is named in
/// `runnerAgentCut`.
const VALUE_BYTES: usize = 1023;
/// Bytes of all of them, so that the line fits into a syslog message that every receiver takes.
const LINE_BYTES: usize = 6 * 1024;
const CUT_BYTES: usize = 512;

/// Appends a notice, without a line feed.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let content = &notice.content;
    let mut line = Extension { text: String::with_capacity(1024), is_begun: false, cut: Vec::new() };
    let signature = match content {
        Content::Finding(finding) => finding.id,
        other => facts::kind(other),
    };
    let _ = write!(
        line.text,
        "CEF:0|runner-agent|runner-agent|{}|{signature}|{}|{}|",
        env!("CARGO_PKG_VERSION"),
        title(content),
        severity_number(facts::severity(notice))
    );
    line.put("rt", &(about.encoder.since_1970(notice.at_ns) / 1_000_000).to_string());
    line.put("externalId", &about.id(notice));
    line.put("cat", facts::kind(content));
    line.put("dvchost", &about.host);
    line.put("msg", &facts::sentence(notice));
    if let Some(verdict) = facts::verdict(content) {
        line.put("act", verdict.as_str());
    }
    process(notice, &mut line);
    object(content, &mut line);
    facts::details(content, &mut |name, value: Value<'_>| {
        if !PLACED.contains(&name) && !value.says_nothing() {
            line.put_own(name, &value.text());
        }
    });
    attributes::visit(about, &mut |name, value| {
        if name != "host.name" {
            line.put_own(name.strip_prefix("runner_agent.").unwrap_or(name), value);
        }
    });
    if !line.cut.is_empty() {
        let cut = line.cut.join(" ");
        line.put_at_most(CUT_BYTES, "runnerAgentCut", &cut);
    }
    out.extend_from_slice(line.text.as_bytes());
}

/// Fields that have a key of the dictionary.
const PLACED: &[&str] =
    &["verdict", "message", "severity", "path", "destination.ip", "destination.port", "destination.protocol", "server"];

struct Extension {
    text: String,
    /// Whether there is a pair already.
    is_begun: bool,
    /// Keys whose values were cut.
    cut: Vec<String>,
}

impl Extension {
    fn put(&mut self, key: &str, value: &str) {
        let left = LINE_BYTES.saturating_sub(self.text.len() + key.len() + 2);
        if !value.is_empty() && (left == 0 || self.put_at_most(left.min(VALUE_BYTES), key, value)) {
            self.cut.push(key.to_owned());
        }
    }

    /// True when that is not all of the value.
    fn put_at_most(&mut self, most: usize, key: &str, value: &str) -> bool {
        if value.is_empty() {
            return false;
        }
        // Not asked of the text's end: a value may end in a bar too.
        if self.is_begun {
            self.text.push(' ');
        }
        self.is_begun = true;
        self.text.push_str(key);
        self.text.push('=');
        escape(value, most, &mut self.text)
    }

    /// `destination.claimed_names` as `runnerAgentDestinationClaimedNames`: a key is letters and digits.
    fn put_own(&mut self, name: &str, value: &str) {
        let mut key = String::from("runnerAgent");
        for word in name.split(['.', '_', '-']) {
            let mut chars = word.chars();
            key.extend(chars.next().map(|first| first.to_ascii_uppercase()));
            key.push_str(chars.as_str());
        }
        self.put(&key, value);
    }
}

fn process(notice: &Notice, line: &mut Extension) {
    let Some(process) = facts::process(&notice.content) else { return };
    let argv = Value::List(facts::arguments(process, &notice.content).0.iter().map(|it| (&**it).into()).collect());
    line.put("sproc", &process.program.exe);
    line.put("spid", &process.key.tgid.to_string());
    line.put("suid", &process.program.uid.to_string());
    if !argv.says_nothing() {
        line.put("runnerAgentArgv", &argv.text());
    }
    line.put("runnerAgentCwd", &process.program.cwd);
    line.put("runnerAgentProcessKey", &super::key_text(process.key));
    if let Some(parent) = process.parent_key {
        line.put("runnerAgentParentKey", &super::key_text(parent));
    }
}

/// What it was done to.
fn object(content: &Content, line: &mut Extension) {
    let Content::Event(event) = content else { return };
    match &event.activity {
        Activity::Connect(connection) => {
            address(connection.address, line);
            line.put("dpt", &connection.port.to_string());
            line.put("proto", &connection.protocol.to_string().to_ascii_uppercase());
            line.put("dhost", connection.names.first().map_or("", |name| name));
        }
        Activity::Dns(message) => {
            address(message.server, line);
            line.put("dpt", "53");
        }
        Activity::File(file) => path(&file.path, line),
        Activity::Attempt(attempt) => path(attempt.path.as_deref().unwrap_or_default(), line),
        _ => {}
    }
}

/// `dst` is for IPv4 alone; the dictionary has IPv6 in the third of its custom addresses.
fn address(address: IpAddr, line: &mut Extension) {
    match address {
        IpAddr::V4(address) => line.put("dst", &address.to_string()),
        IpAddr::V6(address) => {
            line.put("c6a3", &address.to_string());
            line.put("c6a3Label", "Destination IPv6 Address");
        }
    }
}

fn path(path: &str, line: &mut Extension) {
    line.put("filePath", path);
    line.put("fname", base_name(path));
}

/// What the header calls it.
fn title(content: &Content) -> &'static str {
    match content {
        Content::Event(event) => match &event.activity {
            Activity::Exec { .. } => "Program started",
            Activity::Exit { .. } => "Process ended",
            Activity::File(_) => "Secret file opened",
            Activity::Connect(_) => "Destination asked for",
            Activity::Socket { .. } => "Socket without addresses asked for",
            Activity::Device { .. } => "Network device opened",
            Activity::IoUring => "io_uring set up",
            Activity::CgroupMove { .. } => "Process moved to another cgroup",
            Activity::Dns(_) => "DNS message",
            Activity::Attempt(_) => "Attempt at agent, runner or kernel",
        },
        Content::Finding(_) => "Finding",
        Content::Loss(_) => "Records or notices lost",
        Content::JobStarted(_) => "Job started",
        Content::JobEnded(_) => "Job ended",
        Content::Agent(_) => "State of the agent",
        Content::Checkpoint(_) => "Log signed",
        Content::Receipt(_) => "Receipt issued",
    }
}

/// 0 to 10; from 9 on the format calls it very high.
fn severity_number(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 3,
        Severity::Medium => 6,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

/// A line as a syslog message after RFC 5424, for transports that carry those. `host` is the machine's name.
pub(super) fn in_syslog(line: &[u8], host: &str) -> Vec<u8> {
    // The seventh field of the header; nothing in a header is escaped, so bars are what parts it.
    let number = line.split(|&byte| byte == b'|').nth(6).unwrap_or_default();
    let severity = match number {
        b"10" => Severity::Critical,
        b"8" => Severity::High,
        b"6" => Severity::Medium,
        b"3" => Severity::Low,
        _ => Severity::Info,
    };
    super::syslog::wrap(line, host, severity, "cef")
}

/// At most so many bytes are written; true when that is not all of the value.
fn escape(value: &str, most: usize, text: &mut String) -> bool {
    let end = text.len() + most;
    let mut rest = value;
    while !rest.is_empty() {
        let plain = rest.find(|char| matches!(char, '\\' | '=') || is_active(char)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(plain);
        let fits = head.floor_char_boundary(end - text.len());
        text.push_str(&head[..fits]);
        if fits < head.len() {
            return true;
        }
        let mut chars = tail.chars();
        let piece: Cow<'_, str> = match chars.next() {
            None => break,
            Some('\\') => r"\\".into(),
            Some('=') => r"\=".into(),
            Some('\n') => r"\n".into(),
            Some('\r') => r"\r".into(),
            Some(other) => format!(r"\{}", other.escape_default()).into(),
        };
        if text.len() + piece.len() > end {
            return true;
        }
        text.push_str(&piece);
        rest = chars.as_str();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_begin_neither_a_key_nor_a_line() {
        let mut text = String::new();
        escape("a act=allowed\\ b\nCEF:0|\u{1b}", 100, &mut text);
        assert_eq!(text, r"a act\=allowed\\ b\nCEF:0|\\u{1b}");
    }

    #[test]
    fn a_field_without_a_key_in_the_dictionary_gets_one_of_ours() {
        let mut line = Extension { text: String::new(), is_begun: true, cut: Vec::new() };
        line.put_own("destination.claimed_names", "x");
        assert_eq!(line.text, " runnerAgentDestinationClaimedNames=x");
    }
}
