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
/// Bytes of a value as it is written, of all parameters, of the list of those that were cut, and of the sentence. With a header
/// that makes less than the 8 KiB that receivers take without being told to take more.
const VALUE_BYTES: usize = 1024;
const ELEMENT_BYTES: usize = 6 * 1024;
const CUT_BYTES: usize = 512;
const SENTENCE_BYTES: usize = 1024;

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let mut text = String::with_capacity(1024);
    let priority = FACILITY * 8 + severity_number(facts::severity(notice));
    let _ = write!(text, "<{priority}>1 {} ", timestamp(&about.encoder.timestamp(notice.at_ns)));
    header_field(&about.host, 255, &mut text);
    let _ = write!(text, " runner-agent - {} [{ELEMENT}", facts::kind(&notice.content));
    let mut element = Element { text, cut: Vec::new() };
    element.put("id", &about.id(notice));
    element.put("seq", &notice.seq.to_string());
    element.put("severity", facts::severity(notice).as_str());
    // What happened comes first: where there is too much of everything, the job's attributes are what its other messages have.
    facts::details(&notice.content, &mut |name, value: Value<'_>| {
        // The sentence is a finding's message, and its severity stands above.
        if !matches!(name, "message" | "severity") && !value.says_nothing() {
            element.put(if name == "id" { "finding" } else { name }, &value.text());
        }
    });
    if let Some(process) = facts::process(&notice.content) {
        facts::of_process(process, &notice.content, &mut |name, value: Value<'_>| {
            if !value.says_nothing() {
                element.put(&format!("process.{name}"), &value.text());
            }
        });
    }
    attributes::visit(about, &mut |name, value| {
        // The header has it.
        if name != "host.name" {
            element.put(name.strip_prefix("runner_agent.").unwrap_or(name), value);
        }
    });
    let Element { mut text, cut } = element;
    if !cut.is_empty() {
        text.push_str(" cut=\"");
        escape(&cut.join(" "), CUT_BYTES, &mut text);
        text.push('"');
    }
    text.push_str("] ");
    let sentence = facts::sentence(notice);
    let end = sentence.floor_char_boundary(SENTENCE_BYTES);
    text.push_str(&sentence[..end]);
    out.extend_from_slice(text.as_bytes());
}

/// An element of structured data that is being written.
struct Element {
    text: String,
    /// Parameters that lack a part, or all.
    cut: Vec<String>,
}

impl Element {
    fn put(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let begin = self.text.len();
        self.text.push(' ');
        self.text.push_str(name);
        self.text.push_str("=\"");
        let left = ELEMENT_BYTES.saturating_sub(self.text.len());
        let is_cut = escape(value, left.min(VALUE_BYTES), &mut self.text);
        self.text.push('"');
        if is_cut {
            self.cut.push(name.to_owned());
        }
        if left == 0 {
            self.text.truncate(begin);
        }
    }
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

/// A parameter's value: `"`, `\` and `]` take a backslash. Control characters are written out first. At most so many bytes are
/// written; true when that is not all.
fn escape(value: &str, most: usize, text: &mut String) -> bool {
    let end = text.len() + most;
    // What is beyond can't be written, and may be megabytes.
    let head = &value[..value.floor_char_boundary(most)];
    for char in printable(head).chars() {
        let is_special = matches!(char, '"' | '\\' | ']');
        if text.len() + usize::from(is_special) + char.len_utf8() > end {
            return true;
        }
        if is_special {
            text.push('\\');
        }
        text.push(char);
    }
    head.len() < value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_end_neither_itself_nor_its_element_nor_the_line() {
        let mut text = String::new();
        assert!(!escape("a\"] [x y=\"\\\n", 100, &mut text));
        assert_eq!(text, r#"a\"\] [x y=\"\\\\n"#);
    }

    #[test]
    fn a_value_is_cut_by_what_is_written_of_it_and_never_after_a_backslash() {
        let mut text = String::new();
        assert!(escape("ab\"\"", 5, &mut text));
        assert_eq!(text, r#"ab\""#);
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
