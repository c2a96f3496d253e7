//! What kind of place an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

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

/// IPv4 networks that are not the internet, first match wins. Source: IANA special-purpose address registry, but the
/// documentation networks (192.0.2.0/24, …) stay public: nothing answers there, and examples use them as the internet.
const V4: &[(u32, u32, AddressClass)] = &[
    (0x0000_0000, 8, AddressClass::Unspecified),
    (0x7f00_0000, 8, AddressClass::Loopback),
    (0x0a00_0000, 8, AddressClass::Private),
    (0xac10_0000, 12, AddressClass::Private),
    (0xc0a8_0000, 16, AddressClass::Private),
    (0x6440_0000, 10, AddressClass::Private),
    (0xa9fe_0000, 16, AddressClass::LinkLocal),
    (0xc000_0000, 24, AddressClass::Private),
    (0xc612_0000, 15, AddressClass::Private),
    (0xe000_0000, 4, AddressClass::Multicast),
    (0xffff_ffff, 32, AddressClass::Multicast),
    (0xf000_0000, 4, AddressClass::Private),
];

/// IPv6 networks that are not the internet, by their leading bits.
const V6: &[(u128, u32, AddressClass)] = &[
    (0, 128, AddressClass::Unspecified),
    (1, 128, AddressClass::Loopback),
    (0xfc00 << 112, 7, AddressClass::Private),
    (0xfe80 << 112, 10, AddressClass::LinkLocal),
    (0xfec0 << 112, 10, AddressClass::Private),
    (0xff00 << 112, 8, AddressClass::Multicast),
];

/// The address that is really meant: IPv4-mapped IPv6 is IPv4.
pub fn normalise(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The class of an address as such: the strictest that any of its ports has.
pub fn classify(address: IpAddr) -> AddressClass {
    let address = normalise(address);
    if METADATA.iter().any(|(known, _)| *known == address) {
        return AddressClass::Metadata;
    }
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            // RFC 6052: a translator turns the last four bytes into an IPv4 destination, which then decides.
            if bits >> 32 == 0x0064_ff9b_u128 << 64 {
                return classify(IpAddr::V4(Ipv4Addr::from_bits(bits as u32)));
            }
            V6.iter()
                .find(|(network, length, _)| (bits ^ network) >> (128 - length) == 0)
                .map_or(AddressClass::Public, |&(_, _, class)| class)
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    V4.iter()
        .find(|(network, length, _)| (address.to_bits() ^ network) >> (32 - length) == 0)
        .map_or(AddressClass::Public, |&(_, _, class)| class)
}

/// The class of an address and port. Port 53 of a metadata address is that cloud's DNS and counts as link-local: still
/// closed to names and broad networks, open when it is the configured resolver, and no credential is to be had there.
pub fn classify_endpoint(address: IpAddr, port: u16) -> AddressClass {
    match classify(address) {
        AddressClass::Metadata if port == super::DNS_PORT => AddressClass::LinkLocal,
        class => class,
    }
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
    let (bits, size) = match network {
        IpNet::V4(net) => (u128::from(net.network().to_bits()), 32),
        IpNet::V6(net) => (net.network().to_bits(), 128),
    };
    let mut special = |start: u128, length: u32, class: AddressClass| {
        let common = length.min(u32::from(network.prefix_len()));
        if common == 0 || (bits ^ start) >> (size - common) == 0 {
            add(class);
        }
    };
    for (address, _) in METADATA {
        match (address, network) {
            (IpAddr::V4(address), IpNet::V4(_)) => special(address.to_bits().into(), 32, AddressClass::Metadata),
            (IpAddr::V6(address), IpNet::V6(_)) => special(address.to_bits(), 128, AddressClass::Metadata),
            _ => {}
        }
    }
    match network {
        IpNet::V4(_) => V4.iter().for_each(|&(start, length, class)| special(start.into(), length, class)),
        IpNet::V6(_) => V6.iter().for_each(|&(start, length, class)| special(start, length, class)),
    }
    let inside_special = match network {
        IpNet::V4(net) => V4.iter().any(|&(start, length, _)| {
            length <= u32::from(net.prefix_len()) && (net.network().to_bits() ^ start) >> (32 - length) == 0
        }),
        IpNet::V6(net) => V6.iter().any(|&(start, length, _)| {
            length <= u32::from(net.prefix_len()) && (net.network().to_bits() ^ start) >> (128 - length) == 0
        }),
    };
    if inside_special || (network.prefix_len() == network.max_prefix_len()) {
        classes.retain(|class| *class != AddressClass::Public || classify(network.network()) == AddressClass::Public);
    } else if !classes.contains(&AddressClass::Public) {
        classes.push(AddressClass::Public);
    }
    classes.sort_unstable();
    classes
}
