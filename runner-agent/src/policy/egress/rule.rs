//! One line of `egress.allow` or `egress.deny`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::{AddressClass, Destination, Protocol};
use crate::policy::{HostPattern, words};

/// Ports, both ends included.
pub type PortRange = RangeInclusive<u16>;

/// Which ports a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All of them, and protocols that have none.
    Any,
    /// These.
    List(Vec<PortRange>),
}

impl Ports {
    /// A single port.
    pub fn one(port: u16) -> Self {
        Self::List(vec![port..=port])
    }

    /// Whether `port` is meant.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::List(ranges) => ranges.iter().any(|range| range.contains(&port)),
        }
    }
}

/// Which transports a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProtocolMatch {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// TCP and UDP; with [`Ports::Any`], every other IP protocol too.
    Any,
}

words!(ProtocolMatch, "tcp, udp, any", {
    ProtocolMatch::Tcp => "tcp",
    ProtocolMatch::Udp => "udp",
    ProtocolMatch::Any => "any",
});

impl ProtocolMatch {
    pub(super) fn matches(self, protocol: Protocol, ports: &Ports) -> bool {
        match (self, protocol) {
            (Self::Tcp, Protocol::Tcp) | (Self::Udp, Protocol::Udp) | (Self::Any, Protocol::Tcp | Protocol::Udp) => {
                true
            }
            (Self::Any, Protocol::Other(_)) => *ports == Ports::Any,
            _ => false,
        }
    }
}

/// Basename of an executable, as written in `exe`.
///
/// A name is a weak identity: whoever can write a file can call it `node`. The kernel side will compare files, not names;
/// until then `exe` narrows a rule for honest programs and documents intent, and is no wall.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExeName(pub Arc<str>);

impl ExeName {
    /// Whether a path's last part is this name.
    pub fn matches(&self, exe: &str) -> bool {
        exe.rsplit('/').next() == Some(&*self.0)
    }
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Addresses that the job got as the answer for such a name.
    Host(HostPattern),
    /// Addresses of a network.
    Cidr(IpNet),
}

/// One line of `egress.allow`, or one of the several that an `ecosystem` line became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRule {
    /// `<policy>/egress.allow[<index>]`; the lines an `ecosystem` line became share its id.
    pub id: Arc<str>,
    /// Name pattern or network.
    pub target: Target,
    /// Ports; a host rule without `ports` has 443.
    pub ports: Ports,
    /// Transport; TCP unless the rule says otherwise.
    pub protocol: ProtocolMatch,
    /// The only class of address the rule allows.
    pub class: AddressClass,
    /// Programs that may use the rule; empty means any.
    pub exe: Vec<ExeName>,
    /// How many distinct names a wildcard may stand for in one job; `None` leaves it to the resolver.
    pub names: Option<u32>,
    /// Whether a process that read a secret file may use it.
    pub may_carry_secrets: bool,
    /// Why the job needs it.
    pub why: Arc<str>,
    /// Where the host was found, if a line of the policy did not name it: `npm config, registry`.
    pub source: Option<Arc<str>>,
}

impl EgressRule {
    /// Whether the rule covers the attempt. `address` is normalised and `class` is its class at that port.
    pub fn matches(&self, address: IpAddr, class: AddressClass, destination: &Destination) -> bool {
        self.class == class
            && self.protocol.matches(destination.protocol, &self.ports)
            && self.ports.contains(destination.port)
            && match &self.target {
                Target::Host(pattern) => destination.names.iter().any(|name| pattern.matches(name)),
                Target::Cidr(network) => network.contains(&address),
            }
            && (self.exe.is_empty() || destination.exe.is_some_and(|exe| self.exe.iter().any(|name| name.matches(exe))))
    }
}

/// One line of `egress.deny`: closes what loopback's default or an allow rule would leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyRule {
    /// `<policy>/egress.deny[<index>]`.
    pub id: Arc<str>,
    /// Class of the address; `None` means any. `Loopback` includes the unspecified address, which Linux connects to it.
    pub class: Option<AddressClass>,
    /// Network; `None` means any.
    pub cidr: Option<IpNet>,
    /// Ports.
    pub ports: Ports,
    /// Transport; any unless the rule says otherwise.
    pub protocol: ProtocolMatch,
    /// Why it is closed.
    pub why: Arc<str>,
}

impl DenyRule {
    /// Whether the rule closes the attempt. `address` is normalised and `class` is its class at that port.
    pub fn matches(&self, address: IpAddr, class: AddressClass, destination: &Destination) -> bool {
        let class = if class == AddressClass::Unspecified { AddressClass::Loopback } else { class };
        let wanted = self.class.map(|own| if own == AddressClass::Unspecified { AddressClass::Loopback } else { own });
        wanted.is_none_or(|own| own == class)
            && self.cidr.is_none_or(|network| network.contains(&address))
            && self.protocol.matches(destination.protocol, &self.ports)
            && self.ports.contains(destination.port)
    }
}
