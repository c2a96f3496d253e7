//! The `egress` part of a file.

use std::sync::Arc;

use ipnet::IpNet;

use super::super::ecosystem::Ecosystem;
use super::walk::{Cursor, Fields};
use super::{ALLOW_KEYS, AllowLine, DENY_KEYS, DNS_KEYS, Draft, EGRESS_KEYS, lint};
use crate::policy::egress::{
    DNS_PORT, DenyRule, EgressRule, ExeName, PortRange, Ports, ProtocolMatch, Target, classes_of,
};
use crate::policy::{AddressClass, HostPattern};

pub fn read(cursor: &Cursor, draft: &mut Draft) {
    let Some(fields) = cursor.fields(EGRESS_KEYS) else {
        return;
    };
    for (index, line) in fields.get("allow").map(|list| list.items()).unwrap_or_default().iter().enumerate() {
        let id: Arc<str> = format!("{}/egress.allow[{index}]", draft.name).into();
        draft.written.insert(Arc::clone(&id), line.node.at);
        draft.allow.extend(allow(line, &id));
    }
    for (index, line) in fields.get("deny").map(|list| list.items()).unwrap_or_default().iter().enumerate() {
        let id: Arc<str> = format!("{}/egress.deny[{index}]", draft.name).into();
        draft.written.insert(Arc::clone(&id), line.node.at);
        draft.deny.extend(deny(line, id));
    }
    lint::pairs::check(draft, cursor.findings);
    if let Some(dns) = fields.get("dns").and_then(|cursor| cursor.fields(DNS_KEYS)) {
        draft.refuse_with = dns.get("refuse-with").and_then(|word| word.word()).unwrap_or_default();
    }
}

/// The reason every rule must give.
pub fn why(fields: &Fields) -> Option<Arc<str>> {
    let cursor = fields.need("why", "say in a few words what the job needs it for")?;
    let text = cursor.text()?;
    lint::why(&cursor, text);
    Some(text.into())
}

fn allow(line: &Cursor, id: &Arc<str>) -> Option<AllowLine> {
    let fields = line.fields(ALLOW_KEYS)?;
    let why = why(&fields);
    let class_written = fields.get("class");
    let class = class_written.as_ref().and_then(Cursor::word::<AddressClass>);
    let protocol = fields.get("protocol").and_then(|word| word.word()).unwrap_or_default();
    let ports_written = fields.get("ports");
    let ports_read = ports_written.as_ref().and_then(ports);
    if let (Some(cursor), Some(ports)) = (&ports_written, &ports_read) {
        lint::ports(cursor, ports);
    }
    let exe = fields.get("exe").map(|list| programs(&list)).unwrap_or_default();
    let may_carry_secrets = fields.get("may-carry-secrets").and_then(|truth| truth.truth()).unwrap_or_default();
    let names_written = fields.get("names");
    let names = names_written.as_ref().and_then(|number| number.number(1, 100_000));

    let kinds: Vec<&str> = ["host", "cidr", "ecosystem"].into_iter().filter(|key| fields.get(key).is_some()).collect();
    match kinds.as_slice() {
        [_] => {}
        [] => fields.error("says nothing to allow; add one of `host`, `cidr` or `ecosystem`"),
        several => fields.error(format!("has {}; write a rule for each", several.join(" and "))),
    }
    if kinds.len() != 1 {
        return None;
    }
    let rule = |target, ports| {
        Some(EgressRule {
            id: Arc::clone(id),
            target,
            ports,
            protocol,
            class: class.unwrap_or_default(),
            exe: exe.clone(),
            names,
            may_carry_secrets,
            why: why.clone()?,
            source: None,
        })
    };
    if let Some(names) = names_written.as_ref()
        && kinds != ["host"]
    {
        names.error("counts the names of a wildcard; leave it out here");
    }
    if let Some(cursor) = fields.get("host") {
        let pattern = match HostPattern::parse(cursor.text()?) {
            Ok(pattern) => pattern,
            Err(error) => {
                cursor.error(error.to_string());
                return None;
            }
        };
        if let Some(names) = names_written.as_ref()
            && !pattern.is_wildcard()
        {
            names.error(format!("counts the names of a wildcard, and {pattern} is one name; leave `names` out"));
        }
        lint::host(&cursor, &pattern);
        let ports = if ports_written.is_some() { ports_read? } else { Ports::one(443) };
        return rule(Target::Host(pattern), ports).map(AllowLine::Rule);
    }
    if let Some(cursor) = fields.get("cidr") {
        let network = network(&cursor);
        if ports_written.is_none() {
            fields.error("has `cidr` but no `ports`; list them (`ports: [443]`), or write `ports: any`");
        }
        let network = network?;
        class_of_network(&cursor, network, class_written.as_ref(), class, ports_read.as_ref());
        let ports = ports_read?;
        lint::network(&cursor, network, &ports);
        return rule(Target::Cidr(network), ports).map(AllowLine::Rule);
    }
    let cursor = fields.get("ecosystem")?;
    let ecosystem: Ecosystem = cursor.word()?;
    if ports_written.is_some() && ports_read.is_none() {
        return None;
    }
    // Target and ports are placeholders until the runner's configuration is read.
    let nowhere = Target::Cidr(IpNet::new_assert(std::net::Ipv4Addr::UNSPECIFIED.into(), 32));
    Some(AllowLine::Ecosystem {
        ecosystem,
        template: rule(nowhere, Ports::List(Vec::new()))?,
        ports: ports_read,
        at: line.node.at,
        path: line.path.clone(),
    })
}

/// A rule for a network names the class it is about, unless that is the internet.
fn class_of_network(
    cursor: &Cursor,
    network: IpNet,
    written: Option<&Cursor>,
    class: Option<AddressClass>,
    ports: Option<&Ports>,
) {
    let mut inside = classes_of(network);
    // A cloud's DNS answers at its metadata address, and only there an address has two classes.
    if inside.contains(&AddressClass::Metadata) && ports.is_some_and(|ports| ports.contains(DNS_PORT)) {
        inside.push(AddressClass::LinkLocal);
    }
    let words = |classes: &[AddressClass]| classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(" or ");
    match (written, class) {
        (None, _) if !inside.contains(&AddressClass::Public) => {
            cursor.error(format!("{network} is {}; add `class: {}` to mean that", words(&inside), inside[0]));
        }
        (Some(at), Some(class)) if !inside.contains(&class) => {
            at.error(format!("is {class}, but {network} is {}; write `class: {}`", words(&inside), inside[0]));
        }
        _ => {}
    }
}

fn deny(line: &Cursor, id: Arc<str>) -> Option<DenyRule> {
    let fields = line.fields(DENY_KEYS)?;
    let why = why(&fields);
    let class = fields.get("class").map(|word| word.word::<AddressClass>());
    let cidr = fields.get("cidr").map(|cursor| network(&cursor));
    let protocol = fields.get("protocol").map_or(Some(ProtocolMatch::Any), |word| word.word());
    let ports =
        fields.need("ports", "list them (`ports: [2375]`), or write `ports: any`").and_then(|list| ports(&list));
    if class.is_none() && cidr.is_none() {
        fields.error(
            "closes a port everywhere; add `class: loopback` or a `cidr` (what no rule allows is closed anyway)",
        );
        return None;
    }
    // `Some(None)` was written and is wrong, which is noted already.
    let class = class.map_or(Some(None), |class| class.map(Some))?;
    let cidr = cidr.map_or(Some(None), |cidr| cidr.map(Some))?;
    Some(DenyRule { id, class, cidr, ports: ports?, protocol: protocol?, why: why? })
}

fn network(cursor: &Cursor) -> Option<IpNet> {
    let text = cursor.text()?;
    let Ok(found) = text.parse::<IpNet>() else {
        let hint = match text.parse::<std::net::IpAddr>() {
            Ok(address) => format!("add the length, as in {}", IpNet::from(address)),
            Err(_) => "write an address and a length, as in 198.51.100.0/24".to_owned(),
        };
        cursor.error(format!("{text:?} is no network; {hint}"));
        return None;
    };
    if let IpNet::V6(v6) = found
        && let Some(mapped) = v6.addr().to_ipv4_mapped()
    {
        let length = v6.prefix_len().saturating_sub(96);
        cursor.error(format!("{text:?} is IPv4 written as IPv6; write {mapped}/{length}"));
        return None;
    }
    if found.trunc() != found {
        cursor.error(format!("{text:?} has bits set after the first {}; write {}", found.prefix_len(), found.trunc()));
        return None;
    }
    Some(found)
}

/// `any`, a port, a range, or a list of ports and ranges.
fn ports(cursor: &Cursor) -> Option<Ports> {
    if cursor.plain_text() == Some("any") {
        return Some(Ports::Any);
    }
    let items = cursor.one_or_more();
    let ranges: Vec<PortRange> = items.iter().filter_map(range).collect();
    if matches!(&cursor.node.value, super::raw::Value::List(list) if list.is_empty()) {
        cursor.error("is an empty list, which no port is in; list ports, or write `ports: any`");
        return None;
    }
    (!items.is_empty() && ranges.len() == items.len()).then_some(Ports::List(ranges))
}

fn range(cursor: &Cursor) -> Option<PortRange> {
    let text = cursor.text()?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let found = match text.split_once('-') {
        Some((from, to)) => port(from).zip(port(to)).filter(|(from, to)| from <= to).map(|(from, to)| from..=to),
        None => port(text).map(|port| port..=port),
    };
    if found.is_none() {
        cursor.error(format!(
            "{text:?} is no port; write a number from 1 to 65535, a range such as 8000-8010, or `ports: any`"
        ));
    }
    found
}

fn programs(cursor: &Cursor) -> Vec<ExeName> {
    let program = |item: &Cursor| {
        let text = item.text()?;
        if text.contains(['/', '*', '?']) {
            let name = text.rsplit('/').next().unwrap_or(text);
            let hint = if name.is_empty() || name.contains(['*', '?']) { "node" } else { name };
            item.error(format!("{text:?} is no program's name; write its basename, as in `exe: [{hint}]`"));
            return None;
        }
        Some(ExeName(text.into()))
    };
    let items = cursor.one_or_more();
    if matches!(&cursor.node.value, super::raw::Value::List(list) if list.is_empty()) {
        cursor.error("is an empty list, which no program is in; name programs, or leave `exe` out");
    }
    items.iter().filter_map(program).collect()
}
