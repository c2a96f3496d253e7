use super::*;
use crate::policy::HostPattern;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rule(id: &str, target: Target) -> EgressRule {
    EgressRule {
        id: id.into(),
        target,
        ports: Ports::one(443),
        protocol: ProtocolMatch::Tcp,
        class: AddressClass::Public,
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: "test".into(),
        source: None,
    }
}

fn host(id: &str, pattern: &str) -> EgressRule {
    rule(id, Target::Host(HostPattern::parse(pattern).unwrap()))
}

fn cidr(id: &str, network: &str) -> EgressRule {
    EgressRule { ports: Ports::Any, protocol: ProtocolMatch::Any, ..rule(id, Target::Cidr(network.parse().unwrap())) }
}

fn to<'a>(address: &str, port: u16, names: &'a [Arc<str>]) -> Destination<'a> {
    Destination { address: ip(address), port, protocol: Protocol::Tcp, names, exe: None }
}

fn judged(policy: &EgressPolicy, destination: &Destination) -> (Verdict, String) {
    let ruling = policy.judge(Mode::Block, destination);
    (ruling.verdict, ruling.rule.map_or("default".to_owned(), |rule| rule.to_string()))
}

#[test]
fn every_class_has_its_addresses() {
    use AddressClass::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Unspecified};
    for (address, class) in [
        ("198.51.100.7", Public),
        ("2001:db8::1", Public),
        ("127.0.0.53", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("10.1.2.3", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("192.168.0.1", Private),
        ("100.64.0.1", Private),
        ("100.128.0.1", Public),
        ("fd12::1", Private),
        ("fc00::1", Private),
        ("::ffff:10.0.0.1", Private),
        ("64:ff9b::10.0.0.1", Private),
        ("64:ff9b::198.51.100.7", Public),
        ("169.254.1.1", LinkLocal),
        ("169.254.169.253", LinkLocal),
        ("fe80::1", LinkLocal),
        ("169.254.169.254", Metadata),
        ("::ffff:169.254.169.254", Metadata),
        ("64:ff9b::169.254.169.254", Metadata),
        ("168.63.129.16", Metadata),
        ("100.100.100.200", Metadata),
        ("169.254.170.2", Metadata),
        ("169.254.170.23", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd00:ec2::253", Private),
        ("fd20:ce::254", Metadata),
        ("fd00:c1::a9fe:a9fe", Metadata),
        ("fe80::a9fe:a9fe", Metadata),
        ("224.0.0.251", Multicast),
        ("255.255.255.255", Multicast),
        ("ff02::fb", Multicast),
        ("0.0.0.0", Unspecified),
        ("::", Unspecified),
    ] {
        assert_eq!(classify(ip(address)), class, "{address}");
    }
    assert_eq!(classify_endpoint(ip("168.63.129.16"), 53), LinkLocal);
    assert_eq!(classify_endpoint(ip("168.63.129.16"), 80), Metadata);
}

#[test]
fn a_network_knows_the_classes_inside_it() {
    use AddressClass::{LinkLocal, Loopback, Metadata, Private, Public};
    let classes = |text: &str| classes_of(text.parse().unwrap());
    assert_eq!(classes("10.20.0.0/16"), [Private]);
    assert_eq!(classes("198.51.100.0/24"), [Public]);
    assert_eq!(classes("168.63.129.16/32"), [Metadata]);
    assert_eq!(classes("168.63.129.0/24"), [Public, Metadata]);
    assert_eq!(classes("169.254.0.0/16"), [LinkLocal, Metadata]);
    assert_eq!(classes("127.0.0.0/8"), [Loopback]);
    assert!(classes("0.0.0.0/0").contains(&Private) && classes("0.0.0.0/0").contains(&Public));
    assert_eq!(classes("fd00::/8"), [Private, Metadata]);
    assert!(classes("::/0").contains(&Metadata));
}

#[test]
fn nothing_is_allowed_without_a_rule_but_loopback_and_the_resolvers() {
    let policy = EgressPolicy { resolvers: vec![ip("168.63.129.16")], ..EgressPolicy::default() };
    assert_eq!(judged(&policy, &to("198.51.100.7", 443, &[])), (Verdict::Blocked, "default".into()));
    assert_eq!(judged(&policy, &to("127.0.0.1", 8080, &[])), (Verdict::Allowed, "loopback".into()));
    assert_eq!(judged(&policy, &to("0.0.0.0", 8080, &[])), (Verdict::Allowed, "loopback".into()));
    assert_eq!(judged(&policy, &to("168.63.129.16", 53, &[])), (Verdict::Allowed, "resolver".into()));
    assert_eq!(judged(&policy, &to("168.63.129.16", 80, &[])), (Verdict::Blocked, "default".into()));
    assert_eq!(judged(&policy, &to("203.0.113.53", 53, &[])), (Verdict::Blocked, "default".into()));
    assert_eq!(policy.judge(Mode::Audit, &to("198.51.100.7", 443, &[])).verdict, Verdict::Audited);
}

#[test]
fn a_closed_port_wins_over_loopback_and_over_every_rule() {
    let policy = EgressPolicy {
        deny: vec![DenyRule {
            id: "p/egress.deny[0]".into(),
            class: Some(AddressClass::Loopback),
            cidr: None,
            ports: Ports::one(2375),
            protocol: ProtocolMatch::Any,
            why: "test".into(),
        }],
        allow: vec![EgressRule { class: AddressClass::Loopback, ..cidr("p/egress.allow[0]", "127.0.0.0/8") }],
        ..EgressPolicy::default()
    };
    for address in ["127.0.0.1", "::1", "::ffff:127.9.9.9", "0.0.0.0", "::"] {
        assert_eq!(
            judged(&policy, &to(address, 2375, &[])),
            (Verdict::Blocked, "p/egress.deny[0]".into()),
            "{address}"
        );
        assert_eq!(policy.judge(Mode::Block, &to(address, 2376, &[])).verdict, Verdict::Allowed, "{address}");
    }
}

#[test]
fn a_rule_names_host_port_protocol_and_program_and_all_must_fit() {
    let mut allow = host("p/egress.allow[0]", "mirror.example.org");
    allow.exe = vec![ExeName("node".into())];
    let policy = EgressPolicy { allow: vec![allow], ..EgressPolicy::default() };
    let names = ["mirror.example.org".into()];
    let good = Destination { exe: Some("/usr/bin/node"), ..to("198.51.100.7", 443, &names) };
    assert_eq!(judged(&policy, &good), (Verdict::Allowed, "p/egress.allow[0]".into()));
    let other = ["other.example.org".into()];
    for bad in [
        Destination { port: 444, ..good },
        Destination { protocol: Protocol::Udp, ..good },
        Destination { protocol: Protocol::Other(132), ..good },
        Destination { exe: Some("/usr/bin/curl"), ..good },
        Destination { exe: None, ..good },
        Destination { names: &[], ..good },
        Destination { names: &other, ..good },
        Destination { address: ip("10.0.0.7"), ..good },
        Destination { address: ip("169.254.169.254"), ..good },
    ] {
        assert_eq!(judged(&policy, &bad), (Verdict::Blocked, "default".into()), "{bad:?}");
    }
}

#[test]
fn a_network_rule_for_any_port_and_protocol_covers_protocols_without_ports() {
    let policy = EgressPolicy { allow: vec![cidr("r", "198.51.100.0/24")], ..EgressPolicy::default() };
    let ping = Destination { protocol: Protocol::Other(1), ..to("198.51.100.7", 0, &[]) };
    assert_eq!(judged(&policy, &ping).0, Verdict::Allowed);
    assert_eq!(judged(&policy, &Destination { address: ip("192.0.2.1"), ..ping }).0, Verdict::Blocked);
}

#[test]
fn the_first_rule_is_named_and_any_rule_that_matches_may_let_secrets_pass() {
    let carrying = EgressRule { may_carry_secrets: true, ..host("second", "mirror.example.org") };
    let policy = EgressPolicy { allow: vec![host("first", "*.example.org"), carrying], ..EgressPolicy::default() };
    let names = ["mirror.example.org".into()];
    let ruling = policy.judge(Mode::Block, &to("198.51.100.7", 443, &names));
    assert_eq!((ruling.rule.as_deref(), ruling.may_carry_secrets), (Some("first"), true));
    let names = ["other.example.org".into()];
    assert!(!policy.judge(Mode::Block, &to("198.51.100.7", 443, &names)).may_carry_secrets);
}

#[test]
fn the_nearest_rule_comes_first_and_says_what_differed() {
    let exe = EgressRule { exe: vec![ExeName("node".into())], ..host("exe", "mirror.example.org") };
    let far = EgressRule { protocol: ProtocolMatch::Udp, ..exe.clone() };
    let allow = vec![
        host("other", "unrelated.example"),
        host("sibling", "other.example.org"),
        host("below", "*.mirror.example.org"),
        EgressRule { id: "two".into(), ..far },
        exe,
        cidr("network", "203.0.113.0/24"),
    ];
    let policy = EgressPolicy { allow, ..EgressPolicy::default() };
    let names = ["mirror.example.org".into()];
    let curl = Destination { exe: Some("/usr/bin/curl"), ..to("198.51.100.7", 443, &names) };
    let near = policy.near(&curl, 9);
    let told: Vec<(&str, String)> = near.misses.iter().map(|miss| (&*miss.rule.id, miss.because.join("; "))).collect();
    assert_eq!(
        told,
        [
            ("exe", "it is for node, not curl".to_owned()),
            ("two", "it is for udp, not tcp; it is for node, not curl".to_owned()),
            ("sibling", "it is for other.example.org, not mirror.example.org".to_owned()),
            (
                "below",
                "*.mirror.example.org means the names below mirror.example.org, never mirror.example.org itself"
                    .to_owned()
            ),
        ]
    );
    let near = policy.near(&to("198.51.100.7", 443, &[]), 9);
    assert_eq!((near.misses.len(), near.unnamed.len()), (0, 3));
    assert_eq!(policy.rule_for_name("a.mirror.example.org").map(|rule| &*rule.id), Some("below"));
    assert_eq!(policy.near_name("example.org", 9).len(), 4);
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<[u8; 4]>().prop_map(|bytes| IpAddr::V6(std::net::Ipv4Addr::from(bytes).to_ipv6_mapped())),
        any::<[u8; 2]>().prop_map(|[c, d]| IpAddr::from([10, 0, c, d])),
        any::<[u8; 2]>().prop_map(|[c, d]| IpAddr::from([169, 254, c, d])),
        prop::sample::select(class::METADATA).prop_map(|(address, _)| address),
    ]
}

proptest! {
    #[test]
    fn a_mapped_address_has_the_class_of_the_address_it_maps(bytes: [u8; 4], port: u16) {
        let plain = std::net::Ipv4Addr::from(bytes);
        prop_assert_eq!(
            classify_endpoint(plain.into(), port),
            classify_endpoint(plain.to_ipv6_mapped().into(), port)
        );
    }

    #[test]
    fn a_rule_matches_exactly_what_it_does_not_differ_from(
        address in address(),
        port in 0_u16..4,
        protocol in prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Other(1)]),
        named: bool,
        exe in prop::option::of(prop::sample::select(vec!["/usr/bin/curl", "/usr/bin/node"])),
        ports in prop_oneof![Just(Ports::Any), Just(Ports::one(2))],
        wide in prop::sample::select(vec![ProtocolMatch::Tcp, ProtocolMatch::Any]),
        class in prop::sample::select(vec![AddressClass::Public, AddressClass::Private, AddressClass::LinkLocal]),
        by_name: bool,
        only_node: bool,
    ) {
        let mut rule = if by_name { host("r", "a.example.org") } else { cidr("r", "10.0.0.0/8") };
        (rule.ports, rule.protocol, rule.class) = (ports, wide, class);
        rule.exe = if only_node { vec![ExeName("node".into())] } else { Vec::new() };
        let names: &[Arc<str>] = if named { &["a.example.org".into()] } else { &[] };
        let to = Destination { address, port, protocol, names, exe };
        let matches = rule.matches(normalise(address), classify_endpoint(address, port), &to);
        prop_assert_eq!(rule.differences(&to).is_empty(), matches);
    }

    #[test]
    fn an_empty_policy_allows_only_what_stays_on_the_machine(address in address(), port: u16) {
        let destination = Destination { address, port, protocol: Protocol::Tcp, names: &[], exe: None };
        let ruling = EgressPolicy::default().judge(Mode::Block, &destination);
        let local = matches!(ruling.class, AddressClass::Loopback | AddressClass::Unspecified);
        prop_assert_eq!(ruling.verdict == Verdict::Allowed, local);
        prop_assert_eq!(ruling.rule.is_none(), !local);
    }

    #[test]
    fn an_address_that_is_not_public_needs_a_rule_of_its_class(address in address(), port: u16) {
        let names = ["a.example.org".into()];
        let mut wide = host("host", "*.example.org");
        wide.ports = Ports::Any;
        wide.protocol = ProtocolMatch::Any;
        let policy = EgressPolicy {
            allow: vec![wide, cidr("v4", "0.0.0.0/0"), cidr("v6", "::/0")],
            ..EgressPolicy::default()
        };
        let destination = Destination { address, port, protocol: Protocol::Udp, names: &names, exe: None };
        let ruling = policy.judge(Mode::Block, &destination);
        match ruling.class {
            AddressClass::Public => prop_assert_eq!(ruling.verdict, Verdict::Allowed),
            AddressClass::Loopback | AddressClass::Unspecified => {
                prop_assert_eq!(ruling.rule.as_deref(), Some(LOOPBACK_RULE));
            }
            _ => {
                prop_assert_eq!(ruling.verdict, Verdict::Blocked);
                prop_assert!(!ruling.may_carry_secrets);
            }
        }
    }

    #[test]
    fn the_classes_of_a_network_include_those_of_its_addresses(address in address(), length in 0_u8..=128) {
        let address = normalise(address);
        let length = if address.is_ipv4() { length % 33 } else { length };
        let network = ipnet::IpNet::new(address, length).unwrap().trunc();
        // A translated address has the class of what it translates to, which no prefix of IPv6 tells.
        prop_assume!(!matches!(address, IpAddr::V6(v6) if v6.segments()[..2] == [0x64, 0xff9b]));
        prop_assert!(classes_of(network).contains(&classify(address)), "{network} {:?}", classes_of(network));
    }
}
