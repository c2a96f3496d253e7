//! Random floors and policies over them: what the narrowed policy allows, the floor allows.

use std::sync::Arc;

use proptest::prelude::*;

use super::{allowing, to};
use crate::policy::egress::{DenyRule, EgressRule, ExeName, Ports, Protocol, ProtocolMatch};
use crate::policy::narrow::{Narrowed, narrow};
use crate::policy::{AddressClass, Destination, Mode, Policy, Verdict};

fn rule() -> impl Strategy<Value = EgressRule> {
    let targets = [
        "*.example.org",
        "a.example.org",
        "*.a.example.org",
        "b.a.example.org",
        "198.51.100.0/24",
        "198.51.100.7/32",
        "10.0.0.0/8",
        "10.0.0.1/32",
        "0.0.0.0/0",
        "127.0.0.0/8",
    ];
    let ports = prop_oneof![
        Just(Ports::Any),
        prop::collection::vec((1_u16..8, 0_u16..5).prop_map(|(from, more)| from..=from + more), 1..3)
            .prop_map(Ports::List),
    ];
    let protocol = prop::sample::select(&[ProtocolMatch::Tcp, ProtocolMatch::Udp, ProtocolMatch::Any][..]);
    let class = prop::sample::select(&[AddressClass::Public, AddressClass::Public, AddressClass::Private][..]);
    let exe = prop::collection::vec(prop::sample::select(vec!["curl", "node"]), 0..3)
        .prop_map(|names| names.into_iter().map(|name| ExeName(name.into())).collect::<Vec<_>>());
    (prop::sample::select(targets.to_vec()), ports, protocol, class, exe, any::<bool>()).prop_map(
        |(target, ports, protocol, class, exe, may_carry_secrets)| EgressRule {
            protocol,
            class,
            exe,
            may_carry_secrets,
            ..to(target, ports)
        },
    )
}

fn deny() -> impl Strategy<Value = DenyRule> {
    let network = prop::sample::select(vec!["10.0.0.0/31", "198.51.100.0/24", "127.0.0.0/8"]);
    (prop::option::of(network), 1_u16..12).prop_map(|(network, port)| DenyRule {
        id: "p/egress.deny[0]".into(),
        class: None,
        cidr: network.map(|text| text.parse().unwrap()),
        ports: Ports::one(port),
        protocol: ProtocolMatch::Any,
        why: "test".into(),
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = (prop::collection::vec(rule(), 0..4), prop::collection::vec(deny(), 0..2));
    rules.prop_map(|(allow, deny)| {
        let mut policy = allowing(allow);
        policy.egress.deny = deny;
        policy
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 400_000, ..ProptestConfig::default() })]

    #[test]
    fn what_the_narrowed_policy_allows_the_floor_allows(
        floor in policy(),
        asked in prop::collection::vec((any::<prop::sample::Index>(), rule(), 0..8_u8), 0..4),
        closed in prop::collection::vec(deny(), 0..2),
    ) {
        // Half of what is asked for is made of the floor's own rules, or nearly, so that it often lies within them.
        let made = asked.iter().map(|(index, other, choice)| {
            let Some(own) = floor.egress.allow.get(index.index(floor.egress.allow.len().max(1))) else {
                return other.clone();
            };
            let mut rule = own.clone();
            match choice {
                0 => rule = other.clone(),
                1 => rule.target = other.target.clone(),
                2 => rule.ports = other.ports.clone(),
                3 => rule.protocol = other.protocol,
                4 => rule.exe.clone_from(&other.exe),
                5 => rule.may_carry_secrets = other.may_carry_secrets,
                6 => rule.class = other.class,
                _ => {}
            }
            rule
        });
        let mut wanted = allowing(made);
        wanted.egress.deny = closed;
        let Ok(Narrowed { policy, .. }) = narrow(&floor, wanted) else {
            return Ok(());
        };
        let names: Vec<Vec<Arc<str>>> =
            ["", "x.example.org", "a.example.org", "b.a.example.org"].map(|name| vec![name.into()]).to_vec();
        for address in ["10.0.0.1", "10.9.9.9", "198.51.100.7", "198.51.100.9", "127.0.0.1", "203.0.113.1"] {
            for port in 0..14 {
                for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Other(1)] {
                    for exe in [None, Some("/usr/bin/curl"), Some("/usr/bin/node")] {
                        for names in &names {
                            let address = address.parse().unwrap();
                            let destination = Destination { address, port, protocol, names, exe };
                            let narrowed = policy.egress.judge(Mode::Block, &destination);
                            let by_floor = floor.egress.judge(Mode::Block, &destination);
                            if narrowed.verdict == Verdict::Allowed {
                                prop_assert_eq!(by_floor.verdict, Verdict::Allowed, "{:?}", destination);
                                prop_assert!(by_floor.may_carry_secrets || !narrowed.may_carry_secrets, "{:?}", destination);
                            }
                        }
                    }
                }
            }
        }
        for name in names.iter().flatten() {
            prop_assert!(policy.egress.rule_for_name(name).is_none() || floor.egress.rule_for_name(name).is_some());
        }
    }

    #[test]
    fn a_floor_narrowed_by_itself_is_itself(floor in policy()) {
        let narrowed = narrow(&floor, floor.clone()).unwrap().policy;
        prop_assert_eq!(narrowed.egress, floor.egress);
    }
}
