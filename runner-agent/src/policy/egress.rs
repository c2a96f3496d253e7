//! Where a job may connect, and the one function that decides it.
//!
//! The order of [`EgressPolicy::judge`] is the order of the kernel side: closed ports, resolvers, allow rules, loopback,
//! default. What the kernel matches by file identity (`exe`) is matched by name here; see [`ExeName`].

mod class;
mod rule;
mod cover;
mod near;
pub mod smallest;

use std::net::IpAddr;
use std::sync::Arc;

pub use class::{AddressClass, classes_of, classify, classify_endpoint, normalise};
pub use near::{Difference, Near, NearMiss};
pub use rule::{DenyRule, EgressRule, ExeName, PortRange, Ports, ProtocolMatch, Target};
pub use smallest::{Smallest, smallest};

use super::{Mode, words};

/// Distinct names that a wildcard may stand for in one job where its rule names no number.
pub const NAMES_BELOW_WILDCARD: u32 = 50;
/// Port of DNS.
pub const DNS_PORT: u16 = 53;
/// Rule id of the resolvers that the runner itself is configured with.
pub const RESOLVER_RULE: &str = "resolver";
/// Rule id of what stays on the machine.
pub const LOOPBACK_RULE: &str = "loopback";

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, and MPTCP, which the kernel reports with TCP's number plus 256 and carries over TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Any other IP protocol, by its number: ICMP 1, SCTP 132, …
    Other(u8),
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp => f.pad("tcp"),
            Self::Udp => f.pad("udp"),
            Self::Other(number) => write!(f, "ip-{number}"),
        }
    }
}

/// What happened to a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A rule allows it.
    Allowed,
    /// It happened; in mode `block` it would not have.
    Audited,
    /// It was refused.
    Blocked,
}

words!(Verdict, "allowed, audited, blocked", {
    Verdict::Allowed => "allowed",
    Verdict::Audited => "audited",
    Verdict::Blocked => "blocked",
});

/// One attempt to reach something.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Address as the kernel saw it; IPv4-mapped IPv6 counts as IPv4.
    pub address: IpAddr,
    /// Port; 0 for protocols without.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Names the job resolved to this address: lower case, no dot at the end.
    pub names: &'a [Arc<str>],
    /// Absolute path of the connecting executable; `None` if it could not be read.
    pub exe: Option<&'a str>,
}

/// A verdict and the rule it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What happens.
    pub verdict: Verdict,
    /// Id of the rule; `None` means that no rule spoke: the default.
    pub rule: Option<Arc<str>>,
    /// Class of the address (and port, where that makes the difference).
    pub class: AddressClass,
    /// Whether a process that read a secret file may use this. False for whatever is not allowed.
    pub may_carry_secrets: bool,
}

/// The egress part of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Closed ports; they win over every other rule.
    pub deny: Vec<DenyRule>,
    /// What is allowed, in order; the first rule that matches is named.
    pub allow: Vec<EgressRule>,
    /// The runner's own resolvers, filled at run time; port 53 of each is allowed under [`RESOLVER_RULE`].
    pub resolvers: Vec<IpAddr>,
    /// Answer for a refused name, once the agent answers for the job.
    pub refuse_with: RefuseWith,
}

/// How a refused name is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefuseWith {
    /// The name does not exist: programs give up at once.
    #[default]
    Nxdomain,
    /// The server does not want to: programs may try the next server.
    Refused,
}

words!(RefuseWith, "nxdomain, refused", { RefuseWith::Nxdomain => "nxdomain", RefuseWith::Refused => "refused" });

impl EgressPolicy {
    /// Decides about one attempt: deny rules, then resolvers, then allow rules in order, then loopback, else the default.
    ///
    /// An address that is not [`AddressClass::Public`] is only ever allowed by a rule of exactly its class, by being a
    /// resolver (port 53 alone), or by being loopback.
    pub fn judge(&self, mode: Mode, destination: &Destination) -> Ruling {
        let address = normalise(destination.address);
        let class = classify_endpoint(address, destination.port);
        let refused = |rule: Option<Arc<str>>| Ruling {
            verdict: match mode {
                Mode::Audit => Verdict::Audited,
                Mode::Block => Verdict::Blocked,
            },
            rule,
            class,
            may_carry_secrets: false,
        };
        let allowed = |rule: Arc<str>, may_carry_secrets| Ruling {
            verdict: Verdict::Allowed,
            rule: Some(rule),
            class,
            may_carry_secrets,
        };
        if let Some(rule) = self.deny.iter().find(|rule| rule.matches(address, class, destination)) {
            return refused(Some(rule.id.clone()));
        }
        // A question can carry data out, but every program asks before it connects, the secret's owner too: whether a
        // name may be asked is for the resolver to decide, not for the taint of the asker.
        let plain = matches!(destination.protocol, Protocol::Tcp | Protocol::Udp);
        if plain && destination.port == DNS_PORT && self.resolvers.iter().any(|&known| normalise(known) == address) {
            return allowed(RESOLVER_RULE.into(), true);
        }
        let mut matching = self.allow.iter().filter(|rule| rule.matches(address, class, destination));
        if let Some(rule) = matching.next() {
            // The first rule is named; a later one may still add that secrets may go there.
            let may_carry_secrets = rule.may_carry_secrets || matching.any(|rule| rule.may_carry_secrets);
            return allowed(rule.id.clone(), may_carry_secrets);
        }
        // Linux connects the unspecified address to this machine: the same thing under another name.
        if matches!(class, AddressClass::Loopback | AddressClass::Unspecified) {
            return allowed(LOOPBACK_RULE.into(), true);
        }
        refused(None)
    }

    /// Rules concatenate; resolvers too, without repetition.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.deny.extend(other.deny);
        self.allow.extend(other.allow);
        for resolver in other.resolvers {
            if !self.resolvers.contains(&resolver) {
                self.resolvers.push(resolver);
            }
        }
        self.refuse_with = self.refuse_with.max(other.refuse_with);
        self
    }
}

#[cfg(test)]
mod tests;
