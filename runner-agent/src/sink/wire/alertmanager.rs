//! Prometheus's Alertmanager, API v2: one alert for what somebody should look at.
//!
//! Source: Prometheus, Alertmanager's OpenAPI description of `POST /api/v2/alerts`. Alerts with equal labels are one alert, so
//! the labels say what it is about and the annotations what happened. No `endsAt`: it ends when it isn't repeated, after
//! the receiver's own `resolve_timeout`.

use serde::Serialize;

use super::facts;
use super::format::About;
use crate::notice::{Content, Notice};
use crate::text::printable;

/// Characters of a label: it is held in memory and sent on with each notification.
const LABEL_CHARS: usize = 256;

#[derive(Serialize)]
struct Alert<'a> {
    labels: Labels,
    annotations: Annotations<'a>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

/// A label without a value counts as one that isn't there, so it isn't written.
#[derive(Serialize)]
struct Labels {
    alertname: String,
    severity: &'static str,
    instance: String,
    runner_agent_job: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    workflow: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    job: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    program: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
}

#[derive(Serialize)]
struct Annotations<'a> {
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    technique: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    evidence: String,
    policy: &'a str,
    mode: &'static str,
    notice: String,
}

/// Appends a notice.
pub(super) fn encode(notice: &Notice, about: &About, out: &mut Vec<u8>) {
    let content = &notice.content;
    let of_identity = |value: fn(&crate::identity::JobIdentity) -> Option<&String>| {
        about.identity.as_ref().and_then(value).map(|text| label(text)).unwrap_or_default()
    };
    let (subject, technique, evidence, fix) = match content {
        Content::Finding(finding) => (
            label(&finding.subject),
            finding.techniques.join(" "),
            finding.evidence.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            finding.fix.as_deref().map(|fix| printable(fix).into_owned()),
        ),
        Content::Loss(loss) => (format!("{}: {}", loss.place, loss.reason), String::new(), String::new(), None),
        _ => Default::default(),
    };
    let alert = Alert {
        labels: Labels {
            alertname: facts::alarm_name(content).to_owned(),
            severity: facts::severity(notice).as_str(),
            instance: label(&about.host),
            runner_agent_job: label(&about.job),
            repository: of_identity(|identity| identity.repository.as_ref()),
            workflow: of_identity(|identity| identity.workflow.as_ref()),
            job: of_identity(|identity| identity.job.as_ref()),
            program: facts::process(content).map(|process| label(process.name())).unwrap_or_default(),
            subject,
        },
        annotations: Annotations {
            summary: facts::sentence(notice),
            fix,
            technique,
            evidence,
            policy: &about.policy,
            mode: about.mode.as_str(),
            notice: about.id(notice),
        },
        starts_at: about.encoder.timestamp(notice.at_ns),
        generator_url: about.identity.as_ref().and_then(|identity| identity.url.as_deref()).filter(|url| is_url(url)),
    };
    super::write(&alert, out);
}

fn label(text: &str) -> String {
    printable(text).chars().take(LABEL_CHARS).collect()
}

/// The receiver refuses a whole request for one address that is none.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=+,;@".contains(&byte);
    rest.is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_alphanumeric()) && rest.bytes().all(is_allowed)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_plain_address_of_the_web_is_handed_on() {
        assert!(super::is_url("https://ci.example.org/octo/app/runs/7?attempt=2"));
        for text in ["", "https://", "javascript:alert(1)", "https://a b", "https://a\n", "https:///x", "https://a/%zz"]
        {
            assert!(!super::is_url(text), "{text}");
        }
    }
}
