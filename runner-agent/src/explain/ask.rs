//! What a person asks about: a destination as it is typed.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::policy::{HostPattern, Protocol};

/// Port that is meant when none is written.
const HTTPS: u16 = 443;

/// A host or an address, with a port if one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// Who.
    pub host: Host,
    /// Where.
    pub port: Option<u16>,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, lower case.
    Name(Arc<str>),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} {why}; write a name or an address, with `:PORT` behind it if wanted (IPv6 then in brackets, \
                 [2001:db8::1]:443)"
            )
        };
        let port = |port: &str| match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(wrong(&format!("has {port:?} for a port, and ports are numbers from 1 to 65535"))),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("has no closing bracket"))?;
            let host: IpAddr = host.parse().map_err(|_| wrong("has no address in its brackets"))?;
            match (rest.strip_prefix(':'), rest) {
                (Some(rest), _) => (Host::Address(host), Some(port(rest)?)),
                (None, "") => (Host::Address(host), None),
                _ => return Err(wrong("goes on behind its bracket")),
            }
        } else if let Ok(address) = text.parse() {
            (Host::Address(address), None)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, written)) if !host.contains('/') && !written.starts_with('/') => {
                    (host, Some(port(written)?))
                }
                _ => (text, None),
            };
            match host.parse() {
                Ok(address) => (Host::Address(address), port),
                Err(_) => (Host::Name(name(host)?), port),
            }
        };
        Ok(Self { host, port })
    }
}

/// One name, as rules are asked for it.
pub fn name(text: &str) -> Result<Arc<str>, String> {
    match HostPattern::parse(text) {
        Ok(pattern) if pattern.is_wildcard() => Err(format!("{text:?} is many names; ask for one of them")),
        Ok(pattern) => Ok(pattern.suffix().into()),
        Err(error) => Err(error.to_string()),
    }
}

/// A transport, by the words of logs and policies, or by what people call it.
pub fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "icmp" => Ok(Protocol::Other(1)),
        "icmpv6" => Ok(Protocol::Other(58)),
        "sctp" => Ok(Protocol::Other(132)),
        other => other
            .strip_prefix("ip-")
            .and_then(|number| number.parse().ok())
            .map(|number| match number {
                6 => Protocol::Tcp,
                17 => Protocol::Udp,
                number => Protocol::Other(number),
            })
            .ok_or_else(|| format!("{text:?} is not one of tcp, udp, icmp, icmpv6, sctp, ip-NUMBER")),
    }
}

/// The port that is meant, and whether it was written.
pub fn port(to: &To, protocol: Protocol) -> (u16, bool) {
    match (to.port, protocol) {
        (Some(port), _) => (port, true),
        (None, Protocol::Other(_)) => (0, true),
        (None, _) => (HTTPS, false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn destinations_are_read_as_people_write_them() {
        let named = |name: &str, port| Ok(To { host: Host::Name(name.into()), port });
        let at = |address: &str, port| Ok(To { host: Host::Address(address.parse().unwrap()), port });
        for (text, expected) in [
            ("Mirror.Example.org", named("mirror.example.org", None)),
            ("mirror.example.org:8443", named("mirror.example.org", Some(8443))),
            ("localhost:80", named("localhost", Some(80))),
            ("192.0.2.7", at("192.0.2.7", None)),
            ("192.0.2.7:80", at("192.0.2.7", Some(80))),
            ("::1", at("::1", None)),
            ("[::1]:443", at("::1", Some(443))),
            ("[2001:db8::1]", at("2001:db8::1", None)),
        ] {
            assert_eq!(text.parse::<To>(), expected, "{text}");
        }
        let error = |text: &str| text.parse::<To>().unwrap_err();
        assert!(error("a.example:0").contains("ports are numbers from 1 to 65535"));
        assert!(error("[::1").contains("no closing bracket"));
        assert!(error("[a.example]:1").contains("no address in its brackets"));
        assert!(error("*.example.org").contains("ask for one of them"));
        assert!(error("https://a.example/x").ends_with(r#", "a.example""#), "{}", error("https://a.example/x"));
        assert_eq!(protocol("SCTP"), Ok(Protocol::Other(132)));
        assert_eq!(protocol("ip-17"), Ok(Protocol::Udp));
        assert!(protocol("quic").unwrap_err().contains("is not one of tcp, udp"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}") {
            let _ = text.parse::<To>();
            let _ = protocol(&text);
        }
    }
}
