//! A rule as it is shown: what it says, and where it stands.

use std::sync::Arc;

use serde::Serialize;

use crate::policy::egress::{DenyRule, EgressRule, Target, smallest};
use crate::policy::{Origin, SecretClass, Written};

/// A rule of any kind. Fields that a kind doesn't have are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// `allow`, `deny` or `secret`.
    pub kind: &'static str,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
    /// Name pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Ports, as a policy has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// Transport.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// Class of address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// Programs that may use it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exe: Vec<String>,
    /// Whether a process that read a secret file may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_carry_secrets: Option<bool>,
    /// Path patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Programs that own the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<Vec<String>>,
    /// Its reason.
    pub why: String,
    /// Where the host was found, if the line did not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The rule as a line of a policy, defaults left out.
    pub line: String,
}

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file as given, or the name of a shipped policy.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

fn place(id: &Arc<str>, origin: &Origin) -> Option<Place> {
    let Written { file, line, column } = origin.written.get(id)?;
    Some(Place { file: file.display().to_string(), line: *line, column: *column })
}

impl Rule {
    /// An allow rule.
    pub fn allow(rule: &EgressRule, origin: &Origin) -> Self {
        let (host, cidr) = match &rule.target {
            Target::Host(pattern) => (Some(pattern.to_string()), None),
            Target::Cidr(network) => (None, Some(network.to_string())),
        };
        Self {
            id: rule.id.to_string(),
            kind: "allow",
            at: place(&rule.id, origin),
            host,
            cidr,
            ports: Some(rule.ports.to_string()),
            protocol: Some(rule.protocol.as_str()),
            class: Some(rule.class.as_str()),
            exe: rule.exe.iter().map(|name| name.0.to_string()).collect(),
            may_carry_secrets: Some(rule.may_carry_secrets),
            why: rule.why.to_string(),
            source: rule.source.as_ref().map(ToString::to_string),
            line: smallest::line(rule),
            ..Self::default()
        }
    }

    /// A deny rule.
    pub fn deny(rule: &DenyRule, origin: &Origin) -> Self {
        Self {
            id: rule.id.to_string(),
            kind: "deny",
            at: place(&rule.id, origin),
            cidr: rule.cidr.map(|network| network.to_string()),
            ports: Some(rule.ports.to_string()),
            protocol: Some(rule.protocol.as_str()),
            class: rule.class.map(crate::policy::AddressClass::as_str),
            why: rule.why.to_string(),
            line: smallest::deny_line(rule),
            ..Self::default()
        }
    }

    /// A class of secret files.
    pub fn secret(class: &SecretClass, origin: &Origin) -> Self {
        let readers: Vec<String> = class.readers.iter().map(ToString::to_string).collect();
        let quoted = |texts: &[String]| texts.iter().map(|text| smallest::quoted(text)).collect::<Vec<_>>().join(", ");
        let line = format!(
            "{{ paths: [{}], readers: [{}], why: {} }}",
            quoted(&class.patterns),
            quoted(&readers),
            smallest::quoted(&class.why)
        );
        Self {
            id: class.id.to_string(),
            kind: "secret",
            at: place(&class.id, origin),
            paths: class.patterns.clone(),
            readers: Some(readers),
            why: class.why.to_string(),
            line,
            ..Self::default()
        }
    }
}
