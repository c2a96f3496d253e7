//! Lines of one file that leave each other nothing to decide, or contradict each other.

use super::super::walk::Findings;
use super::super::{AllowLine, Draft};
use crate::config::ecosystem::Ecosystem;
use crate::config::raw::At;
use crate::policy::egress::{DenyRule, EgressRule, Ports};

/// An `allow` line with what it was written from.
struct Line<'a> {
    rule: &'a EgressRule,
    /// Whose configuration names the hosts, and the ports written.
    ecosystem: Option<(Ecosystem, Option<&'a Ports>)>,
}

impl<'a> From<&'a AllowLine> for Line<'a> {
    fn from(line: &'a AllowLine) -> Self {
        match line {
            AllowLine::Rule(rule) => Self { rule, ecosystem: None },
            AllowLine::Ecosystem { ecosystem, template, ports, .. } => {
                Self { rule: template, ecosystem: Some((*ecosystem, ports.as_ref())) }
            }
        }
    }
}

impl Line<'_> {
    fn covers(&self, other: &Self) -> bool {
        let comparable = match (self.ecosystem, other.ecosystem) {
            (None, None) => true,
            // Without `ports` a rule has those of the addresses that will be configured, which nobody knows here.
            (Some((own, None)), Some((other, None))) => own == other,
            (Some((own, Some(own_ports))), Some((other, Some(ports)))) => own == other && own_ports.covers(ports),
            _ => false,
        };
        comparable && self.rule.covers(other.rule)
    }
}

/// Notes what the lines of a file do to each other.
pub fn check(draft: &Draft, findings: &Findings) {
    let at = |id: &str| draft.written.get(id).copied().unwrap_or(At::START);
    let named = |id: &str| format!("{} on line {}", key(id), at(id).line);
    let lines: Vec<Line> = draft.allow.iter().map(Line::from).collect();
    for (index, line) in lines.iter().enumerate() {
        let id = &*line.rule.id;
        if let Some(earlier) = lines[..index].iter().find(|earlier| earlier.covers(line)) {
            let same = line.covers(earlier);
            findings.warning(at(id), key(id), never_decides(&named(&earlier.rule.id), same));
        }
        if line.ecosystem.is_some() {
            continue;
        }
        if let Some(deny) = draft.deny.iter().find(|deny| deny.contradicts(line.rule)) {
            let message = format!(
                "allows what {} denies, the same network and ports, and deny wins; take one of the two out",
                named(&deny.id)
            );
            findings.error(at(id), key(id), message);
        } else if let Some(deny) = draft.deny.iter().find(|deny| deny.closes(line.rule)) {
            findings.warning(at(id), key(id), closed(&named(&deny.id)));
        }
    }
    for (index, deny) in draft.deny.iter().enumerate() {
        if let Some(earlier) = draft.deny[..index].iter().find(|earlier| earlier.covers(deny)) {
            findings.warning(at(&deny.id), key(&deny.id), never_decides(&named(&earlier.id), deny.covers(earlier)));
        }
    }
}

/// What is said of an allow rule that a deny rule elsewhere closes, wherever the two stand.
pub fn closed_by<'d>(rule: &EgressRule, deny: &'d [DenyRule]) -> Option<&'d DenyRule> {
    let policy = |id: &str| id.split_once('/').map(|(policy, _)| policy.to_owned());
    deny.iter().find(|deny| policy(&deny.id) != policy(&rule.id) && deny.closes(rule))
}

/// A fragment about a rule that a deny rule leaves nothing of.
pub fn closed(by: &str) -> String {
    format!("allows nothing: {by} denies all of it, and deny wins; take one of the two out, or narrow it")
}

fn never_decides(by: &str, same: bool) -> String {
    if same {
        format!("never decides: {by} says the same; take one of the two out")
    } else {
        format!("never decides: {by} covers all of it; take it out, or move it up if its own reason should be named")
    }
}

/// The key in its file of a rule: what stands behind the policy's name.
pub fn key(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, key)| key)
}
