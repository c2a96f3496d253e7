//! One line of a log in words.

use std::borrow::Cow;

use runner_agent_common::guard::operation;
use runner_agent_common::record::ProcessKey;

use crate::detect::{attempt_in_words, device_name, socket_name};
use crate::event::{Attempt, EngineRequest};
use crate::policy::Severity;
use crate::report::style::Style;
use crate::sink::wire::read::Entry;
use crate::text::{base_name, printable};

/// Characters of a command line that are shown; the log has it whole.
const MAX_COMMAND: usize = 200;

/// `name (pid 12)`, or nothing when the line is about no process.
pub(super) fn who(entry: &Entry) -> String {
    match entry.number("process.pid") {
        Some(pid) => format!("{} (pid {pid})", name(entry)),
        None => String::new(),
    }
}

/// The executable's base name, or `?`.
pub(super) fn name(entry: &Entry) -> Cow<'_, str> {
    match base_name(entry.text("process.exe")) {
        "" => "?".into(),
        name => printable(name),
    }
}

/// The process's command line as a shell would take it, cut to a bearable length.
pub(super) fn command(entry: &Entry) -> String {
    let line = shell_line(entry.texts("process.argv"));
    if entry.get("process.argv_whole").is_none() { line } else { format!("{line} (not all of it is known)") }
}

/// What happened, without when and who.
pub(super) fn what(entry: &Entry, style: Style) -> String {
    match entry.kind() {
        "agent" => agent(entry),
        "job" => job(entry),
        "exec" if entry.is("outside_cgroup") => format!("{}, outside the job's cgroup", command(entry)),
        "exec" => command(entry),
        "exit" => match (entry.number("exit_code"), entry.number("signal")) {
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
        },
        "file" => file(entry),
        "connect" => connect(entry),
        "socket" => {
            let number = |path| entry.number(path).unwrap_or(0) as u32;
            let kind = socket_name(number("family"), number("socket_type"), number("protocol"));
            format!("made a {kind} socket")
        }
        "io-uring" => "set up io_uring".to_owned(),
        "device" => {
            let number = |name| entry.number(name).and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
            let how = if entry.is("killed") { "was ended for" } else { "was kept from" };
            format!("{how} opening {}", device_name(number("major"), number("minor")))
        }
        "attempt" => attempt(entry),
        "cgroup" => {
            let place = if entry.is("inside") { "within the job's" } else { "out of the job's cgroup" };
            format!("was moved {place}, to {}, by process {}", entry.number("to").unwrap_or(0), text(entry, "by"))
        }
        "dns" => dns(entry),
        "finding" => finding(entry, style),
        "loss" => {
            let count = entry.number("count").unwrap_or(0);
            format!("{count} lost at {} ({})", text(entry, "place"), text(entry, "reason"))
        }
        "checkpoint" => {
            format!("signed the {} lines before, key {}", entry.number("lines").unwrap_or(0), text(entry, "key"))
        }
        // A kind of a later version.
        _ => printable(&entry.raw).into_owned(),
    }
}

/// What was tried against the agent, the runner or the kernel; what only a later version knows, by its name.
fn attempt(entry: &Entry) -> String {
    match logged_attempt(entry) {
        Some(attempt) => printable(&attempt_in_words(&attempt)).into_owned(),
        None => format!("tried {}: {}", text(entry, "operation"), text(entry, "verdict")),
    }
}

/// The attempt that the line is about.
fn logged_attempt(entry: &Entry) -> Option<Attempt> {
    let operation = operation::NAMES.iter().position(|name| *name == entry.text("operation"))?;
    let written = |name: &str| Some(entry.text(name)).filter(|text| !text.is_empty());
    let target = entry.number("target").and_then(|tgid| u32::try_from(tgid).ok());
    Some(Attempt {
        operation: operation as u16,
        target: target.map(|tgid| ProcessKey { tgid, ..ProcessKey::default() }),
        detail: entry.number("detail").unwrap_or_default(),
        path: written("path").map(Into::into),
        failed: entry.is("failed"),
        request: written("request")
            .map(|name| EngineRequest { name: name.into(), asks: entry.texts("asks").map(Into::into).collect() }),
        verdict: entry.text("verdict").parse().ok()?,
    })
}

/// Lines that stand below a line: what a finding stands on, and what would allow it.
pub(super) fn below(entry: &Entry, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |title: &str, text: String| lines.push(format!("{}  {text}", style.faint(title)));
    match entry.kind() {
        "finding" => {
            let evidence: Vec<String> = entry.numbers("evidence").map(|seq| format!("#{seq}")).collect();
            if !evidence.is_empty() {
                add("stands on", evidence.join(", "));
            }
            if !entry.text("fix").is_empty() {
                add("to allow ", text(entry, "fix").into_owned());
            }
        }
        "job" if entry.ends_job() => {
            let leftovers: Vec<&str> = entry.texts("leftovers").collect();
            if !leftovers.is_empty() {
                add("left over, and ended with the job", printable(&leftovers.join(", ")).into_owned());
            }
            let runners: Vec<&str> = entry.texts("left_on_runner").collect();
            if !runners.is_empty() {
                add("left over outside the job, and runs on", printable(&runners.join(", ")).into_owned());
            }
            let found = entry.get("findings").and_then(serde_json::Value::as_object);
            let found: Vec<String> = found.into_iter().flatten().map(|(id, count)| format!("{id} ×{count}")).collect();
            add("findings", if found.is_empty() { "none".to_owned() } else { found.join(", ") });
            let number = |name: &str| entry.number(&format!("account.{name}")).unwrap_or(0);
            let (seen, lost, difference) = (number("seen"), number("lost"), number("difference"));
            add("records ", format!("{seen} seen, {lost} lost, difference {difference}"));
        }
        _ => {}
    }
    lines
}

fn text<'a>(entry: &'a Entry, path: &str) -> Cow<'a, str> {
    printable(entry.text(path))
}

fn agent(entry: &Entry) -> String {
    let detail = text(entry, "detail");
    if !detail.is_empty() {
        return format!("{}: {detail}", text(entry, "state"));
    }
    let ready = entry.get("ready_ms").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    format!(
        "runner-agent {} {} after {ready:.0} ms, tier {}, kernel {}",
        text(entry, "version"),
        text(entry, "state"),
        text(entry, "tier"),
        text(entry, "kernel")
    )
}

fn job(entry: &Entry) -> String {
    if !entry.ends_job() {
        let (command, policy, mode) = (shell_line(entry.texts("command")), text(entry, "policy"), text(entry, "mode"));
        let day = entry.text("ts").get(..10).unwrap_or_default();
        return format!("{} started on {day}: {command} (policy {policy}, mode {mode})", text(entry, "job"));
    }
    let how = match (entry.get("exit_code").and_then(serde_json::Value::as_i64), entry.number("signal")) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended, and nobody saw how".to_owned(),
    };
    format!("{} ended: the command {how}", text(entry, "job"))
}

fn file(entry: &Entry) -> String {
    let access = match entry.text("access") {
        "read" => "read",
        "write" => "opened for writing",
        _ => "opened for reading and writing",
    };
    let cut = if entry.is("path_truncated") { "…" } else { "" };
    let alias = match entry.text("known_as") {
        "" => String::new(),
        known => format!(", which is {}", printable(known)),
    };
    let owner = if entry.is("owner") { "an owner of it" } else { "NOT an owner of it" };
    let compat = if entry.is("compat") { ", by a 32-bit call" } else { "" };
    format!(
        "{access} {cut}{}{alias} ({}), {owner}{compat}: {}",
        text(entry, "path"),
        text(entry, "class"),
        text(entry, "verdict")
    )
}

fn connect(entry: &Entry) -> String {
    let (ip, port) = (text(entry, "destination.ip"), entry.number("destination.port").unwrap_or(0));
    let address = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let endpoint = match (entry.texts("destination.names").next(), entry.texts("destination.claimed_names").next()) {
        (Some(name), _) => format!("{}:{port} at {ip}", printable(name)),
        (None, Some(claimed)) => format!("{address}, said to be {}", printable(claimed)),
        (None, None) => address,
    };
    let outside = if entry.is("outside_cgroup") { ", from outside the job's cgroup" } else { "" };
    let rule = match entry.text("rule") {
        "default" => "no rule names it".to_owned(),
        rule => format!("rule {}", printable(rule)),
    };
    format!(
        "→ {endpoint} ({}, {}){outside}: {}, {rule}",
        text(entry, "destination.protocol"),
        text(entry, "destination.class"),
        text(entry, "verdict")
    )
}

fn dns(entry: &Entry) -> String {
    let question = format!("{} {}", text(entry, "query_type"), text(entry, "name"));
    let server = text(entry, "server");
    if entry.text("answer_code").is_empty() {
        return format!("asked {server} for {question}");
    }
    let addresses: Vec<&str> = entry.texts("addresses").collect();
    let answer = if addresses.is_empty() { text(entry, "answer_code") } else { addresses.join(", ").into() };
    let trusted = if entry.is("trusted") { "" } else { ", which is not taken as naming anything" };
    format!("{server} answered {question}: {}{trusted}", printable(&answer))
}

fn finding(entry: &Entry, style: Style) -> String {
    let severity = match entry.text("severity").parse::<Severity>() {
        Ok(severity) => style.severity(severity),
        Err(_) => text(entry, "severity").to_uppercase(),
    };
    format!("{severity} {}: {}", style.heading(&text(entry, "id")), text(entry, "message"))
}

/// Words as one line; those that a shell would split are quoted.
fn shell_line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words
        .map(|word| {
            let is_plain = |char: char| char.is_alphanumeric() || "-_./:=@%+,~\\".contains(char);
            let clean = printable(word);
            if !word.is_empty() && word.chars().all(is_plain) {
                clean.into_owned()
            } else {
                format!("'{}'", clean.replace('\'', "'\\''"))
            }
        })
        .collect();
    let line = quoted.join(" ");
    match line.char_indices().nth(MAX_COMMAND) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::wire::KINDS;
    use crate::sink::wire::read::LogReader;

    fn said(line: &str) -> String {
        what(&LogReader::default().take(line.as_bytes()).entry.unwrap(), Style::PLAIN)
    }

    #[test]
    fn a_job_cannot_write_lines_of_its_own_or_steer_the_terminal() {
        let line = "{\"kind\":\"file\",\"path\":\"/tmp/a\\nb\\u001b[2J/.npmrc\",\"class\":\"c\",\"access\":\"read\",\"verdict\":\"audited\"}";
        assert_eq!(said(line), "read /tmp/a\\nb\\u{1b}[2J/.npmrc (c), NOT an owner of it: audited");
    }

    #[test]
    fn words_that_a_shell_would_split_are_quoted_and_long_lines_are_cut() {
        assert_eq!(shell_line(["sh", "-c", "a | b", "", "it's"].into_iter()), "sh -c 'a | b' '' 'it'\\''s'");
        assert_eq!(shell_line(std::iter::once("x".repeat(500).as_str())).chars().count(), MAX_COMMAND + 1);
    }

    #[test]
    fn a_kind_of_a_later_version_is_shown_as_it_stands() {
        let line = r#"{"kind":"teleport","seq":1}"#;
        assert_eq!(said(line), line);
    }

    #[test]
    fn an_attempt_is_told_as_its_finding_tells_it_or_by_the_name_that_a_later_version_gave_it() {
        let line = |operation: &str| {
            format!(
                "{{\"kind\":\"attempt\",\"operation\":\"{operation}\",\"path\":\"/run/\\u001b[2Jbus\",\"verdict\":\"blocked\"}}"
            )
        };
        let known = "was kept from connecting to /run/\\u{1b}[2Jbus, by which programs are started outside the job";
        assert_eq!(said(&line("services")), known);
        assert_eq!(said(&line("levitate")), "tried levitate: blocked");
        let asked = r#"{"kind":"attempt","operation":"engine-request","request":"POST /containers/create","asks":["privileged"],"verdict":"audited"}"#;
        assert_eq!(said(asked), "is seen asking a container engine for privileged (POST /containers/create)");
    }

    #[test]
    fn every_field_may_be_missing() {
        for kind in KINDS {
            said(&format!("{{\"kind\":\"{kind}\"}}"));
        }
    }
}
