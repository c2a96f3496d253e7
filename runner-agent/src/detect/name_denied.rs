//! A name that the job's resolver refused: no rule allows it, so it was never asked for upstream.

use crate::event::{Activity, DecidedName, DnsMessage, Event, Finding};
use crate::job::JobState;
use crate::policy::egress::smallest;
use crate::policy::{Policy, Severity, Verdict};

/// Names that look like data on their way out are [`super::dns_tunnel`]'s.
pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    let (message, decided) = refused(event)?;
    let refusal = decided.refusal?;
    if refusal.is_quiet || refusal.is_tunnel {
        return None;
    }
    let name = &message.name;
    let why = match refusal.word {
        "no-rule" => "which no rule of the policy allows",
        "encrypted-dns" => "which answers DNS where no rule could see it; only a rule for exactly this name allows it",
        "type" => "for a type of record that the rule doesn't cover",
        "secret" => "because it holds a secret, and no rule for this name may carry one",
        "malformed" => "with a question that can't be decided",
        other => other,
    };
    let text = format!("{} was kept from {name} (dns {}), {why}", super::who(event), message.query_type);
    let subject = format!("{} {name}", super::exe(event));
    let mut finding = super::finding(event, "egress-denied", Severity::Medium, subject, text);
    finding.techniques = &["XF-01", "XF-04"];
    if refusal.word == "no-rule" || refusal.word == "encrypted-dns" {
        finding.fix = smallest::for_name(name).map(|rule| format!("egress.allow: - {}", smallest::line(&rule)));
    }
    Some(finding)
}

/// A question that the agent's resolver refused.
pub(super) fn refused(event: &Event) -> Option<(&DnsMessage, &DecidedName)> {
    let Activity::Dns(message) = &event.activity else { return None };
    let decided = message.decided.as_ref()?;
    (decided.verdict == Verdict::Blocked).then_some((message, decided))
}
