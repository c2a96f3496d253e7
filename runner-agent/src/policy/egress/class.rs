//! What kind of place an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use runner_agent_common::address;

use crate::policy::words;

/// What kind of place an address is. Only [`AddressClass::Public`] is ever meant by a rule that names no class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// The internet.
    #[default]
    Public,
    /// The machine itself.
    Loopback,
    /// Networks of the operator: RFC 1918, shared address space, unique-local, and what is assigned to no public use.
    Private,
    /// The local link, and services a cloud answers on the host itself (its DNS).
    LinkLocal,
    /// Where a cloud hands out the machine's credentials.
    Metadata,
    /// Many receivers at once, broadcast included.
    Multicast,
    /// `0.0.0.0` and `::`; Linux connects them to the machine itself.
    Unspecified,
}

words!(AddressClass, "public, loopback, private, link-local, metadata, multicast, unspecified", {
    AddressClass::Public => "public",
    AddressClass::Loopback => "loopback",
    AddressClass::Private => "private",
    AddressClass::LinkLocal => "link-local",
    AddressClass::Metadata => "metadata",
    AddressClass::Multicast => "multicast",
    AddressClass::Unspecified => "unspecified",
});

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// An IPv6 address by its first and its last segments, all between them zero.
const fn v6(head: [u16; 3], tail: [u16; 2]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(head[0], head[1], head[2], 0, 0, 0, tail[0], tail[1]))
}

/// Addresses on which clouds hand out credentials, each with who answers there. Source: the providers' documentation of
/// their instance metadata services. Port 53 of the same address is that cloud's DNS (see [`classify_endpoint`]).
///
/// Not here, on purpose: neighbours that serve only DNS (169.254.169.253, fd00:ec2::253, 169.254.20.10) or time
/// (169.254.169.123); their natural class keeps them closed. Services on loopback (a managed identity on 40342) can't be
/// told by their address; a policy closes their ports with `egress.deny`.
pub const METADATA: &[(IpAddr, &str)] = &[
    (v4(169, 254, 169, 254), "instance metadata of most clouds"),
    (v6([0xfd00, 0x0ec2, 0], [0, 0x254]), "AWS EC2"),
    (v4(169, 254, 170, 2), "AWS ECS task role"),
    (v4(169, 254, 170, 23), "AWS EKS pod identity"),
    (v6([0xfd00, 0x0ec2, 0], [0, 0x23]), "AWS EKS pod identity"),
    (v4(168, 63, 129, 16), "Azure WireServer"),
    (v4(169, 254, 169, 252), "Google GKE metadata server"),
    (v6([0xfd20, 0x00ce, 0], [0, 0x254]), "Google Compute Engine"),
    (v6([0xfd00, 0x00c1, 0], [0xa9fe, 0xa9fe]), "Oracle Cloud"),
    (v4(192, 0, 0, 192), "Oracle Cloud Classic"),
    (v4(100, 100, 100, 200), "Alibaba Cloud"),
    (v6([0xfd00, 0x0100, 0], [0x100, 0x200]), "Alibaba Cloud"),
    (v4(169, 254, 0, 23), "Tencent Cloud"),
    (v4(100, 96, 0, 96), "Volcengine"),
    (v4(169, 254, 42, 42), "Scaleway"),
    (v6([0xfd00, 0x0042, 0], [0, 0x42]), "Scaleway"),
    (v6([0xfd00, 0xa9fe, 0xa9fe], [0, 1]), "Linode"),
    (v6([0xfe80, 0, 0], [0xa9fe, 0xa9fe]), "OpenStack"),
    (v4(169, 254, 169, 250), "Rancher"),
];

impl AddressClass {
    /// From the contract's number for it.
    fn from_code(code: u8) -> Self {
        match code {
            address::class::LOOPBACK => Self::Loopback,
            address::class::PRIVATE => Self::Private,
            address::class::LINK_LOCAL => Self::LinkLocal,
            address::class::METADATA => Self::Metadata,
            address::class::MULTICAST => Self::Multicast,
            address::class::UNSPECIFIED => Self::Unspecified,
            _ => Self::Public,
        }
    }

    /// The contract's number for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Public => address::class::PUBLIC,
            Self::Loopback => address::class::LOOPBACK,
            Self::Private => address::class::PRIVATE,
            Self::LinkLocal => address::class::LINK_LOCAL,
            Self::Metadata => address::class::METADATA,
            Self::Multicast => address::class::MULTICAST,
            Self::Unspecified => address::class::UNSPECIFIED,
        }
    }
}

/// The contract's networks with their classes; those of one address first match wins.
fn special_networks() -> Vec<(IpNet, AddressClass)> {
    let four = address::V4.iter().map(|&(network, length, class)| {
        (IpNet::new_assert(Ipv4Addr::from_bits(network).into(), length as u8), AddressClass::from_code(class))
    });
    let six = address::V6.iter().map(|&(first, length, class)| {
        let network = Ipv6Addr::from_bits(u128::from(first) << 96);
        (IpNet::new_assert(network.into(), length as u8), AddressClass::from_code(class))
    });
    let single = [(0, AddressClass::Unspecified), (1, AddressClass::Loopback)]
        .map(|(bits, class)| (IpNet::from(IpAddr::V6(Ipv6Addr::from_bits(bits))), class));
    four.chain(single).chain(six).collect()
}

/// The address that is really meant: IPv4-mapped IPv6 is IPv4.
pub fn normalise(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The class of an address as such: the strictest that any of its ports has.
pub fn classify(address: IpAddr) -> AddressClass {
    classify_endpoint(address, 0)
}

/// The class of an address and port. Port 53 of a metadata address is that cloud's DNS and counts as link-local: still
/// closed to names and broad networks, open when it is the configured resolver, and no credential is to be had there.
pub fn classify_endpoint(address: IpAddr, port: u16) -> AddressClass {
    AddressClass::from_code(match normalise(address) {
        IpAddr::V4(address) => address::classify_v4(address.to_bits(), port),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            address::classify_v6([96, 64, 32, 0].map(|shift| (bits >> shift) as u32), port)
        }
    })
}

/// The classes that addresses of a network have, without repetition, [`AddressClass::Public`] included if there is any.
///
/// For messages about a CIDR rule that could never match, or that should say its class.
pub fn classes_of(network: IpNet) -> Vec<AddressClass> {
    let mut classes = Vec::new();
    let mut add = |class| {
        if !classes.contains(&class) {
            classes.push(class);
        }
    };
    // Every special network that overlaps contributes; the ends decide whether anything else is left.
    add(classify(network.network()));
    add(classify(network.broadcast()));
    let special = special_networks()
        .into_iter()
        .chain(METADATA.iter().map(|(address, _)| (IpNet::from(*address), AddressClass::Metadata)));
    let mut inside_special = false;
    for (known, class) in special {
        if network.contains(&known) || known.contains(&network) {
            add(class);
        }
        inside_special |= known.contains(&network);
    }
    if inside_special || (network.prefix_len() == network.max_prefix_len()) {
        classes.retain(|class| *class != AddressClass::Public || classify(network.network()) == AddressClass::Public);
    } else if !classes.contains(&AddressClass::Public) {
        classes.push(AddressClass::Public);
    }
    classes.sort_unstable();
    classes
}
