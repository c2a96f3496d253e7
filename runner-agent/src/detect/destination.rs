//! What the detectors of destinations share.

use crate::event::{Activity, Connection, Event};
use crate::policy::egress::smallest::{self, smallest};
use crate::policy::{Destination, Verdict};

/// What happened to a connection that the policy doesn't allow.
pub(super) fn did(connection: &Connection) -> &'static str {
    if connection.ruling.verdict == Verdict::Blocked { "was kept from" } else { "reached for" }
}

/// The connection of an event that the policy doesn't allow.
pub(super) fn denied(event: &Event) -> Option<&Connection> {
    match &event.activity {
        Activity::Connect(connection) if connection.ruling.verdict != Verdict::Allowed => Some(connection),
        _ => None,
    }
}

/// The smallest policy line that would allow a connection.
pub(super) fn fix(connection: &Connection) -> String {
    let Connection { address, port, protocol, names, ruling, .. } = connection;
    if let Some(rule) = ruling.rule.as_ref().filter(|_| connection.refused_for_secret) {
        return format!("{rule}, with may-carry-secrets: true");
    }
    // No line of `egress.allow` is stronger than a deny rule.
    if let Some(rule) = ruling.rule.as_ref().filter(|rule| rule.contains("/egress.deny[")) {
        return format!("egress.deny: take out or narrow {rule}, which closes this for every rule");
    }
    let destination = Destination { address: *address, port: *port, protocol: *protocol, names, exe: None };
    format!("egress.allow: - {}", smallest::line(&smallest(&destination).rule))
}

/// What makes two denied connections the same finding: program and destination.
pub(super) fn subject(event: &Event, connection: &Connection) -> String {
    format!("{} {} {}", super::exe(event), connection.endpoint(), connection.protocol)
}
