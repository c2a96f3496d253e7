//! What the detectors of destinations share.

use crate::event::{Activity, Connection, Event};
use crate::policy::{AddressClass, Protocol, Verdict};

/// The connection of an event that the policy doesn't allow.
pub(super) fn denied(event: &Event) -> Option<&Connection> {
    match &event.activity {
        Activity::Connect(connection) if connection.ruling.verdict != Verdict::Allowed => Some(connection),
        _ => None,
    }
}

/// The smallest policy line that would allow a connection.
pub(super) fn fix(connection: &Connection) -> String {
    let port = connection.port;
    let protocol = if connection.protocol == Protocol::Udp { ", protocol: udp" } else { "" };
    let class = match connection.ruling.class {
        AddressClass::Public => String::new(),
        class => format!(", class: {class}"),
    };
    let target = match (connection.names.first(), connection.address.is_ipv4()) {
        (Some(name), _) => format!("host: {name}"),
        (None, true) => format!("cidr: {}/32", connection.address),
        (None, false) => format!("cidr: {}/128", connection.address),
    };
    format!("egress.allow: - {{ {target}, ports: [{port}]{protocol}{class}, why: \"…\" }}")
}

/// What makes two denied connections the same finding: program and destination.
pub(super) fn subject(event: &Event, connection: &Connection) -> String {
    format!("{} {} {}", super::exe(event), connection.endpoint(), connection.protocol)
}
