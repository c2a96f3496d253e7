//! Rules that nearly covered an attempt, and what differed: for people who ask why.

use ipnet::IpNet;

use super::{Destination, EgressPolicy, EgressRule, Protocol, Target, classify_endpoint, normalise};
use crate::policy::{HostPattern, encrypted_dns, suffix, words};

/// In what an attempt differs from what a rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// None of its names is one that the rule means, or it has none.
    Name,
    /// The address lies outside the rule's network.
    Address,
    /// The port.
    Port,
    /// The transport.
    Protocol,
    /// The class of the address.
    Class,
    /// The connecting program.
    Program,
}

words!(Difference, "name, address, port, protocol, class, exe", {
    Difference::Name => "name",
    Difference::Address => "address",
    Difference::Port => "port",
    Difference::Protocol => "protocol",
    Difference::Class => "class",
    Difference::Program => "exe",
});

/// A rule that nearly covered an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss<'a> {
    /// The rule.
    pub rule: &'a EgressRule,
    /// What differed; never empty.
    pub differs: Vec<Difference>,
    /// The same for people: a fragment for each difference.
    pub because: Vec<String>,
}

/// Everything that was near.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near<'a> {
    /// The nearest first.
    pub misses: Vec<NearMiss<'a>>,
    /// Rules for names that would cover the attempt if one of their names had led to the address.
    pub unnamed: Vec<&'a EgressRule>,
}

impl EgressRule {
    /// In what an attempt differs from what the rule allows; nothing exactly when the rule matches.
    pub fn differences(&self, destination: &Destination) -> Vec<Difference> {
        let address = normalise(destination.address);
        let target = match &self.target {
            Target::Host(pattern) => (!has_name(pattern, destination)).then_some(Difference::Name),
            Target::Cidr(network) => (!network.contains(&address)).then_some(Difference::Address),
        };
        let port = (!self.ports.contains(destination.port)).then_some(Difference::Port);
        let protocol = !self.protocol.matches(destination.protocol, &self.ports);
        let class = self.class != classify_endpoint(address, destination.port);
        let is_named = |exe: &str| self.exe.iter().any(|name| name.matches(exe));
        let program = !self.exe.is_empty() && !destination.exe.is_some_and(is_named);
        target
            .into_iter()
            .chain(port)
            .chain(protocol.then_some(Difference::Protocol))
            .chain(class.then_some(Difference::Class))
            .chain(program.then_some(Difference::Program))
            .collect()
    }
}

fn has_name(pattern: &HostPattern, destination: &Destination) -> bool {
    destination.names.iter().any(|name| pattern.matches(name))
}

impl EgressPolicy {
    /// The allow rules nearest to an attempt that none of them covers, `most` at most.
    pub fn near(&self, destination: &Destination, most: usize) -> Near<'_> {
        let mut near = Near::default();
        let mut ranked = Vec::new();
        for rule in &self.allow {
            let differs = rule.differences(destination);
            if differs.is_empty() {
                continue;
            }
            let misses_target = matches!(differs[0], Difference::Name | Difference::Address);
            if differs == [Difference::Name] && destination.names.is_empty() {
                near.unnamed.push(rule);
            } else if !misses_target {
                ranked.push((differs.len(), rule, differs));
            } else if differs.len() <= 2 && is_close(&rule.target, destination) {
                // The right target with two things wrong is nearer than a target that is only like it.
                ranked.push((2 + differs.len(), rule, differs));
            }
        }
        ranked.sort_by_key(|(rank, ..)| *rank);
        let miss = |(_, rule, differs): (usize, _, Vec<Difference>)| {
            let because = differs.iter().map(|difference| because(rule, *difference, destination)).collect();
            NearMiss { rule, differs, because }
        };
        near.misses = ranked.into_iter().take(most).map(miss).collect();
        near
    }

    /// The first rule that lets a name be asked for. Port, program and class are for the connect to meet.
    ///
    /// A server of encrypted DNS must be named exactly: a wildcard that happens to cover one was hardly meant to open a
    /// way around the resolver.
    pub fn rule_for_name(&self, name: &str) -> Option<&EgressRule> {
        let is_door = encrypted_dns::is_host(name);
        let asks = |pattern: &HostPattern| pattern.matches(name) && !(is_door && pattern.is_wildcard());
        self.allow.iter().find(|rule| matches!(&rule.target, Target::Host(pattern) if asks(pattern)))
    }

    /// Rules whose names are like `name`, none of which means it; `most` at most.
    pub fn near_name(&self, name: &str, most: usize) -> Vec<NearMiss<'_>> {
        let like = |rule: &&EgressRule| matches!(&rule.target, Target::Host(pattern) if !pattern.matches(name) && is_like(pattern, name));
        let miss = |rule| NearMiss { rule, differs: vec![Difference::Name], because: vec![other_name(rule, name)] };
        self.allow.iter().filter(like).take(most).map(miss).collect()
    }
}

/// Whether a target that doesn't fit is one that its author may have meant.
fn is_close(target: &Target, destination: &Destination) -> bool {
    match target {
        Target::Host(pattern) => destination.names.iter().any(|name| is_like(pattern, name)),
        Target::Cidr(network) => {
            let (length, least) = if matches!(network, IpNet::V4(_)) { (8, 16) } else { (16, 48) };
            let wider = network.prefix_len().saturating_sub(length).max(least);
            network.prefix_len() >= least
                && IpNet::new(network.addr(), wider).is_ok_and(|wider| wider.contains(&normalise(destination.address)))
        }
    }
}

/// Whether somebody who wrote the pattern may have meant the name: both belong to one registered name.
fn is_like(pattern: &HostPattern, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let owner = suffix::registrable(&name);
    owner.is_some() && owner == suffix::registrable(pattern.suffix()) || pattern.suffix() == name
}

fn because(rule: &EgressRule, difference: Difference, destination: &Destination) -> String {
    let port = destination.port;
    match difference {
        Difference::Name => match destination.names.first() {
            Some(name) => other_name(rule, name),
            None => format!("no name led to {}, and the rule is for names", destination.address),
        },
        Difference::Address => match &rule.target {
            Target::Cidr(network) => format!("{} is not in {network}", normalise(destination.address)),
            Target::Host(_) => String::new(),
        },
        Difference::Port if matches!(destination.protocol, Protocol::Other(_)) => {
            format!("it has ports, and {} has none", destination.protocol)
        }
        Difference::Port => format!("port {port} is not among its ports {}", rule.ports),
        Difference::Protocol => format!("it is for {}, not {}", rule.protocol, destination.protocol),
        Difference::Class => {
            let class = classify_endpoint(destination.address, port);
            format!("it is for {} addresses, and this one is {class}", rule.class)
        }
        Difference::Program => {
            let names: Vec<&str> = rule.exe.iter().map(|name| &*name.0).collect();
            match destination.exe {
                Some(exe) => format!("it is for {}, not {}", names.join(", "), exe.rsplit('/').next().unwrap_or(exe)),
                None => format!("it is for {}, and the program is not known", names.join(", ")),
            }
        }
    }
}

fn other_name(rule: &EgressRule, name: &str) -> String {
    let Target::Host(pattern) = &rule.target else { return String::new() };
    let below = |name: &str, parent: &str| name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if pattern.is_wildcard() && pattern.suffix() == name {
        format!("{pattern} means the names below {name}, never {name} itself")
    } else if !pattern.is_wildcard() && below(name, pattern.suffix()) {
        format!("it names {pattern} alone, and nothing below")
    } else {
        format!("it is for {pattern}, not {name}")
    }
}
