//! Rules for hosts that a configuration names.

use std::path::PathBuf;

use ipnet::IpNet;

use super::Loader;
use crate::config::ecosystem::ConfiguredHost;
use crate::config::problem::Problem;
use crate::config::raw::At;
use crate::policy::egress::{EgressRule, Ports, ProtocolMatch, Target, classify};
use crate::policy::{AddressClass, HostPattern, Policy};

/// Rule id of the proxies that the environment names.
pub const PROXY_RULE: &str = "proxy";

impl Loader<'_> {
    /// A proxy stands between the job and every host: without it, rules for registries would allow what nobody uses.
    ///
    /// Public and private alike, because the machine's own environment names it. It may carry secrets, because an owner's
    /// request with a token in it cannot be told from another's there; the warning says what that costs.
    pub(super) fn proxies(&mut self, policy: &mut Policy) {
        if self.resolved.is_empty() {
            return;
        }
        let resolved = self.surroundings.proxies();
        let Some(file) =
            policy.origin.files.first().cloned().or_else(|| policy.origin.labels.first().map(PathBuf::from))
        else {
            return;
        };
        for message in resolved.warnings {
            self.problems.push(Problem::warning(&file, At::START, "", message));
        }
        for host in &resolved.hosts {
            let message = format!(
                "{} names the proxy {}:{}: where it passes connections on to is its own to decide, this policy sees only \
                 the proxy",
                host.source, host.host, host.port
            );
            self.problems.push(Problem::warning(&file, At::START, "", message));
            for class in [AddressClass::Public, AddressClass::Private] {
                let template = EgressRule {
                    id: PROXY_RULE.into(),
                    target: Target::Cidr(IpNet::default()),
                    ports: Ports::Any,
                    protocol: ProtocolMatch::Tcp,
                    class,
                    exe: Vec::new(),
                    names: None,
                    may_carry_secrets: true,
                    why: "the runner's environment names this proxy".into(),
                    source: None,
                };
                // Of an address, one class does not fit; that is no news.
                policy.egress.allow.extend(expanded(host, &template, None));
            }
        }
    }
}

/// The rule for one host that a configuration names.
pub(super) fn expanded(
    host: &ConfiguredHost,
    template: &EgressRule,
    ports: Option<&Ports>,
) -> Result<EgressRule, String> {
    let ConfiguredHost { host, port, source } = host;
    if ports.is_some_and(|ports| !ports.contains(*port)) {
        return Err(format!("{source} names {host}:{port}, and port {port} is not among the rule's `ports`; left out"));
    }
    let target = match host.parse::<std::net::IpAddr>() {
        Ok(address) => {
            let class = classify(address);
            if class != template.class {
                return Err(format!(
                    "{source} names {address}, which is {class}; add `class: {class}` to a rule for it"
                ));
            }
            Target::Cidr(IpNet::from(address))
        }
        Err(_) => match HostPattern::parse(host) {
            Ok(pattern) if !pattern.is_wildcard() => Target::Host(pattern),
            Ok(_) => {
                return Err(format!("{source} names {host:?}, which is more than one host; left out"));
            }
            Err(error) => return Err(format!("{source}: {error}; left out")),
        },
    };
    let ports = ports.cloned().unwrap_or_else(|| Ports::one(*port));
    Ok(EgressRule { target, ports, source: Some(source.as_str().into()), ..template.clone() })
}
