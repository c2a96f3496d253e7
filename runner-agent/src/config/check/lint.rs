//! Rules that are right and still a bad idea: warnings, each for a line alone. `pairs` looks at two lines at once.

pub mod pairs;

use ipnet::IpNet;

use super::walk::Cursor;
use crate::policy::egress::{DNS_PORT, PortRange, Ports, classes_of};
use crate::policy::encrypted_dns::{self, DOT_PORT};
use crate::policy::{AddressClass, HostPattern, suffix};

/// Reasons that give none, in lower case and without punctuation at either end.
const NO_REASONS: &[&str] =
    &["", "because", "fixme", "needed", "n/a", "none", "reason", "required", "tbd", "todo", "why", "xxx"];

pub fn host(cursor: &Cursor, pattern: &HostPattern) {
    if pattern.is_wildcard()
        && let Some(known) = suffix::shared(pattern.suffix())
    {
        cursor.warning(format!(
            "{pattern} covers names that anyone can register below {known}; write the exact names that the job needs"
        ));
    }
    if let Some(known) = encrypted_dns::host_in(pattern) {
        let which = if pattern.is_wildcard() { format!("{pattern} covers {known}, which") } else { known.to_owned() };
        cursor.warning(format!(
            "{which} answers names over HTTPS or TLS, so a job asks it past the agent's resolver and its rules; take it \
             out unless that is meant"
        ));
    }
}

pub fn network(cursor: &Cursor, network: IpNet, ports: &Ports) {
    let (wide, wide_for_any_port, one_operators) =
        if matches!(network, IpNet::V4(_)) { (8, 16, 16) } else { (16, 32, 32) };
    let length = network.prefix_len();
    let stays_here = classes_of(network) == [AddressClass::Loopback];
    if length < wide {
        let what = if length == 0 { "every address" } else { "a large part of all addresses" };
        cursor.warning(format!("{network} is {what}; write the networks or hosts that the job needs"));
    } else if *ports == Ports::Any && length < wide_for_any_port && !stays_here {
        cursor.warning(format!(
            "{network} with `ports: any` is every port of a whole provider or site; list the ports, or write a smaller \
             network"
        ));
    }
    let reaches = |port| ports.contains(port);
    if length >= one_operators
        && (reaches(443) || reaches(DOT_PORT))
        && let Some(address) = encrypted_dns::address_in(network)
    {
        cursor.warning(format!(
            "{address} in it answers names over HTTPS or TLS, so a job asks it past the agent's resolver and its rules; \
             take it out unless that is meant"
        ));
    }
}

/// Ports that are about names. Only where they are written as such: a range may run over them.
pub fn ports(cursor: &Cursor, ports: &Ports) {
    let Ports::List(ranges) = ports else { return };
    let is_named = |port: u16| ranges.iter().any(|range: &PortRange| (*range.start(), *range.end()) == (port, port));
    if is_named(DNS_PORT) {
        cursor.warning(
            "port 53 has no effect in mode `block`: every question goes to the agent's resolver, whatever server was meant; \
             allow the names that are asked for, as `host`",
        );
    }
    if is_named(DOT_PORT) {
        cursor.warning(
            "port 853 carries names over TLS, so a job asks past the agent's resolver and its rules; take it out unless \
             that is meant",
        );
    }
}

/// A reason that is there and says nothing.
pub fn why(cursor: &Cursor, text: &str) {
    let word = text.trim_matches(|char: char| !char.is_alphanumeric()).to_lowercase();
    let marked = ["todo", "fixme", "tbd"]
        .iter()
        .any(|mark| word.strip_prefix(mark).is_some_and(|rest| rest.starts_with(|next: char| !next.is_alphanumeric())));
    if marked || NO_REASONS.contains(&word.as_str()) {
        cursor.warning(format!("{text:?} is no reason; say in a few words what the job needs it for"));
    }
}
