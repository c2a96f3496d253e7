//! One sentence about a notice, for people. Nothing in it begins a line or steers a terminal.

use std::fmt::Write as _;

use super::super::{Exit, exit_of};
use crate::detect::attempt_in_words;
use crate::event::{Activity, DnsMessage, Event};
use crate::notice::{AgentState, Content, Notice};
use crate::text::printable;

/// Characters of a command that a sentence repeats; its arguments stand elsewhere in full.
const COMMAND_CHARS: usize = 200;

/// What happened, on one line.
pub(in super::super) fn sentence(notice: &Notice) -> String {
    let mut text = String::with_capacity(96);
    match &notice.content {
        Content::Event(event) => of_event(event, &mut text),
        Content::Finding(finding) => text.push_str(&finding.message),
        Content::Loss(loss) => {
            let _ = write!(text, "{} lost at {}: {}", loss.count, loss.place, loss.reason);
        }
        Content::JobStarted(started) => {
            let _ = write!(text, "a job began under policy {} in mode {}: ", started.policy, started.mode);
            command(&started.command, &mut text);
        }
        Content::JobEnded(ended) => {
            text.push_str("the job ended");
            if let Some(code) = ended.exit_code {
                let _ = write!(text, " with {code}");
            }
            if let Some(signal) = ended.signal {
                let _ = write!(text, " by signal {signal}");
            }
            let _ = write!(text, "; {} lost", ended.account.lost());
        }
        Content::Checkpoint(signed) => {
            let lines = signed.as_ref().map_or(0, |signed| signed.position.lines);
            let _ = write!(text, "the log was signed up to line {lines}");
        }
        Content::Receipt(issued) => {
            let (lines, lost) = (issued.lines, issued.lost);
            let _ =
                write!(text, "the job's receipt was issued: {lines} lines, {lost} lost, {} findings", issued.findings);
        }
        Content::Agent(AgentState::Ready { tier, kernel, version, .. }) => {
            let _ = write!(text, "runner-agent {version} is ready on {kernel}, tier {tier}");
        }
        Content::Agent(AgentState::Changed { state, detail }) => {
            let _ = write!(text, "{state}: {detail}");
        }
    }
    match printable(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(clean) => clean,
    }
}

fn of_event(event: &Event, text: &mut String) {
    let who = event.process.as_deref();
    match who {
        Some(process) => {
            let _ = write!(text, "{} ({}) ", process.name(), process.key.tgid);
        }
        None => text.push_str("somebody "),
    }
    match &event.activity {
        Activity::Exec { argv, .. } => {
            text.push_str("was started: ");
            command(argv, text);
        }
        Activity::Exit { status } => {
            let _ = match exit_of(*status) {
                Exit::Code(code) => write!(text, "exited with {code}"),
                Exit::Signal(signal) => write!(text, "was ended by signal {signal}"),
            };
        }
        Activity::File(file) => {
            let what = if file.inherited { "used an open" } else { "opened" };
            let _ = write!(text, "{what} {} ({}): {}", file.path, file.class, file.verdict);
        }
        Activity::Connect(connection) => {
            let ruling = &connection.ruling;
            let rule = ruling.rule.as_deref().unwrap_or("default");
            let _ = write!(text, "connects to {}: {} by {rule}", connection.endpoint(), ruling.verdict);
        }
        Activity::Socket { family, socket_type, protocol, verdict, .. } => {
            let _ = write!(
                text,
                "asked for a socket of family {family}, type {socket_type}, protocol {protocol}: {verdict}"
            );
        }
        Activity::Device { major, minor, .. } => {
            let _ = write!(text, "reached for device {major}:{minor}: blocked");
        }
        Activity::IoUring => text.push_str("set up io_uring"),
        Activity::CgroupMove { by, to, .. } => {
            let _ = write!(text, "was moved to cgroup {to} by {}", by.tgid);
        }
        Activity::Dns(message) => of_dns(message, text),
        Activity::Attempt(attempt) => text.push_str(&attempt_in_words(attempt)),
    }
}

fn of_dns(message: &DnsMessage, text: &mut String) {
    let DnsMessage { server, name, query_type, answer_code, decided, .. } = message;
    let _ = match answer_code {
        Some(code) => write!(text, "was told by {server} of {name} {query_type}: {code}"),
        None => write!(text, "asked {server} for {name} {query_type}"),
    };
    if let Some(decided) = decided {
        let _ = write!(text, ", {}", decided.verdict);
    }
}

/// As much of a command as a sentence takes.
fn command(argv: &[String], text: &mut String) {
    let mut left = COMMAND_CHARS;
    for (index, argument) in argv.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        let end = argument.char_indices().nth(left).map_or(argument.len(), |(at, _)| at);
        text.push_str(&argument[..end]);
        if end < argument.len() {
            text.push('…');
            return;
        }
        left = left.saturating_sub(argument.chars().count() + 1);
        if left == 0 && index + 1 < argv.len() {
            text.push('…');
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(argv: &[&str]) -> String {
        let argv: Vec<String> = argv.iter().map(|&argument| argument.to_owned()).collect();
        let mut text = String::new();
        command(&argv, &mut text);
        text
    }

    #[test]
    fn a_long_command_is_cut_within_an_argument_or_after_one() {
        assert_eq!(shown(&["sh", "-c", "true"]), "sh -c true");
        assert_eq!(shown(&["é".repeat(201).as_str()]), format!("{}…", "é".repeat(200)));
        assert_eq!(shown(&["x".repeat(200).as_str(), "y"]), format!("{}…", "x".repeat(200)));
        assert_eq!(shown(&["x".repeat(200).as_str()]), "x".repeat(200));
    }
}
