//! Names by which a program asks whether it may go around this resolver.

/// Names by which programs ask the network whether they may use encrypted DNS. "No such name" is how it says no:
/// Mozilla's canary domain, and the discovery of designated resolvers (RFC 9462, 6.4).
const CANARIES: &[&str] = &["use-application-dns.net", "resolver.arpa"];

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
    fn a_canary_is_known_by_its_name_and_below_it_and_not_beside_it() {
        assert!(is_canary("use-application-dns.net") && is_canary("_dns.resolver.arpa"));
        assert!(!is_canary("application-dns.net") && !is_canary("my-resolver.arpa"));
    }
}
