//! cargowall's own file (its `config-file`): rules that allow and rules that deny, by name and by network.
//!
//! Its reader took the rule whose name is longest and denied what none means. A policy has no rule that denies a name, so
//! what was allowed around a denied one is left out; a denied network closes its ports in the policy too. Unknown keys,
//! which that reader passed over, are errors: a slip of the pen must not open anything.

use super::find::get;
use super::peer::{LeftOut, Peer, Reading};
use super::reader::Reader;
use super::{At, entry};
use crate::config::check::walk::{Cursor, Findings};
use crate::config::raw::{Node, Value};
use crate::policy::HostPattern;
use crate::policy::egress::{DenyRule, Ports, ProtocolMatch, Target};
use ipnet::IpNet;

const KEYS: &[&str] = &["rules", "defaultAction", "sudoLockdown", "searchDomains"];
const RULE_KEYS: &[&str] = &["type", "value", "ports", "action", "autoAddedType"];
const PORT_KEYS: &[&str] = &["port", "protocol"];
const SUDO_KEYS: &[&str] = &["enabled", "allowCommands"];
/// What rules' reasons call the file.
const INPUT: &str = "config-file";

/// A rule of the file, read as far as it can be without the others.
struct Written<'a> {
    at: At,
    /// Where its value stands, for messages.
    path: String,
    value: &'a str,
    is_network: bool,
    is_allowed: bool,
    /// Ports by transport; none if ICMP alone was meant.
    ports: Vec<(ProtocolMatch, Ports)>,
    has_icmp: bool,
}

/// Whether a tree is such a file and no step.
pub(super) fn is_config(tree: &Node) -> bool {
    ["rules", "defaultAction"].iter().any(|key| get(tree, key).is_some())
}

/// Goes through the file; what is wrong with it is among the reader's problems afterwards.
pub(super) fn read(reader: &mut Reader, tree: &Node) {
    let findings = Findings::new(reader.file());
    let root = Cursor { node: tree, path: String::new(), findings: &findings };
    if let Some(fields) = root.fields(KEYS) {
        if let Some(word) = fields.get("defaultAction").filter(|cursor| !is_null(cursor))
            && one_of(&word, &["deny", "allow"]) == Some("allow")
        {
            word.error(
                "allows whatever no rule denies, which no policy does; write \"deny\" and a rule for each place that the \
                 job needs (`run --mode audit` lists them)",
            );
        }
        let rules: Vec<Written> = match fields.get("rules").filter(|cursor| !is_null(cursor)) {
            Some(list) => list.items().iter().filter_map(rule).collect(),
            None => Vec::new(),
        };
        let (allowed, denied): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.is_allowed);
        let networks = deny(reader, &denied);
        let names: Vec<&Written> = denied.iter().filter(|rule| !rule.is_network).collect();
        for rule in &allowed {
            allow(reader, rule, &names, &networks);
        }
        if let Some(sudo) = fields.get("sudoLockdown").filter(|cursor| !is_null(cursor)) {
            no_sudo(reader, &sudo);
        }
        if let Some(domains) = fields.get("searchDomains").filter(|cursor| !is_null(cursor))
            && !domains.items().is_empty()
        {
            let message = Peer::Cargowall.elsewhere("search-domains");
            reader.remark(domains.node.at, "searchDomains", message);
        }
    }
    reader.problems(findings.into_problems());
}

fn is_null(cursor: &Cursor) -> bool {
    cursor.node.value == Value::Null
}

/// One of the file's words, which it compares as they are.
fn one_of<'a>(cursor: &Cursor<'a>, words: &[&str]) -> Option<&'a str> {
    let text = cursor.text()?;
    if !words.contains(&text) {
        cursor.error(format!("{text:?} is not one of {}", words.join(", ")));
        return None;
    }
    Some(text)
}

fn rule<'a>(line: &Cursor<'a>) -> Option<Written<'a>> {
    let fields = line.fields(RULE_KEYS)?;
    let kind =
        fields.need("type", "write \"hostname\" or \"cidr\"").and_then(|word| one_of(&word, &["hostname", "cidr"]));
    let action =
        fields.need("action", "write \"allow\" or \"deny\"").and_then(|word| one_of(&word, &["allow", "deny"]));
    let value = fields.need("value", "write the name or the network that is meant")?;
    let is_allowed = action? == "allow";
    let listed = fields.get("ports").filter(|cursor| !is_null(cursor)).map(|list| list.items()).unwrap_or_default();
    let mut written = Written {
        at: value.node.at,
        path: value.path.clone(),
        value: value.text()?,
        is_network: kind? == "cidr",
        is_allowed,
        ports: Vec::new(),
        has_icmp: false,
    };
    if listed.is_empty() {
        // What closes must close all of it; what opens is for TCP, as every list is read here.
        let transport = if is_allowed { ProtocolMatch::Tcp } else { ProtocolMatch::Any };
        written.ports.push((transport, Ports::Any));
    }
    for item in &listed {
        port(item, &mut written)?;
    }
    Some(written)
}

fn port(item: &Cursor, written: &mut Written) -> Option<()> {
    let fields = item.fields(PORT_KEYS)?;
    let protocol = fields
        .need("protocol", "write \"tcp\", \"udp\", \"icmp\" or \"all\"")
        .and_then(|word| one_of(&word, &["tcp", "udp", "icmp", "all"]))?;
    if protocol == "icmp" {
        written.has_icmp = true;
        return Some(());
    }
    let number = fields.need("port", "write a number from 1 to 65535")?.number(1, u32::from(u16::MAX))?;
    let number = u16::try_from(number).ok()?;
    let transport = match protocol {
        "tcp" => ProtocolMatch::Tcp,
        "udp" => ProtocolMatch::Udp,
        _ => ProtocolMatch::Any,
    };
    match written.ports.iter_mut().find(|(known, _)| *known == transport) {
        Some((_, Ports::List(ranges))) if !ranges.contains(&(number..=number)) => ranges.push(number..=number),
        Some(_) => {}
        None => written.ports.push((transport, Ports::one(number))),
    }
    Some(())
}

/// Denied networks become rules; denied names are told, because they work by what is left out.
fn deny(reader: &mut Reader, denied: &[Written]) -> Vec<DenyRule> {
    let mut made = Vec::new();
    for rule in denied {
        if !rule.is_network {
            let message = format!(
                "{:?} is denied, and a policy denies names by not allowing them: what was allowed around it is left out; see \
                 that no included policy allows it",
                rule.value
            );
            reader.remark(rule.at, &rule.path, &message);
            continue;
        }
        match network(rule.value) {
            Ok(cidr) => {
                let why = reader.why(INPUT, &format!("{} denied", rule.value), rule.at);
                made.extend(rule.ports.iter().map(|(protocol, ports)| DenyRule {
                    id: "".into(),
                    class: None,
                    cidr: Some(cidr),
                    ports: ports.clone(),
                    protocol: *protocol,
                    why: why.clone(),
                }));
            }
            // Leaving a rule out that closes something would open it.
            Err(message) => reader.error(rule.at, &rule.path, message),
        }
    }
    reader.deny(made.clone());
    made
}

fn network(value: &str) -> Result<IpNet, String> {
    entry::network(value)?.ok_or_else(|| format!("{value:?} is no network; write one as in 198.51.100.0/24"))
}

fn allow(reader: &mut Reader, rule: &Written, denied: &[&Written], closed: &[DenyRule]) {
    reader.begin_entry();
    let out = |message: String| LeftOut::from(format!("{:?}{message}", rule.value));
    if rule.has_icmp {
        let message = ": ICMP is allowed there, and no rule says that alone; a rule with `ports: any` and `protocol: any` does, \
                       with all else";
        reader.leave_out(rule.at, &rule.path, out(message.to_owned()), None);
    }
    let read = if rule.is_network {
        network(rule.value)
            .map(|network| Reading { rules: vec![(Target::Cidr(network), Ports::Any)], left_out: None })
            .map_err(LeftOut::from)
    } else if entry::is_address(rule.value) {
        Err(out(" is an address, and cargowall took it for a name; write it with \"type\": \"cidr\"".to_owned()))
    } else if rule.value.contains(':') {
        Err(out(" has a colon, so no name is this; ports stand in \"ports\"".to_owned()))
    } else {
        Peer::Cargowall.endpoint(rule.value)
    };
    let (targets, left_out) = match read {
        Ok(Reading { rules, left_out }) => (rules, left_out),
        Err(left_out) => (Vec::new(), Some(left_out)),
    };
    let why = reader.why(INPUT, rule.value, rule.at);
    for (target, _) in targets {
        if let Target::Host(name) = &target
            && let Some(by) = denied.iter().find(|other| is_touched(name, rule.value, other.value))
        {
            let message = format!(" would allow {name}, around {:?}, which is denied; write the exact names", by.value);
            reader.leave_out(rule.at, &rule.path, out(message), None);
            continue;
        }
        for (protocol, ports) in &rule.ports {
            if let Some(by) = closed.iter().find(|deny| is_within(&target, *protocol, ports, deny)) {
                let network = by.cidr.map(|network| network.to_string()).unwrap_or_default();
                let message = format!(
                    " lies in {network}, which is denied; cargowall lets the longer network win, and a policy what is denied; \
                     write the denied network without it"
                );
                reader.leave_out(rule.at, &rule.path, out(message), None);
                continue;
            }
            reader.rule(rule.at, &rule.path, rule.value, ((target.clone(), ports.clone()), *protocol), &why);
        }
    }
    if let Some(mut left_out) = left_out {
        // The nearest rule there is has the ports that were written.
        let mut transports = rule.ports.iter();
        left_out.wider = left_out.wider.and_then(|(target, _)| Some((target, transports.next()?.1.clone())));
        reader.leave_out_with(rule.at, &rule.path, left_out, &why);
    }
}

/// Whether a rule for `name`, made of the value `allowed`, could allow what `denied` denied. A name alone is denied by that
/// very name; names below one by whatever is, or may be, among them.
fn is_touched(name: &HostPattern, allowed: &str, denied: &str) -> bool {
    let denied = denied.trim_end_matches('.').to_ascii_lowercase();
    let suffix = name.suffix();
    if !name.is_wildcard() {
        return denied == suffix;
    }
    // What stands behind the last star of a pattern; all of a name.
    let known = denied.rsplit('*').next().unwrap_or_default().trim_start_matches('.');
    let below =
        |inner: &str, outer: &str| inner.strip_suffix(outer).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_pattern = allowed.contains('*') || denied.contains('*');
    known.is_empty() || below(known, suffix) || is_pattern && below(suffix, known)
}

/// Whether a network lies in a denied one and shares ports with it.
fn is_within(target: &Target, protocol: ProtocolMatch, ports: &Ports, deny: &DenyRule) -> bool {
    let Target::Cidr(network) = target else { return false };
    let transports = protocol == deny.protocol || protocol == ProtocolMatch::Any || deny.protocol == ProtocolMatch::Any;
    let shared = match (ports, &deny.ports) {
        (Ports::List(own), Ports::List(_)) => own.iter().any(|range| deny.ports.contains(*range.start())),
        _ => true,
    };
    transports && shared && deny.cidr.is_some_and(|closed| closed.contains(network))
}

/// Takes sudo away where the file did.
fn no_sudo(reader: &mut Reader, sudo: &Cursor) {
    let Some(fields) = sudo.fields(SUDO_KEYS) else { return };
    let is_enabled = fields.get("enabled").and_then(|truth| truth.truth()) == Some(true);
    let commands = fields.get("allowCommands").filter(|cursor| !is_null(cursor));
    if is_enabled {
        reader.refuse_sudo();
    }
    if let Some(commands) = commands
        && !commands.items().is_empty()
        && is_enabled
    {
        reader.remark(commands.node.at, "sudoLockdown.allowCommands", Peer::Cargowall.elsewhere("sudo-allow-commands"));
    }
}
