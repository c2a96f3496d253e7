//! The addresses that GitHub's runner hands to its jobs.

use super::{Resolved, Runtime, parse_url};

/// Variables that hold an address of the service.
const VARIABLES: &[&str] = &[
    "GITHUB_SERVER_URL",
    "GITHUB_API_URL",
    "GITHUB_GRAPHQL_URL",
    "ACTIONS_RESULTS_URL",
    "ACTIONS_RUNTIME_URL",
    "ACTIONS_CACHE_URL",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
];

/// Domains that only GitHub gives names in.
const OWN: &[&str] = &["github.com", "actions.githubusercontent.com", "ghe.com"];

/// Hosts from the environment.
///
/// A step can set variables for later steps, so a host counts only if it is GitHub's, or the server's own (which a step
/// can't set) or below it.
pub fn hosts(runtime: &Runtime) -> Resolved {
    let mut resolved = Resolved::default();
    let server = runtime.var("GITHUB_SERVER_URL").and_then(parse_url).map(|(host, _)| host);
    for key in VARIABLES {
        let Some(url) = runtime.var(key) else { continue };
        let Some((host, _)) = parse_url(url) else {
            resolved.add(url, *key);
            continue;
        };
        let below = |parent: &str| host.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if OWN.iter().any(|own| below(own)) || server.as_deref().is_some_and(below) {
            resolved.add(url, *key);
        } else {
            resolved.warnings.push(format!(
                "{key} names {host}, which is not the service's; add a rule with this `host` if it is meant"
            ));
        }
    }
    if resolved.hosts.is_empty() {
        resolved.warnings.push(
            "the environment names no address of GitHub; outside of its runners that is expected, leave the preset out"
                .into(),
        );
    }
    resolved
}
