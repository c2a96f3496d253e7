//! Questions that carry data: names below a wildcard that no host would have, or more of them than a job needs.

use super::name_denied::refused;
use crate::event::{Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let (message, decided) = refused(event)?;
    let refusal = decided.refusal.filter(|refusal| refusal.is_tunnel)?;
    let what = if refusal.word == "budget" {
        "more distinct names below a wildcard than the rule's `names` allows"
    } else {
        "a name that looks like data and not like a host"
    };
    let rule = decided.rule.as_deref().unwrap_or("the rule");
    let text = format!("{} asked for {}: {what} ({rule})", super::who(event), message.name);
    // Every name of a tunnel is another: one finding for a program and a rule.
    let subject = format!("{} {rule} {}", super::exe(event), refusal.word);
    let mut finding = super::finding(event, "dns-tunnel", Severity::High, subject, text);
    finding.techniques = &["XF-04"];
    finding.fix = Some(if refusal.word == "budget" {
        format!("{rule}, with a higher `names`, or the exact names")
    } else {
        format!("egress.allow: - {{ host: {}, why: \"…\" }}", message.name)
    });
    Some(finding)
}
