//! Rules that are right and still a bad idea: warnings.

use ipnet::IpNet;

use super::walk::Cursor;
use crate::policy::HostPattern;

/// Suffixes below which anyone can have a name of their own: a wildcard over one of them lets data go to anyone.
///
/// An excerpt of what attackers have used or could for free, not the public suffix list.
const ANYONE: &[&str] = &[
    "amazonaws.com",
    "azureedge.net",
    "azurewebsites.net",
    "backblazeb2.com",
    "blob.core.windows.net",
    "cloudfront.net",
    "cloudfunctions.net",
    "deno.dev",
    "devtunnels.ms",
    "digitaloceanspaces.com",
    "duckdns.org",
    "file.core.windows.net",
    "firebaseapp.com",
    "firebaseio.com",
    "fly.dev",
    "github.io",
    "githubusercontent.com",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.app",
    "ngrok.io",
    "nip.io",
    "on.aws",
    "onrender.com",
    "pages.dev",
    "queue.core.windows.net",
    "r2.cloudflarestorage.com",
    "r2.dev",
    "run.app",
    "sslip.io",
    "storage.googleapis.com",
    "supabase.co",
    "trafficmanager.net",
    "trycloudflare.com",
    "up.railway.app",
    "vercel.app",
    "wasabisys.com",
    "web.app",
    "workers.dev",
];

/// Second-level names that registries sell below.
const REGISTRIES: &[&str] =
    &["ac.uk", "co.jp", "co.uk", "com.au", "com.br", "com.cn", "gov.uk", "ne.jp", "org.au", "org.uk"];

pub fn host(cursor: &Cursor, pattern: &HostPattern) {
    if !pattern.is_wildcard() {
        return;
    }
    let suffix = pattern.suffix();
    let below =
        |name: &str, parent: &str| name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    // `*.s3.example` over `example` and the other way round: both cover names that anyone can have. The suffix of a
    // single account, several labels below, is not worth a warning.
    let wide = |known: &&&str| {
        below(known, suffix) || (below(suffix, known) && suffix.matches('.').count() <= known.matches('.').count() + 1)
    };
    if let Some(known) = ANYONE.iter().find(wide) {
        cursor.warning(format!("{pattern} covers names that anyone can have below {known}; write the exact names"));
    } else if REGISTRIES.contains(&suffix) {
        cursor.warning(format!("{pattern} covers every name registered below {suffix}; write the exact names"));
    }
}

pub fn network(cursor: &Cursor, network: IpNet) {
    let most = if matches!(network, IpNet::V4(_)) { 8 } else { 16 };
    if network.prefix_len() < most {
        let what = if network.prefix_len() == 0 { "every address" } else { "a large part of all addresses" };
        cursor.warning(format!("{network} is {what}; write the networks or hosts that the job needs"));
    }
}
