//! The smallest rule that allows one destination, and a rule as a line of a policy file. The only place that makes either.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::{
    AddressClass, DenyRule, Destination, EgressRule, ExeName, Ports, Protocol, ProtocolMatch, Target,
    classify_endpoint, normalise,
};
use crate::policy::HostPattern;

/// What stands for the reason that only a person can give. The linter asks for a better one.
pub const WHY: &str = "…";

/// Port of a host rule that names none.
const HTTPS: u16 = 443;

/// The narrowest rule for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smallest {
    /// The rule; its id is empty, because it stands in no file.
    pub rule: EgressRule,
    /// What it allows besides, where policies have no narrower words.
    pub besides: Option<&'static str>,
}

/// The narrowest rule that covers a destination: its name alone where it has one, else its address alone.
///
/// Which program connects is left out: a name is a weak identity, and whoever pastes the line knows better.
pub fn smallest(destination: &Destination) -> Smallest {
    let address = normalise(destination.address);
    let names = destination.names.iter().filter_map(|name| exact(name));
    let target = names.map(Target::Host).next().unwrap_or_else(|| Target::Cidr(IpNet::from(address)));
    let protocol = match destination.protocol {
        Protocol::Tcp => ProtocolMatch::Tcp,
        Protocol::Udp => ProtocolMatch::Udp,
        Protocol::Other(_) => ProtocolMatch::Any,
    };
    let (ports, besides) = match (destination.protocol, destination.port) {
        (Protocol::Other(_), _) => (Ports::Any, Some("every port over TCP and UDP, and every other IP protocol")),
        (_, 0) => (Ports::Any, Some("every other port")),
        (_, port) => (Ports::one(port), None),
    };
    let rule = EgressRule {
        id: "".into(),
        target,
        ports,
        protocol,
        class: classify_endpoint(address, destination.port),
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: WHY.into(),
        source: None,
    };
    Smallest { rule, besides }
}

/// The rule for a name that was asked for and never reached: port 443, which host rules have unless they say otherwise.
/// `None` for names that no policy can write.
pub fn for_name(name: &str) -> Option<EgressRule> {
    Some(EgressRule {
        id: "".into(),
        target: Target::Host(exact(name)?),
        ports: Ports::one(HTTPS),
        protocol: ProtocolMatch::Tcp,
        class: AddressClass::Public,
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: WHY.into(),
        source: None,
    })
}

/// A name as a rule can have it. A job may ask for names that no policy can write.
fn exact(name: &str) -> Option<HostPattern> {
    HostPattern::parse(name).ok().filter(|pattern| !pattern.is_wildcard())
}

/// A rule as it stands below `egress.allow`, without the `- ` in front; what is the default is left out.
pub fn line(rule: &EgressRule) -> String {
    let is_default = matches!(rule.target, Target::Host(_)) && rule.ports == Ports::one(HTTPS);
    written(rule, !is_default)
}

/// As [`line`], with the ports written out: for rules of somebody who had another default.
pub fn line_with_ports(rule: &EgressRule) -> String {
    written(rule, true)
}

fn written(rule: &EgressRule, has_ports: bool) -> String {
    let mut line = "{ ".to_owned();
    match &rule.target {
        Target::Host(pattern) => drop(write!(line, "host: {}", plain(&pattern.to_string()))),
        Target::Cidr(IpNet::V4(network)) => drop(write!(line, "cidr: {network}")),
        // A colon inside braces begins a value for some readers of YAML.
        Target::Cidr(IpNet::V6(network)) => drop(write!(line, "cidr: \"{network}\"")),
    }
    if has_ports {
        let _ = write!(line, ", ports: {}", rule.ports);
    }
    if rule.protocol != ProtocolMatch::Tcp {
        let _ = write!(line, ", protocol: {}", rule.protocol);
    }
    if rule.class != AddressClass::Public {
        let _ = write!(line, ", class: {}", rule.class);
    }
    if !rule.exe.is_empty() {
        let names: Vec<String> = rule.exe.iter().map(|ExeName(name)| plain(name)).collect();
        let _ = write!(line, ", exe: [{}]", names.join(", "));
    }
    if let Some(names) = rule.names {
        let _ = write!(line, ", names: {names}");
    }
    if rule.may_carry_secrets {
        line.push_str(", may-carry-secrets: true");
    }
    let _ = write!(line, ", why: {} }}", quoted(&rule.why));
    line
}

/// A rule as it stands below `egress.deny`, likewise.
pub fn deny_line(rule: &DenyRule) -> String {
    let mut line = "{ ".to_owned();
    if let Some(class) = rule.class {
        let _ = write!(line, "class: {class}, ");
    }
    if let Some(network) = rule.cidr {
        let _ = write!(line, "cidr: \"{network}\", ");
    }
    let _ = write!(line, "ports: {}", rule.ports);
    if rule.protocol != ProtocolMatch::Any {
        let _ = write!(line, ", protocol: {}", rule.protocol);
    }
    let _ = write!(line, ", why: {} }}", quoted(&rule.why));
    line
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::List(ranges) => {
                let range = |range: &super::PortRange| match (range.start(), range.end()) {
                    (from, to) if from == to => from.to_string(),
                    (from, to) => format!("{from}-{to}"),
                };
                write!(f, "[{}]", ranges.iter().map(range).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Text for a YAML value, quoted unless it is a plain word for every reader.
fn plain(text: &str) -> String {
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_'));
    let means_something = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if is_word && !means_something.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Text in double quotes, as YAML reads it back.
pub fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::config::check::{AllowLine, check};
    use crate::policy::{EgressPolicy, Mode, Verdict};

    /// The rule that a policy file with this line has.
    fn read(line: &str) -> EgressRule {
        let text = format!("version: 1\nname: p\negress:\n  allow:\n    - {line}\n");
        let (draft, problems) = check(Path::new("p.yml"), text.as_bytes());
        assert!(problems.iter().all(|problem| !problem.is_error()), "{line}: {problems:#?}");
        match draft.unwrap().allow.remove(0) {
            AllowLine::Rule(rule) => rule,
            AllowLine::Ecosystem { .. } => panic!("{line}"),
        }
    }

    fn line_for(address: &str, port: u16, protocol: Protocol, names: &[Arc<str>]) -> String {
        let address = address.parse().unwrap();
        line(&smallest(&Destination { address, port, protocol, names, exe: None }).rule)
    }

    #[test]
    fn the_line_says_only_what_is_not_the_default() {
        let names = ["drop.example".into(), "other.example".into()];
        let tcp = Protocol::Tcp;
        assert_eq!(line_for("203.0.113.7", 443, tcp, &names), "{ host: drop.example, why: \"…\" }");
        assert_eq!(line_for("203.0.113.7", 80, tcp, &names), "{ host: drop.example, ports: [80], why: \"…\" }");
        assert_eq!(
            line_for("203.0.113.7", 443, Protocol::Udp, &[]),
            "{ cidr: 203.0.113.7/32, ports: [443], protocol: udp, why: \"…\" }"
        );
        assert_eq!(
            line_for("::ffff:10.0.0.5", 5432, tcp, &[]),
            "{ cidr: 10.0.0.5/32, ports: [5432], class: private, why: \"…\" }"
        );
        assert_eq!(line_for("2001:db8::1", 443, tcp, &[]), "{ cidr: \"2001:db8::1/128\", ports: [443], why: \"…\" }");
        let names = ["not a name".into(), "*.example.org".into(), "null".into()];
        assert_eq!(line_for("203.0.113.7", 443, tcp, &names), "{ host: \"null\", why: \"…\" }");
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            any::<[u8; 4]>().prop_map(|bytes| IpAddr::V6(std::net::Ipv4Addr::from(bytes).to_ipv6_mapped())),
            any::<[u8; 2]>().prop_map(|[c, d]| IpAddr::from([10, 0, c, d])),
            any::<[u8; 4]>()
                .prop_map(|[a, b, c, d]| { IpAddr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]) }),
            prop::sample::select(super::super::class::METADATA).prop_map(|(address, _)| address),
        ]
    }

    fn protocol() -> impl Strategy<Value = Protocol> {
        prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), any::<u8>().prop_map(Protocol::Other)]
    }

    fn port() -> impl Strategy<Value = u16> {
        prop_oneof![Just(0_u16), Just(53_u16), Just(443_u16), any::<u16>()]
    }

    fn names() -> impl Strategy<Value = Vec<Arc<str>>> {
        let name = prop_oneof![
            "[a-z0-9_-]{1,9}(\\.[a-z0-9_-]{1,9}){0,3}",
            "\\PC{0,12}",
            Just("null".to_owned()),
            Just("*.example.org".to_owned()),
            Just("198.51.100.7".to_owned()),
        ];
        prop::collection::vec(name.prop_map(|name| name.to_lowercase().into()), 0..3)
    }

    proptest! {
        #[test]
        fn the_line_read_back_allows_the_destination_and_nothing_else(
            address in address(),
            port in port(),
            protocol in protocol(),
            names in names(),
            other_address in address(),
            other_port in port(),
            other_protocol in protocol(),
        ) {
            let destination = Destination { address, port, protocol, names: &names, exe: None };
            let Smallest { rule, besides } = smallest(&destination);
            let read = read(&line(&rule));
            prop_assert_eq!(&EgressRule { id: read.id.clone(), ..rule }, &read);
            let policy = EgressPolicy { allow: vec![read.clone()], ..EgressPolicy::default() };
            let ruling = policy.judge(Mode::Block, &destination);
            prop_assert_eq!((ruling.verdict, ruling.rule.as_deref()), (Verdict::Allowed, Some(&*read.id)));

            let is_ours = |to: &Destination| {
                policy.judge(Mode::Block, to).rule.as_deref() == Some(&*read.id)
            };
            if besides.is_none() {
                prop_assert_eq!(is_ours(&Destination { port: other_port, ..destination }), other_port == port);
                let other = Destination { protocol: other_protocol, ..destination };
                prop_assert_eq!(is_ours(&other), other_protocol == protocol);
            }
            let elsewhere = Destination { address: other_address, names: &[], ..destination };
            let same = matches!(read.target, Target::Cidr(_)) && normalise(other_address) == normalise(address);
            prop_assert_eq!(is_ours(&elsewhere), same);
            let renamed = ["somebody.else.example".into()];
            let is_named = matches!(read.target, Target::Host(_));
            prop_assert_eq!(is_ours(&Destination { names: &renamed, ..destination }), !is_named);
            // A name never opens another class of address.
            let other_class = classify_endpoint(other_address, port) != read.class;
            let there = is_ours(&Destination { address: other_address, ..destination });
            prop_assert!(!(other_class && there));
        }

        #[test]
        fn any_rule_is_read_back_as_it_was(
            why in "\\PC{1,20}",
            exe in prop::collection::vec("[a-z0-9.+-]{1,8}", 0..3),
            ports in prop_oneof![
                Just(Ports::Any),
                prop::collection::vec((1_u16..=9000, 0_u16..50).prop_map(|(from, more)| from..=from + more), 1..3)
                    .prop_map(Ports::List),
            ],
            wildcard: bool,
            budget in prop::option::of(1_u32..100),
            may_carry_secrets: bool,
        ) {
            prop_assume!(!why.trim().is_empty());
            let host = if wildcard { "*.example.org" } else { "a.example.org" };
            let rule = EgressRule {
                id: "p/egress.allow[0]".into(),
                target: Target::Host(HostPattern::parse(host).unwrap()),
                ports,
                protocol: ProtocolMatch::Any,
                class: AddressClass::Private,
                exe: exe.into_iter().map(|name| ExeName(name.as_str().into())).collect(),
                names: budget.filter(|_| wildcard),
                may_carry_secrets,
                why: why.as_str().into(),
                source: None,
            };
            prop_assert_eq!(&read(&line_with_ports(&rule)), &rule);
            prop_assert_eq!(read(&line(&rule)), rule);
        }
    }
}
