//! Servers that answer names over HTTPS, TLS or QUIC: whoever may reach one asks past the agent's resolver.

use std::net::IpAddr;

use ipnet::IpNet;

use super::HostPattern;

/// Port of DNS over TLS, and over UDP of DNS over QUIC.
pub const DOT_PORT: u16 = 853;

/// Names of public resolvers, from their operators' own pages. A private one can be had under any name, so this list
/// closes the doors that everybody knows and no others.
const HOSTS: &[&str] = &[
    "1dot1dot1dot1.cloudflare-dns.com",
    "anycast.dns.nextdns.io",
    "base.dns.mullvad.net",
    "chrome.cloudflare-dns.com",
    "cloudflare-dns.com",
    "common.dot.dns.yandex.net",
    "dns-family.adguard.com",
    "dns.adguard-dns.com",
    "dns.adguard.com",
    "dns.alidns.com",
    "dns.controld.com",
    "dns.digitale-gesellschaft.ch",
    "dns.google",
    "dns.google.com",
    "dns.mullvad.net",
    "dns.nextdns.io",
    "dns.njal.la",
    "dns.opendns.com",
    "dns.quad9.net",
    "dns.sb",
    "dns.switch.ch",
    "dns.twnic.tw",
    "dns0.eu",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns64.cloudflare-dns.com",
    "dns64.dns.google",
    "dns9.quad9.net",
    "dnsforge.de",
    "doh.360.cn",
    "doh.applied-privacy.net",
    "doh.cleanbrowsing.org",
    "doh.dns.sb",
    "doh.familyshield.opendns.com",
    "doh.libredns.gr",
    "doh.mullvad.net",
    "doh.opendns.com",
    "doh.pub",
    "doh.umbrella.com",
    "doh.xfinity.com",
    "dot.pub",
    "dot.sb",
    "family.adguard-dns.com",
    "family.cloudflare-dns.com",
    "freedns.controld.com",
    "mozilla.cloudflare-dns.com",
    "odvr.nic.cz",
    "one.one.one.one",
    "ordns.he.net",
    "public.dns.iij.jp",
    "security.cloudflare-dns.com",
    "unfiltered.adguard-dns.com",
    "zero.dns0.eu",
];

/// Addresses of the same operators.
const ADDRESSES: &[&str] = &[
    "1.0.0.1",
    "1.0.0.2",
    "1.0.0.3",
    "1.1.1.1",
    "1.1.1.2",
    "1.1.1.3",
    "1.12.12.12",
    "104.16.248.249",
    "104.16.249.249",
    "120.53.53.53",
    "149.112.112.112",
    "185.222.222.222",
    "185.228.168.9",
    "185.228.169.9",
    "193.110.81.0",
    "194.242.2.2",
    "208.67.220.220",
    "208.67.222.222",
    "223.5.5.5",
    "223.6.6.6",
    "76.76.10.0",
    "76.76.2.0",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.10",
    "9.9.9.9",
    "94.140.14.14",
    "94.140.15.15",
    "2001:4860:4860::8844",
    "2001:4860:4860::8888",
    "2606:4700:4700::1001",
    "2606:4700:4700::1111",
    "2620:119:35::35",
    "2620:fe::9",
    "2620:fe::fe",
];

/// The first of the known hosts that a pattern means.
pub fn host_in(pattern: &HostPattern) -> Option<&'static str> {
    HOSTS.iter().find(|host| pattern.matches(host)).copied()
}

/// Whether a name is one of the known hosts.
pub fn is_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    HOSTS.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// The first of the known addresses in a network.
pub fn address_in(network: IpNet) -> Option<IpAddr> {
    ADDRESSES.iter().filter_map(|text| text.parse().ok()).find(|address: &IpAddr| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_a_name_or_an_address() {
        for host in HOSTS {
            let pattern = HostPattern::parse(host).unwrap();
            assert_eq!((pattern.to_string().as_str(), host_in(&pattern)), (*host, Some(*host)));
            assert!(is_host(&host.to_ascii_uppercase()));
        }
        for text in ADDRESSES {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(address_in(address.into()), Some(address));
        }
    }

    #[test]
    fn a_wildcard_and_a_network_hold_the_known_ones_below_them() {
        assert_eq!(host_in(&HostPattern::parse("*.quad9.net").unwrap()), Some("dns.quad9.net"));
        assert_eq!(host_in(&HostPattern::parse("*.example.org").unwrap()), None);
        assert_eq!(address_in("198.51.100.0/24".parse().unwrap()), None);
        assert!(!is_host("dns.example.org"));
    }
}
