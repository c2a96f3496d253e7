//! Syslog after RFC 5424: header, one element of structured data, and a sentence.
//!
//! Facility is 13 (log audit). Severity: critical 2, high 3, medium 4, low 5, info 6. The element's name has 32473 in it, the
//! enterprise number that RFC 5612 sets aside for documentation: this project has none of its own. There is no byte order mark,
//! because receivers keep it in the message. How messages are told apart on a stream (RFC 6587, octet counting) is the
//! transport's matter; a message has no line feed in it, so that either way works.

use std::fmt::Write as _;

use super::attributes;
use super::facts::{self, Value};
use super::format::About;
use crate::notice::Notice;
use crate::policy::Severity;
use crate::text::printable;

const FACILITY: u32 = 13;
const ELEMENT: &str = "runner-agent@32473";
/// Bytes of a value. A message should stay below the 8 KiB that receivers take without being told to take more.
const VALUE_BYTES: usize = 1024;

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let mut text = String::with_capacity(1024);
    let priority = FACILITY * 8 + severity_number(facts::severity(notice));
    let _ = write!(text, "<{priority}>1 {} ", timestamp(&about.encoder.timestamp(notice.at_ns)));
    header_field(&about.host, 255, &mut text);
    let _ = write!(text, " runner-agent - {} [{ELEMENT}", facts::kind(&notice.content));
    let mut cut: Vec<&str> = Vec::new();
    let mut parameter = |name: &str, prefix: &str, value: &str| {
        if value.is_empty() {
            return false;
        }
        text.push(' ');
        text.push_str(prefix);
        text.push_str(name);
        text.push_str("=\"");
        let is_cut = escape(value, &mut text);
        text.push('"');
        is_cut
    };
    parameter("id", "", &about.id(notice));
    parameter("seq", "", &notice.seq.to_string());
    parameter("severity", "", facts::severity(notice).as_str());
    attributes::visit(about, &mut |name, value| {
        // The header has it, and a finding's name is at most 32 characters long.
        if name != "host.name" {
            let is_cut = parameter(name.strip_prefix("runner_agent.").unwrap_or(name), "", value);
            cut.extend(is_cut.then_some(name));
        }
    });
    if let Some(process) = facts::process(&notice.content) {
        facts::of_process(process, &notice.content, &mut |name, value: Value<'_>| {
            let is_cut = !value.says_nothing() && parameter(name, "process.", &value.text());
            cut.extend(is_cut.then_some(name));
        });
    }
    facts::details(&notice.content, &mut |name, value: Value<'_>| {
        // The sentence is a finding's message, and its severity stands above.
        if !matches!(name, "message" | "severity") && !value.says_nothing() {
            let name = if name == "id" { "finding" } else { name };
            let is_cut = parameter(name, "", &value.text());
            cut.extend(is_cut.then_some(name));
        }
    });
    if !cut.is_empty() {
        parameter("cut", "", &cut.join(" "));
    }
    text.push_str("] ");
    text.push_str(&facts::sentence(notice));
    out.extend_from_slice(text.as_bytes());
}

/// A line that is no syslog message as the message of one, without a time: the line has its own.
pub(super) fn wrap(line: &[u8], host: &str, severity: Severity, name: &str) -> Vec<u8> {
    let mut text = format!("<{}>1 - ", FACILITY * 8 + severity_number(severity));
    header_field(host, 255, &mut text);
    let _ = write!(text, " runner-agent - {name} - ");
    [text.as_bytes(), line].concat()
}

fn severity_number(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}

/// At most six digits of a second's fraction are allowed, and the log's have nine.
fn timestamp(rfc_3339: &str) -> String {
    match rfc_3339.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{}Z", fraction.get(..6).unwrap_or("0")),
        None => "-".to_owned(),
    }
}

/// A header's field: printable US-ASCII without spaces, or `-`.
fn header_field(value: &str, most: usize, text: &mut String) {
    let start = text.len();
    text.extend(value.chars().filter(char::is_ascii_graphic).take(most));
    if text.len() == start {
        text.push('-');
    }
}

/// A parameter's value: `"`, `\` and `]` take a backslash. Control characters are written out first. True when it was cut.
fn escape(value: &str, text: &mut String) -> bool {
    let end = value.floor_char_boundary(VALUE_BYTES);
    for char in printable(&value[..end]).chars() {
        if matches!(char, '"' | '\\' | ']') {
            text.push('\\');
        }
        text.push(char);
    }
    end < value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_end_neither_itself_nor_its_element_nor_the_line() {
        let mut text = String::new();
        assert!(!escape("a\"] [x y=\"\\\n", &mut text));
        assert_eq!(text, r#"a\"\] [x y=\"\\\\n"#);
    }

    #[test]
    fn a_fraction_has_six_digits_and_a_host_is_one_word() {
        assert_eq!(timestamp("2026-01-15T09:20:23.213088588Z"), "2026-01-15T09:20:23.213088Z");
        let mut text = String::new();
        header_field("a b\ncé", 255, &mut text);
        header_field("\u{e9}", 255, &mut text);
        assert_eq!(text, "abc-");
    }
}
