//! Suffixes below which anyone can have a name: what registries sell, and what hosters give to each customer.

/// Below these a hoster gives names to anyone, and the public suffix list does not say so: it lacks them, or lists only
/// what lies below. The number is of labels that the hoster puts between, a region or a service: `*.eu.wasabisys.com` is
/// as open as `*.wasabisys.com`.
const SHARED: &[(&str, usize)] = &[
    ("aliyuncs.com", 1),
    ("amazonaws.com", 2),
    ("app.github.dev", 0),
    ("azurecr.io", 0),
    ("b-cdn.net", 0),
    ("backblazeb2.com", 1),
    ("cfargotunnel.com", 0),
    ("cloudapp.azure.com", 1),
    ("core.windows.net", 1),
    ("devtunnels.ms", 1),
    ("digitaloceanspaces.com", 0),
    ("firebaseio.com", 0),
    ("glitch.me", 0),
    ("googleapis.com", 0),
    ("linodeobjects.com", 0),
    ("loca.lt", 0),
    ("localhost.run", 0),
    ("m.pipedream.net", 0),
    ("myqcloud.com", 1),
    ("nip.io", 0),
    ("on.aws", 2),
    ("pinggy.link", 1),
    ("r2.cloudflarestorage.com", 0),
    ("run.app", 1),
    ("servicebus.windows.net", 0),
    ("sslip.io", 0),
    ("storage.googleapis.com", 0),
    ("trafficmanager.net", 0),
    ("vultrobjects.com", 0),
    ("wasabisys.com", 1),
    ("webhook.site", 0),
];

/// The suffix that makes a wildcard over `suffix` open to anyone, if one does: `suffix` itself or one on either side.
///
/// `suffix` is lower case without a dot at either end. A name that belongs to one account (`app.netlify.app`) is nobody
/// else's, so a wildcard over it is not open.
pub fn shared(suffix: &str) -> Option<String> {
    if is_public(suffix) {
        return Some(suffix.to_owned());
    }
    // A rule of the list with a star: each label below is a suffix of its own, so names two labels below are anyone's.
    if is_public(&format!("any.{suffix}")) {
        return Some(suffix.to_owned());
    }
    let depth = |name: &str| name.matches('.').count();
    SHARED
        .iter()
        .filter(|&&(known, between)| {
            is_below(known, suffix) || is_below(suffix, known) && depth(suffix) <= depth(known) + between
        })
        // The longest says most.
        .max_by_key(|(known, _)| known.len())
        .map(|(known, _)| (*known).to_owned())
}

/// The name that somebody registered, of which `name` is a part: `example.co.uk` of `a.b.example.co.uk`.
pub fn registrable(name: &str) -> Option<&str> {
    psl::domain_str(name)
}

/// Whether the public suffix list has it. Top-level domains that it doesn't know are none.
fn is_public(name: &str) -> bool {
    psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes())
}

/// Whether `name` is `parent` or lies below it.
fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_sell_and_hosters_give_away_is_anyones() {
        for suffix in [
            "co.uk",
            "com.au",
            "github.io",
            "blob.core.windows.net",
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "trafficmanager.net",
            "azureedge.net",
            "storage.googleapis.com",
            "netlify.app",
            "nip.io",
            "compute.amazonaws.com",
            "run.app",
        ] {
            assert!(shared(suffix).is_some(), "{suffix}");
        }
        // A parent covers what lies below it.
        assert_eq!(shared("windows.net").as_deref(), Some("servicebus.windows.net"));
        assert_eq!(shared("queue.core.windows.net").as_deref(), Some("core.windows.net"));
        assert_eq!(shared("eu.wasabisys.com").as_deref(), Some("wasabisys.com"));
    }

    #[test]
    fn what_one_owner_has_is_nobody_elses() {
        for suffix in [
            "example.org",
            "mirrors.example.org",
            "example.co.uk",
            "someone.github.io",
            "account.blob.core.windows.net",
            "app.trafficmanager.net",
            "corp.example",
            "github.com",
        ] {
            assert_eq!(shared(suffix), None, "{suffix}");
        }
        assert_eq!(registrable("a.b.example.co.uk"), Some("example.co.uk"));
    }
}
