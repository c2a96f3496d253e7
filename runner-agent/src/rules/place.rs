//! Under which keys of the rule map a rule stands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use runner_agent_common::address::class;
use runner_agent_common::decide::{FAMILY_V4, FAMILY_V6, IPPROTO_TCP, IPPROTO_UDP};
use runner_agent_common::egress::{Alternative, RuleKey, job_flag};

use super::key_bits;
use crate::policy::AddressClass;
use crate::policy::egress::{DenyRule, Ports, ProtocolMatch};

/// A range of at most so many ports stands under each of them; a longer one under "any port", with its ends beside it.
const SPREAD: u16 = 16;

/// Everything of a key but job and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    family: u8,
    protocol: u8,
    port: u16,
}

impl Group {
    /// Prefix length in bits, and key.
    pub(super) fn key(self, job: u32, network: IpNet) -> (u32, RuleKey) {
        let mut address = [0; 16];
        match network.network() {
            IpAddr::V4(four) => address[..4].copy_from_slice(&four.octets()),
            IpAddr::V6(six) => address = six.octets(),
        }
        let Self { family, protocol, port } = self;
        (key_bits(network.prefix_len()), RuleKey { job, family, protocol, port: port.to_be_bytes(), address })
    }
}

/// The address of a key.
pub(super) fn address_of(key: &RuleKey) -> IpAddr {
    let [a, b, c, d, ..] = key.address;
    if key.family == FAMILY_V4 { Ipv4Addr::new(a, b, c, d).into() } else { Ipv6Addr::from(key.address).into() }
}

/// A protocol and ports, as a key can say them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    protocol: u8,
    port: u16,
    /// First port that is meant.
    pub(super) low: u16,
    /// Last port that is meant.
    pub(super) high: u16,
}

impl Place {
    pub(super) fn group(self, address: IpAddr) -> Group {
        let family = if address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
        Group { family, protocol: self.protocol, port: self.port }
    }

    /// The bit of [`job_flag`] that makes the kernel side look there.
    pub(super) fn flag(self) -> u32 {
        match (self.protocol, self.port) {
            (0, 0) => job_flag::ANYTHING,
            (0, _) => job_flag::ANY_PROTOCOL,
            (_, 0) => job_flag::ANY_PORT,
            _ => 0,
        }
    }
}

/// Where a rule with this protocol and these ports stands.
pub(super) fn of(protocol: ProtocolMatch, ports: &Ports) -> Vec<Place> {
    let protocol = match protocol {
        ProtocolMatch::Tcp => IPPROTO_TCP,
        ProtocolMatch::Udp => IPPROTO_UDP,
        ProtocolMatch::Any => 0,
    };
    let ranges = match ports {
        Ports::Any => return vec![Place { protocol, port: 0, low: 0, high: u16::MAX }],
        Ports::List(ranges) => ranges,
    };
    let mut places = Vec::new();
    for range in ranges {
        let (low, high) = (*range.start(), *range.end());
        if high - low < SPREAD {
            places.extend(range.clone().map(|port| Place { protocol, port, low: 0, high: u16::MAX }));
        } else {
            places.push(Place { protocol, port: 0, low, high });
        }
    }
    places
}

/// The networks that a deny rule closes, each with the class that it means there.
pub(super) fn denied(rule: &DenyRule) -> Vec<(IpNet, u8)> {
    let classes = match rule.class {
        None => vec![class::ANY],
        // Linux connects the unspecified address to this machine: who closes one closes both.
        Some(AddressClass::Loopback | AddressClass::Unspecified) => vec![class::LOOPBACK, class::UNSPECIFIED],
        Some(own) => vec![own.code()],
    };
    let everything = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let networks = match rule.cidr {
        Some(network) => vec![network],
        None => everything.map(|zero| IpNet::new_assert(zero, 0)).to_vec(),
    };
    networks.iter().flat_map(|&network| classes.iter().map(move |&class| (network, class))).collect()
}

/// Whether the ports of the later rule are among those of the earlier.
pub(super) fn contains_ports(earlier: &Alternative, later: &Alternative) -> bool {
    earlier.port_low <= later.port_low && earlier.port_high >= later.port_high
}
