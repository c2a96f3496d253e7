//! The policy file, with what was left out as comments.

use std::fmt::Write as _;

use super::{Imported, Line};
use crate::policy::egress::smallest::{deny_line, line_with_ports};
use crate::text::printable;

/// The text of the file.
pub fn yaml(imported: &Imported) -> String {
    let Imported { from, file, job, name, mode, no_sudo, no_containers, lines, denied, remarks, .. } = imported;
    let job = job.as_ref().map(|job| format!(", job {job}")).unwrap_or_default();
    let mut text = String::new();
    comment(&mut text, "", &format!("Made of {file}{job} by `runner-agent policy import --from {}`.", from.as_str()));
    for remark in remarks {
        comment(&mut text, "", remark);
    }
    let _ = writeln!(text, "version: 1\nname: {name}\nmode: {mode}");
    // What GitHub itself needs was allowed there without being in any list.
    text.push_str("include: [presets/github-actions]\n");
    let has_rules = imported.rules().next().is_some();
    let indent = if has_rules { "    " } else { "" };
    if has_rules {
        text.push_str("egress:\n  allow:\n");
    }
    for line in lines {
        match line {
            Line::Rule(rule) => drop(writeln!(text, "    - {}", line_with_ports(rule))),
            Line::Comment(told, wider) => {
                comment(&mut text, indent, told);
                if let Some(wider) = wider {
                    comment(&mut text, indent, &format!("- {}", line_with_ports(wider)));
                }
            }
        }
    }
    if !denied.is_empty() {
        text.push_str(if has_rules { "  deny:\n" } else { "egress:\n  deny:\n" });
    }
    for rule in denied {
        let _ = writeln!(text, "    - {}", deny_line(rule));
    }
    let guard: Vec<&str> = [(*no_sudo, "sudo: deny"), (*no_containers, "docker: deny")]
        .into_iter()
        .filter(|(is_asked, _)| *is_asked)
        .map(|(_, word)| word)
        .collect();
    if !guard.is_empty() {
        let _ = writeln!(text, "guard: {{ {} }}", guard.join(", "));
    }
    text
}

/// One line, whatever is in it: nothing in an entry can end the comment and begin a key.
fn comment(text: &mut String, indent: &str, told: &str) {
    // A byte order mark is not allowed within YAML; nothing else that is printable is special in a comment.
    let told = printable(told).replace('\u{feff}', "\\u{feff}");
    let _ = writeln!(text, "{indent}# {told}");
}
