//! Whether one rule leaves another nothing to decide.

use super::{AddressClass, DenyRule, EgressRule, PortRange, Ports, ProtocolMatch, Target};

impl Ports {
    /// Whether every port of `other` is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            // A list has no word for protocols without ports.
            (Self::List(_), Self::Any) => false,
            (Self::List(own), Self::List(other)) => {
                let own = merged(own);
                other.iter().all(|range| own.iter().any(|own| own.start() <= range.start() && range.end() <= own.end()))
            }
        }
    }
}

/// The same ports in as few ranges as there can be.
fn merged(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| *range.start());
    let mut merged: Vec<PortRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=(*last.end()).max(*range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

impl ProtocolMatch {
    /// Whether every transport of `other` is one of this; what has no ports is [`Ports`]' to say.
    pub fn covers(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

impl Target {
    /// Whether everything that `other` means is meant. A name may resolve to any address, so a network covers no name.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(own), Self::Host(other)) => own.covers(other),
            (Self::Cidr(own), Self::Cidr(other)) => own.contains(other),
            _ => false,
        }
    }
}

impl EgressRule {
    /// Whether this rule, standing before `other`, leaves it nothing to decide and nothing to add.
    pub fn covers(&self, other: &Self) -> bool {
        let programs =
            self.exe.is_empty() || (!other.exe.is_empty() && other.exe.iter().all(|name| self.exe.contains(name)));
        // A wildcard that may stand for eight names leaves the ninth to the rule behind it.
        let budget = self.names.is_none_or(|own| other.names.is_some_and(|other| other <= own));
        self.class == other.class
            && self.target.covers(&other.target)
            && self.ports.covers(&other.ports)
            && self.protocol.covers(other.protocol)
            && programs
            && budget
            && (self.may_carry_secrets || !other.may_carry_secrets)
    }

    /// Whether both say the same, reasons aside.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.covers(other) && other.covers(self)
    }
}

/// Deny rules take the unspecified address for what Linux makes of it.
fn here(class: AddressClass) -> AddressClass {
    if class == AddressClass::Unspecified { AddressClass::Loopback } else { class }
}

impl DenyRule {
    /// Whether this rule, standing before `other`, leaves it nothing to close.
    pub fn covers(&self, other: &Self) -> bool {
        let inside = match (self.cidr, other.cidr) {
            (None, _) => true,
            (Some(own), Some(other)) => own.contains(&other),
            (Some(_), None) => false,
        };
        inside
            && self.class.is_none_or(|own| other.class.is_some_and(|other| here(own) == here(other)))
            && self.ports.covers(&other.ports)
            && self.protocol.covers(other.protocol)
    }

    /// Whether this closes all that `rule` allows.
    pub fn closes(&self, rule: &EgressRule) -> bool {
        let inside = match (self.cidr, &rule.target) {
            (None, _) => true,
            (Some(own), Target::Cidr(network)) => own.contains(network),
            (Some(_), Target::Host(_)) => false,
        };
        inside
            && self.class.is_none_or(|own| here(own) == here(rule.class))
            && self.ports.covers(&rule.ports)
            && self.protocol.covers(rule.protocol)
    }

    /// Whether this closes what `rule` allows, and is about the very same network and ports.
    pub fn contradicts(&self, rule: &EgressRule) -> bool {
        self.closes(rule)
            && matches!((self.cidr, &rule.target), (Some(own), Target::Cidr(network)) if own == *network)
            && rule.ports.covers(&self.ports)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::super::{Destination, ExeName, Protocol, classify_endpoint, normalise};
    use super::*;
    use crate::policy::HostPattern;

    fn ports() -> impl Strategy<Value = Ports> {
        let range = (1_u16..8, 0_u16..4).prop_map(|(from, more)| from..=from + more);
        prop_oneof![Just(Ports::Any), prop::collection::vec(range, 1..4).prop_map(Ports::List)]
    }

    fn protocol() -> impl Strategy<Value = ProtocolMatch> {
        prop::sample::select(&[ProtocolMatch::Tcp, ProtocolMatch::Udp, ProtocolMatch::Any][..])
    }

    fn class() -> impl Strategy<Value = AddressClass> {
        prop::sample::select(&[AddressClass::Public, AddressClass::Private, AddressClass::Loopback][..])
    }

    fn network() -> impl Strategy<Value = IpNet> {
        let nets = ["10.0.0.0/8", "10.0.0.0/31", "10.0.0.1/32", "0.0.0.0/0", "198.51.100.0/24", "127.0.0.0/8"];
        prop::sample::select(nets.to_vec()).prop_map(|text| text.parse().unwrap())
    }

    fn rule() -> impl Strategy<Value = EgressRule> {
        let host = prop::sample::select(vec!["*.example.org", "a.example.org", "*.a.example.org", "b.a.example.org"])
            .prop_map(|text| Target::Host(HostPattern::parse(text).unwrap()));
        let target = prop_oneof![host, network().prop_map(Target::Cidr)];
        let exe = prop::collection::vec(prop::sample::select(vec!["curl", "node"]), 0..3)
            .prop_map(|names| names.into_iter().map(|name| ExeName(name.into())).collect());
        let names = prop_oneof![Just(None), (1_u32..3).prop_map(Some)];
        (target, ports(), protocol(), class(), exe, names, any::<bool>()).prop_map(
            |(target, ports, protocol, class, exe, names, may_carry_secrets)| EgressRule {
                id: "p/egress.allow[0]".into(),
                target,
                ports,
                protocol,
                class,
                exe,
                names,
                may_carry_secrets,
                why: "test".into(),
                source: None,
            },
        )
    }

    fn deny() -> impl Strategy<Value = DenyRule> {
        (prop::option::of(network()), prop::option::of(class()), ports(), protocol()).prop_map(
            |(cidr, class, ports, protocol)| DenyRule {
                id: "p/egress.deny[0]".into(),
                class,
                cidr,
                ports,
                protocol,
                why: "test".into(),
            },
        )
    }

    /// Everything there is to try in the small world of the strategies above.
    fn everywhere(mut each: impl FnMut(IpAddr, AddressClass, &Destination)) {
        let addresses = ["10.0.0.0", "10.0.0.1", "10.9.9.9", "198.51.100.7", "127.0.0.1", "203.0.113.1"];
        let names: Vec<Vec<Arc<str>>> =
            ["", "x.example.org", "a.example.org", "b.a.example.org"].map(|name| vec![name.into()]).to_vec();
        for address in addresses.map(|text| text.parse().unwrap()) {
            for port in 0..14 {
                for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Other(1)] {
                    for exe in [None, Some("/usr/bin/curl"), Some("/usr/bin/node")] {
                        for names in &names {
                            let to = Destination { address, port, protocol, names, exe };
                            each(normalise(address), classify_endpoint(address, port), &to);
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_a_covered_rule_matches_the_covering_one_matches_too(first in rule(), second in rule()) {
            if first.covers(&second) {
                everywhere(|address, class, to| {
                    assert!(!second.matches(address, class, to) || first.matches(address, class, to), "{to:?}");
                });
                prop_assert!(first.may_carry_secrets || !second.may_carry_secrets);
            }
            prop_assert!(first.covers(&first));
        }

        #[test]
        fn what_a_covered_deny_rule_closes_the_covering_one_closes_too(first in deny(), second in deny()) {
            if first.covers(&second) {
                everywhere(|address, class, to| {
                    assert!(!second.matches(address, class, to) || first.matches(address, class, to), "{to:?}");
                });
            }
            prop_assert!(first.covers(&first));
        }

        #[test]
        fn what_a_closed_rule_matches_the_deny_rule_matches_too(rule in rule(), deny in deny()) {
            if deny.closes(&rule) {
                everywhere(|address, class, to| {
                    assert!(!rule.matches(address, class, to) || deny.matches(address, class, to), "{to:?}");
                });
            }
            prop_assert!(!deny.contradicts(&rule) || deny.closes(&rule));
        }
    }
}
