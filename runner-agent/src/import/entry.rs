//! One entry of a list taken apart: its name or network, and the ports as they are written.
//!
//! This is the strict reading that every peer's words end in; `action/endpoint.mjs` has the same for workflows.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::HostPattern;
use crate::policy::egress::{PortRange, Ports, Target};

/// An entry before anybody has said what its ports mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// Name or network.
    pub target: Target,
    /// What stands behind the last colon, if something does.
    pub ports: Option<&'a str>,
}

/// Takes an entry apart; the error says what would be right.
pub fn split(entry: &str) -> Result<Split<'_>, String> {
    if let Some(rest) = entry.strip_prefix('[') {
        let unclosed = || format!("{entry:?} has no IPv6 address in its brackets; write it as in [2001:db8::1]:443");
        let (inside, behind) = rest.split_once(']').ok_or_else(unclosed)?;
        let network = network(inside)?.filter(|network| matches!(network, IpNet::V6(_))).ok_or_else(unclosed)?;
        let ports = match behind.strip_prefix(':') {
            Some(ports) => Some(ports),
            None if behind.is_empty() => None,
            None => return Err(unclosed()),
        };
        return Ok(Split { target: Target::Cidr(network), ports });
    }
    // A colon behind the length begins a port, so it is no network yet.
    let has_port = entry.split_once('/').is_some_and(|(_, length)| length.contains(':'));
    if !has_port && let Some(network) = network(entry)? {
        return Ok(Split { target: Target::Cidr(network), ports: None });
    }
    let (target, ports) = match entry.rsplit_once(':') {
        Some((target, ports)) => (target, Some(ports)),
        None => (entry, None),
    };
    if target.contains(':') || entry.contains("//") {
        return Err(format!(
            "{entry:?} is no host and port; write HOST:PORT without a scheme, and IPv6 in brackets: [2001:db8::1]:443"
        ));
    }
    let target = match network(target)? {
        Some(network) => Target::Cidr(network),
        None => Target::Host(host(target)?),
    };
    Ok(Split { target, ports })
}

/// Whether an entry is about an address, right or not: it belongs to the list of addresses.
pub fn is_address(entry: &str) -> bool {
    let bare = entry.trim_start_matches('[');
    let is_four = |text: &str| text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let first = bare.split(['/', ':', ']']).next().unwrap_or(bare);
    is_four(first) || entry.starts_with('[') || entry.matches(':').count() > 1 && !entry.contains("//")
}

/// `ADDRESS` or `ADDRESS/LENGTH`; `None` for what is no address at all.
pub fn network(text: &str) -> Result<Option<IpNet>, String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
    let wrong = || format!("{text:?} is no network; write an address and a length, as in 198.51.100.0/24");
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    let found = IpNet::new(address, length).map_err(|_| wrong())?;
    if let IpAddr::V6(six) = address
        && let Some(four) = six.to_ipv4_mapped()
    {
        return Err(format!("{text:?} is IPv4 written as IPv6; write {four}"));
    }
    if found.trunc() != found {
        return Err(format!("{text:?} has bits set after the first {length}; write {}", found.trunc()));
    }
    Ok(Some(found))
}

/// A host name or `*.suffix`.
pub fn host(text: &str) -> Result<HostPattern, String> {
    let pattern = HostPattern::parse(text).map_err(|error| error.to_string())?;
    // `10.0.0` or `1.2.3.256` is a slip of the pen and no name: no top-level domain is a number.
    let last = pattern.suffix().rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is neither an address nor a name; write an address as in 198.51.100.7"));
    }
    Ok(pattern)
}

/// Ports separated by semicolons; a single port is a list of one.
pub fn ports(text: &str, entry: &str) -> Result<Ports, String> {
    let port = |text: &str| -> Option<PortRange> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = is_number.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port > 0)?;
        Some(port..=port)
    };
    let found: Option<Vec<PortRange>> = text.split(';').map(port).collect();
    found.map(Ports::List).ok_or_else(|| format!("{entry:?} has {text:?} for a port; write a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(entry: &str) -> String {
        match split(entry) {
            Ok(Split { target: Target::Host(host), ports }) => format!("{host} {}", ports.unwrap_or("-")),
            Ok(Split { target: Target::Cidr(network), ports }) => format!("{network} {}", ports.unwrap_or("-")),
            Err(message) => message,
        }
    }

    #[test]
    fn an_entry_is_a_name_or_a_network_and_perhaps_a_port() {
        assert_eq!(shown("Mirror.Example.org.:8443"), "mirror.example.org 8443");
        assert_eq!(shown("*.example.org"), "*.example.org -");
        assert_eq!(shown("198.51.100.7:22"), "198.51.100.7/32 22");
        assert_eq!(shown("10.0.0.0/8:5432"), "10.0.0.0/8 5432");
        assert_eq!(shown("2001:db8::/32"), "2001:db8::/32 -");
        assert_eq!(shown("[2001:db8::1]:443"), "2001:db8::1/128 443");
    }

    #[test]
    fn a_wrong_entry_is_told_what_would_be_right() {
        assert!(shown("1.2.3.256").contains("neither an address nor a name"));
        assert!(shown("10.0.0.1/8").ends_with("write 10.0.0.0/8"));
        assert!(shown("198.51.100.0/33").contains("is no network"));
        assert!(shown("::ffff:198.51.100.7").ends_with("write 198.51.100.7"));
        assert!(shown("[example.org]:443").contains("in its brackets"));
        assert!(shown("https://example.org/").contains("without a scheme"));
        assert!(ports("80-90", "a:80-90").unwrap_err().contains("for a port"));
        assert!(ports("0", "a:0").is_err() && ports("", "a:").is_err() && ports("+1", "a:+1").is_err());
        assert_eq!(ports("443;80", "a:443;80"), Ok(Ports::List(vec![443..=443, 80..=80])));
    }

    #[test]
    fn addresses_are_told_from_names() {
        for address in ["198.51.100.7", "10.0.0.0/8:5432", "1.2.3.256", "[2001:db8::1]:443", "2001:db8::/32"] {
            assert!(is_address(address), "{address}");
        }
        for name in ["example.org", "example.org:443", "*.example.org", "https://example.org:443", "7.example.org"] {
            assert!(!is_address(name), "{name}");
        }
    }
}
