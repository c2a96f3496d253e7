//! Names behind which somebody answers DNS over HTTPS or TLS: a way around this resolver.

/// Providers of encrypted DNS, by name; what lies below such a name counts too.
///
/// Source: the providers' own set-up pages, as listed by the curl project's wiki page "DNS over HTTPS" and by the DNS
/// Privacy Project's list of public resolvers. The list is never complete: a provider can make a new name in a minute.
/// It keeps programs that switch by themselves from doing so; against intent, only the absence of a rule helps.
const PROVIDERS: &[&str] = &[
    // Big ones, which browsers and systems know by heart.
    "dns.google",
    "dns.google.com",
    "8888.google",
    "cloudflare-dns.com",
    "cloudflare-gateway.com",
    "one.one.one.one",
    "dns.quad9.net",
    "dns9.quad9.net",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns12.quad9.net",
    "doh.opendns.com",
    "dns.opendns.com",
    "doh.familyshield.opendns.com",
    "doh.sandbox.opendns.com",
    "doh.umbrella.com",
    "dns.umbrella.com",
    "dns.nextdns.io",
    "adguard-dns.com",
    "dns.adguard.com",
    "dns-family.adguard.com",
    "dns-unfiltered.adguard.com",
    "dns.controld.com",
    "freedns.controld.com",
    "doh.cleanbrowsing.org",
    "family-filter-dns.cleanbrowsing.org",
    "adult-filter-dns.cleanbrowsing.org",
    "security-filter-dns.cleanbrowsing.org",
    "dot.dns.yandex.net",
    "doh.xfinity.com",
    "dot.xfinity.com",
    // Regional ones.
    "dns.alidns.com",
    "doh.pub",
    "dot.pub",
    "doh.360.cn",
    "dot.360.cn",
    "dns.twnic.tw",
    "public.dns.iij.jp",
    "dns0.eu",
    "joindns4.eu",
    "dns.switch.ch",
    "dns.digitale-gesellschaft.ch",
    "ordns.he.net",
    "private.canadianshield.cira.ca",
    "protected.canadianshield.cira.ca",
    "family.canadianshield.cira.ca",
    // Run by associations and single people.
    "dns.mullvad.net",
    "doh.mullvad.net",
    "dns.sb",
    "doh.sb",
    "dot.sb",
    "doh.libredns.gr",
    "dot.libredns.gr",
    "doh.applied-privacy.net",
    "dot1.applied-privacy.net",
    "wikimedia-dns.org",
    "dnsforge.de",
    "dns.njal.la",
    "anycast.uncensoreddns.org",
    "unicast.uncensoreddns.org",
    "doh.dns.snopyta.org",
    "rdns.faelix.net",
    "doh.tiar.app",
    "dot.tiar.app",
    "ahadns.net",
    "blitz.ahadns.com",
    "doh.ffmuc.net",
    "dot.ffmuc.net",
    "dns.comss.one",
];

/// Names by which programs ask the network whether they may use encrypted DNS. "No such name" is how it says no:
/// Mozilla's canary domain, and the discovery of designated resolvers (RFC 9462, 6.4).
const CANARIES: &[&str] = &["use-application-dns.net", "resolver.arpa"];

/// Whether a name (lower case) is a known provider of encrypted DNS, or lies below one.
pub fn is_provider(name: &str) -> bool {
    PROVIDERS.iter().any(|provider| is_at_or_below(name, provider))
}

/// Whether a name (lower case) asks if encrypted DNS is wanted.
pub fn is_canary(name: &str) -> bool {
    CANARIES.iter().any(|canary| is_at_or_below(name, canary))
}

/// Whether `name` is `suffix` or lies below it.
pub(super) fn is_at_or_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_known_by_its_name_and_below_it_and_not_beside_it() {
        assert!(is_provider("dns.google") && is_provider("mozilla.cloudflare-dns.com"));
        assert!(!is_provider("google") && !is_provider("notdns.google") && !is_provider("dns.google.example"));
        assert!(is_canary("use-application-dns.net") && is_canary("_dns.resolver.arpa"));
    }

    #[test]
    fn the_list_is_in_lower_case_and_names_each_once() {
        let mut seen = std::collections::HashSet::new();
        for name in PROVIDERS {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }
}
