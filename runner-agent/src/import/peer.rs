//! Whose words a list is in, and what its own reader took them for.
//!
//! `action/dialects.mjs` reads the same lists for workflows that keep them; the two agree, and a test compares them. What
//! is wider here than it was there is left out, because a policy file is meant to be read and changed by somebody.

use crate::policy::egress::{Ports, Target};
use crate::policy::{HostPattern, Mode, suffix};

use super::entry::{self, Split, split};

/// An action that has a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `step-security/harden-runner`.
    HardenRunner,
    /// `bullfrogsec/bullfrog`.
    Bullfrog,
    /// `code-cargo/cargowall-action`.
    Cargowall,
}

/// What an input of a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Names, and addresses where the peer has them there.
    Endpoints,
    /// Addresses and networks.
    Addresses,
    /// The peer's word for block or audit.
    Mode,
    /// `true` takes sudo away.
    NoSudo,
    /// `false` takes sudo away.
    Sudo,
    /// `true` takes sudo and container engines away.
    NoSudoNoContainers,
    /// Whether names that no entry means are answered: with `any` they are.
    DnsPolicy,
    /// Changes nothing about what is allowed.
    Nothing,
    /// Asks for something that no policy has; the words say what to do, unless the value is this one.
    Elsewhere(&'static str, &'static str),
}

const STORE: &str = "the list is kept by a service and stands in no file; write its entries into `allowed-endpoints`";

const HARDEN_RUNNER: &[(&str, Role)] = &[
    ("allowed-endpoints", Role::Endpoints),
    ("egress-policy", Role::Mode),
    ("disable-sudo", Role::NoSudo),
    ("disable-sudo-and-containers", Role::NoSudoNoContainers),
    ("policy", Role::Elsewhere("", STORE)),
    ("use-policy-store", Role::Elsewhere("false", STORE)),
    ("disable-file-monitoring", Role::Nothing),
    ("disable-telemetry", Role::Nothing),
    ("deploy-on-self-hosted-vm", Role::Nothing),
    ("api-key", Role::Nothing),
    ("token", Role::Nothing),
];

const BULLFROG: &[(&str, Role)] = &[
    ("allowed-domains", Role::Endpoints),
    ("allowed-ips", Role::Addresses),
    ("egress-policy", Role::Mode),
    ("dns-policy", Role::DnsPolicy),
    ("enable-sudo", Role::Sudo),
    ("api-token", Role::Nothing),
    ("collect-process-info", Role::Nothing),
    ("_control-plane-api-base-url", Role::Nothing),
    ("_control-plane-webapp-base-url", Role::Nothing),
    ("_log-directory", Role::Nothing),
];

const CARGOWALL: &[(&str, Role)] = &[
    ("allowed-hosts", Role::Endpoints),
    ("allowed-cidrs", Role::Addresses),
    ("mode", Role::Mode),
    ("sudo-lockdown", Role::NoSudo),
    (
        "config-file",
        Role::Elsewhere("", "its rules stand in that file; `policy import --from cargowall` reads it as well"),
    ),
    (
        "sudo-allow-commands",
        Role::Elsewhere("", "sudo is refused whole or not at all; such a step needs a job of its own"),
    ),
    (
        "github-service-hosts",
        Role::Elsewhere(
            "",
            "what GitHub itself needs comes from presets/github-actions; write other names below `egress.allow`",
        ),
    ),
    (
        "azure-infra-hosts",
        Role::Elsewhere("", "anyone can have a name below such a suffix; write exact names below `egress.allow`"),
    ),
    (
        "search-domains",
        Role::Elsewhere(
            "",
            "names are asked for as they are; write those below such a domain in full below `egress.allow`",
        ),
    ),
    ("dns-upstream", Role::Elsewhere("", "the runner's own resolvers are asked")),
    ("allow-existing-connections", Role::Elsewhere("true", "connections that stand keep their ruling")),
    ("fail-on-unsupported", Role::Nothing),
    ("audit-summary", Role::Nothing),
    ("skip-actions-api", Role::Nothing),
    ("binary-path", Role::Nothing),
    ("debug", Role::Nothing),
    ("github-token", Role::Nothing),
    ("api-url", Role::Nothing),
    ("offline", Role::Nothing),
    ("job-id", Role::Nothing),
];

/// A rule's target and ports.
pub type Meaning = (Target, Ports);

/// What an entry was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The rules that mean the same.
    pub rules: Vec<Meaning>,
    /// The part of the entry that is left out, with the reason.
    pub left_out: Option<LeftOut>,
}

/// What has no rule, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// A fragment that says what would be right.
    pub message: String,
    /// The nearest rule there is, which allows more than was meant.
    pub wider: Option<Meaning>,
}

impl From<String> for LeftOut {
    fn from(message: String) -> Self {
        Self { message, wider: None }
    }
}

impl Peer {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::HardenRunner, Self::Bullfrog, Self::Cargowall];

    /// Its word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardenRunner => "harden-runner",
            Self::Bullfrog => "bullfrog",
            Self::Cargowall => "cargowall",
        }
    }

    /// What `uses:` has before the `@`.
    pub const fn action(self) -> &'static str {
        match self {
            Self::HardenRunner => "step-security/harden-runner",
            Self::Bullfrog => "bullfrogsec/bullfrog",
            Self::Cargowall => "code-cargo/cargowall-action",
        }
    }

    /// The inputs of its step.
    pub const fn inputs(self) -> &'static [(&'static str, Role)] {
        match self {
            Self::HardenRunner => HARDEN_RUNNER,
            Self::Bullfrog => BULLFROG,
            Self::Cargowall => CARGOWALL,
        }
    }

    /// What is said of an input that asks for something no policy has.
    pub fn elsewhere(self, input: &str) -> &'static str {
        let found = self.inputs().iter().find(|(known, _)| *known == input);
        match found {
            Some((_, Role::Elsewhere(_, message))) => message,
            _ => "",
        }
    }

    /// The mode of a step that doesn't say.
    pub const fn default_mode(self) -> Mode {
        match self {
            Self::Bullfrog => Mode::Audit,
            Self::HardenRunner | Self::Cargowall => Mode::Block,
        }
    }

    /// Its words for the modes, block first.
    pub const fn mode_words(self) -> [&'static str; 2] {
        match self {
            Self::HardenRunner | Self::Bullfrog => ["block", "audit"],
            Self::Cargowall => ["enforce", "audit"],
        }
    }

    /// Whether entries end at spaces, and not at the line's end alone.
    pub const fn splits_at_spaces(self) -> bool {
        matches!(self, Self::HardenRunner)
    }

    /// What an entry of the list of names means.
    pub fn endpoint(self, entry: &str) -> Result<Reading, LeftOut> {
        let separated_otherwise = entry.contains([',', ' ', '\t']);
        match self {
            Self::HardenRunner if separated_otherwise => {
                Err(format!("{entry:?} has a comma; harden-runner separates entries by spaces alone").into())
            }
            Self::Bullfrog | Self::Cargowall if separated_otherwise => {
                Err(format!("{entry:?} is no single entry; {} has one on a line", self.as_str()).into())
            }
            Self::HardenRunner => harden_runner(entry),
            Self::Bullfrog => bullfrog(entry),
            Self::Cargowall => cargowall(entry),
        }
    }

    /// What an entry of the list of addresses means.
    pub fn address(self, entry: &str) -> Result<Reading, LeftOut> {
        if self == Self::HardenRunner {
            return harden_runner(entry);
        }
        let Split { target, ports } = split(entry)?;
        let Target::Cidr(network) = target else {
            let [(names, _), ..] = self.inputs() else { return Err(String::new().into()) };
            return Err(format!("{entry:?} is no address or network; names belong into `{names}`").into());
        };
        if self == Self::Bullfrog && (ports.is_some() || network.addr().is_ipv6()) {
            return Err(format!(
                "{entry:?}: bullfrog takes IPv4 addresses and networks without a port, so this never worked; write a rule \
                 with `cidr` and `ports` if it is needed"
            )
            .into());
        }
        Ok(rule(target, every_port_unless(ports, entry)?))
    }
}

fn rule(target: Target, ports: Ports) -> Reading {
    Reading { rules: vec![(target, ports)], left_out: None }
}

fn every_port_unless(written: Option<&str>, entry: &str) -> Result<Ports, String> {
    written.map_or(Ok(Ports::Any), |text| entry::ports(text, entry))
}

/// Refuses a wildcard below which anyone can have a name: the list meant somebody's names, and the rule means everybody's.
fn owned(pattern: HostPattern) -> Result<HostPattern, String> {
    match suffix::shared(pattern.suffix()).filter(|_| pattern.is_wildcard()) {
        Some(known) => Err(format!(
            "{pattern} covers names that anyone can register below {known}; write the exact names that the job needs"
        )),
        None => Ok(pattern),
    }
}

fn owned_target(target: Target) -> Result<Target, String> {
    match target {
        Target::Host(pattern) => owned(pattern).map(Target::Host),
        Target::Cidr(_) => Ok(target),
    }
}

/// A name alone is that name and port 443, `*.` any depth below it: as ours. It reads addresses up to the first colon.
fn harden_runner(entry: &str) -> Result<Reading, LeftOut> {
    if let Some(rest) = entry.strip_prefix("**.") {
        return Err(format!(
            "{entry:?}: harden-runner takes this for every name there is; write *.{rest} if names below it are meant"
        )
        .into());
    }
    let Split { target, ports } = split(entry)?;
    if matches!(&target, Target::Cidr(network) if network.addr().is_ipv6()) {
        return Err(format!(
            "{entry:?}: harden-runner reads no IPv6, so this never worked; write a rule with `cidr` and `ports` if it is \
             needed"
        )
        .into());
    }
    if ports.is_some_and(|ports| ports.contains(';')) {
        return Err(format!(
            "{entry:?}: harden-runner reads one port an entry, so this never worked; write an entry for each"
        )
        .into());
    }
    let ports = ports.map_or(Ok(Ports::one(443)), |text| entry::ports(text, entry))?;
    Ok(rule(owned_target(target)?, ports))
}

/// One entry a line, names and addresses at every port, IPv4 alone.
fn bullfrog(entry: &str) -> Result<Reading, LeftOut> {
    if entry::network(entry)?.is_some() {
        return Err(format!("{entry:?} is an address; addresses belong into `allowed-ips`").into());
    }
    if let Some((name, _)) = entry.split_once(':') {
        return Err(format!(
            "{entry:?}: bullfrog has no ports and never allowed this; write {name:?}, or a rule with `ports`"
        )
        .into());
    }
    // Its stars don't stop at dots, so that two say what one does.
    let name = if entry.starts_with("**.") { &entry[1..] } else { entry };
    Ok(rule(Target::Host(owned(entry::host(name)?)?), Ports::Any))
}

/// One entry a line, every port unless written, and a name means everything below it as well.
fn cargowall(entry: &str) -> Result<Reading, LeftOut> {
    let (star, rest) = match entry.strip_prefix("**.") {
        Some(rest) => ("**.", rest),
        None => entry.strip_prefix("*.").map_or(("", entry), |rest| ("*.", rest)),
    };
    let Split { target, ports } = split(rest)?;
    let ports = every_port_unless(ports, entry)?;
    let Target::Host(name) = &target else {
        if !star.is_empty() {
            return Err(
                format!("{entry:?} has a star before an address; write the network as in 198.51.100.0/24").into()
            );
        }
        return Ok(rule(target, ports));
    };
    if star.is_empty() && !name.suffix().contains('.') {
        return Ok(rule(target, ports));
    }
    let below = entry::host(&format!("*.{name}")).and_then(owned);
    match star {
        "" => Ok(match below {
            Ok(below) => Reading { rules: vec![(target, ports.clone()), (Target::Host(below), ports)], left_out: None },
            Err(message) => {
                let message = format!("{entry:?} means every name below it to cargowall as well, and {message}");
                Reading { rules: vec![(target, ports)], left_out: Some(message.into()) }
            }
        }),
        "*." => Err(LeftOut {
            message: format!(
                "{entry:?}: cargowall means one label below it, and a rule means every depth; write the exact names, or \
                 *.{name} if every depth is meant"
            ),
            wider: Some((Target::Host(below?), ports)),
        }),
        _ => Ok(rule(Target::Host(below?), ports)),
    }
}

#[cfg(test)]
mod tests;
