//! Hosts that the runner's own configuration names: registries, package mirrors, the CI service, proxies.
//!
//! The only place in `config` that runs programs and reads files which are no policies. What it reads is the machine's and
//! the user's configuration, never the checkout's: a `.npmrc` in a pull request would otherwise widen the very policy that
//! is to hold it. What cannot be found out is a warning that says what to add, never a guess.

mod answers;
mod apt;
mod cargo;
mod github;
mod npm;
mod pip;
mod program;
mod runtime;

use std::net::IpAddr;
use std::path::Path;

use super::raw::{self, SyntaxError};
use crate::policy::secret::Place;
use crate::policy::words;

pub use answers::Answers;
pub use runtime::Runtime;

/// Whose configuration a rule `{ ecosystem: … }` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// npm: the default registry and those of scopes.
    Npm,
    /// pip: the index, extra indexes, and where the default index keeps its files.
    Pip,
    /// cargo: the default registry or what replaces it, and alternative registries.
    Cargo,
    /// apt: package sources and proxies.
    Apt,
    /// GitHub: the addresses that the runner hands to its jobs.
    Github,
}

words!(Ecosystem, "npm, pip, cargo, apt, github", {
    Ecosystem::Npm => "npm",
    Ecosystem::Pip => "pip",
    Ecosystem::Cargo => "cargo",
    Ecosystem::Apt => "apt",
    Ecosystem::Github => "github",
});

/// A host, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfiguredHost {
    /// Name or address, lower case.
    pub host: String,
    /// Port of the configured address, or of its scheme.
    pub port: u16,
    /// Where it was found, for people: `/etc/npmrc, registry`.
    pub source: String,
}

/// What a configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Hosts, each host and port once.
    pub hosts: Vec<ConfiguredHost>,
    /// What could not be found out, and what to do about it.
    pub warnings: Vec<String>,
}

impl Resolved {
    fn add(&mut self, url: &str, source: impl Into<String>) {
        let source = source.into();
        match parse_url(url) {
            Some((host, port)) => self.add_host(host, port, source),
            None => self.warnings.push(format!("{source}: {:?} is no address with a host; left out", redacted(url))),
        }
    }

    fn add_host(&mut self, host: String, port: u16, source: String) {
        if !self.hosts.iter().any(|known| known.host == host && known.port == port) {
            self.hosts.push(ConfiguredHost { host, port, source });
        }
    }
}

/// What `load` needs to know of a machine. [`Runtime`] is this one; the cases of a policy bring a made-up one.
pub trait Surroundings {
    /// What a configuration names.
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved;
    /// HTTP proxies that the environment names.
    fn proxies(&self) -> Resolved;
    /// The resolvers that the machine is configured with.
    fn resolvers(&self) -> Vec<IpAddr>;
    /// Home directories and workspaces.
    fn place(&self) -> Place;
    /// Where includes other than `presets/…` lie.
    fn policy_dir(&self) -> Option<&Path>;
    /// The bytes of a policy file.
    fn read(&self, path: &Path) -> Result<Vec<u8>, SyntaxError> {
        raw::read(path)
    }
}

/// Host and port of a URL; the port of its scheme where it names none.
pub(crate) fn parse_url(url: &str) -> Option<(String, u16)> {
    let url = url.trim();
    let url = ["sparse+", "registry+", "git+"].iter().find_map(|prefix| url.strip_prefix(prefix)).unwrap_or(url);
    let (scheme, rest) = url.split_once("://")?;
    let default = match scheme.to_ascii_lowercase().as_str() {
        "https" => 443,
        "http" => 80,
        "ftp" => 21,
        "ssh" => 22,
        "socks5" | "socks5h" | "socks4" => 1080,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, tail) = bracketed.split_once(']')?;
            (host, tail.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None | Some("") => default,
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then_some((host, port))
}

/// A URL without what may be a password in it, for messages.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests;
