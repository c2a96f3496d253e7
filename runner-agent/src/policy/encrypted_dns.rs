//! Servers that answer names over HTTPS, TLS or QUIC: whoever may reach one asks past the agent's resolver.

use std::net::IpAddr;

use ipnet::IpNet;

use super::HostPattern;

/// Port of DNS over TLS, and over UDP of DNS over QUIC.
pub const DOT_PORT: u16 = 853;

/// Names of public resolvers, from their operators' own pages, as the curl project's wiki page "DNS over HTTPS" and the DNS
/// Privacy Project collect them; what lies below such a name counts too. A private one can be had under any name, so this
/// list closes the doors that everybody knows and no others.
const HOSTS: &[&str] = &[
    "8888.google",
    "adguard-dns.com",
    "adult-filter-dns.cleanbrowsing.org",
    "ahadns.net",
    "anycast.uncensoreddns.org",
    "blitz.ahadns.com",
    "cloudflare-dns.com",
    "cloudflare-gateway.com",
    "dns-family.adguard.com",
    "dns-unfiltered.adguard.com",
    "dns.adguard.com",
    "dns.alidns.com",
    "dns.comss.one",
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
    "dns.umbrella.com",
    "dns0.eu",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns12.quad9.net",
    "dns9.quad9.net",
    "dnsforge.de",
    "doh.360.cn",
    "doh.applied-privacy.net",
    "doh.cleanbrowsing.org",
    "doh.dns.snopyta.org",
    "doh.familyshield.opendns.com",
    "doh.ffmuc.net",
    "doh.libredns.gr",
    "doh.mullvad.net",
    "doh.opendns.com",
    "doh.pub",
    "doh.sandbox.opendns.com",
    "doh.sb",
    "doh.tiar.app",
    "doh.umbrella.com",
    "doh.xfinity.com",
    "dot.360.cn",
    "dot.dns.yandex.net",
    "dot.ffmuc.net",
    "dot.libredns.gr",
    "dot.pub",
    "dot.sb",
    "dot.tiar.app",
    "dot.xfinity.com",
    "dot1.applied-privacy.net",
    "family-filter-dns.cleanbrowsing.org",
    "family.canadianshield.cira.ca",
    "freedns.controld.com",
    "joindns4.eu",
    "odvr.nic.cz",
    "one.one.one.one",
    "ordns.he.net",
    "private.canadianshield.cira.ca",
    "protected.canadianshield.cira.ca",
    "public.dns.iij.jp",
    "rdns.faelix.net",
    "security-filter-dns.cleanbrowsing.org",
    "unicast.uncensoreddns.org",
    "wikimedia-dns.org",
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

/// Whether a name is one of the known hosts, or lies below one.
pub fn is_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_at_or_below =
        |host: &&str| name.strip_suffix(*host).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    HOSTS.iter().any(is_at_or_below)
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
        assert!(is_host("abc123.dns.nextdns.io") && !is_host("notdns.google") && !is_host("dns.google.example"));
        assert!(!is_host("dns.example.org"));
    }
}
