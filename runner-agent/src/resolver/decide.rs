//! Whether a name may be asked for, and by which rules: decided before anything is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::RecordType;

use super::budget::Budget;
use super::canary::{is_at_or_below, is_canary};
use super::derived::Derived;
use super::question::Question;
use super::rules::Rules;
use super::tunnel::Measures;
use super::{Limits, Refusal};
use crate::policy::{EgressPolicy, encrypted_dns};

/// What may be asked of a name that a rule names exactly. ANY is not here: it is what amplifies best (RFC 8482), and no
/// program needs it. Zone transfers and what DNSSEC's validators ask belong to servers.
const EXACT_TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::SRV,
    RecordType::HTTPS,
    RecordType::SVCB,
    RecordType::TXT,
    RecordType::MX,
    RecordType::NS,
    RecordType::SOA,
    RecordType::CAA,
    RecordType::NAPTR,
    RecordType::SSHFP,
    RecordType::TLSA,
];

/// What may be asked of every other name: what leads to an address, and nothing made to carry free text.
const OTHER_TYPES: &[RecordType] =
    &[RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::HTTPS, RecordType::SVCB, RecordType::SRV];

/// What is to be done with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be asked upstream.
    Allow(Leave),
    /// It is about this machine, and answered without asking.
    Loopback,
    /// It asks for the name of an address.
    Reverse(IpAddr),
    /// It may not.
    Refuse(Refusal, Option<Measures>),
}

/// By what a name may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// Indices into `EgressPolicy::allow`, ascending.
    pub rules: Vec<usize>,
    /// Steps from a name that a rule means.
    pub depth: u8,
    /// The name whose answer named this one, if no rule means it.
    pub derived_from: Option<Arc<str>>,
    /// What was measured below a wildcard.
    pub measures: Option<Measures>,
}

/// The policy's names, and what was asked so far.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<EgressPolicy>,
    rules: Rules,
    budget: Budget,
    search: Vec<String>,
    default_names: u32,
    /// Names that allowed answers named.
    pub derived: Derived,
}

impl Judge {
    /// A judge who has seen nothing yet. `search` are the runner's search domains.
    pub fn new(policy: Arc<EgressPolicy>, search: &[String], limits: &Limits) -> Self {
        let search = search.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase());
        Self {
            rules: Rules::new(&policy),
            policy,
            budget: Budget::new(limits.counted_names),
            search: search.filter(|domain| !domain.is_empty()).collect(),
            default_names: limits.names_below_wildcard,
            derived: Derived::new(limits.derived_names),
        }
    }

    /// Whether one of the rules that allow a name may carry secrets.
    pub fn may_carry_secrets(&self, leave: &Leave) -> bool {
        leave.rules.iter().filter_map(|&rule| self.policy.allow.get(rule)).any(|rule| rule.may_carry_secrets)
    }

    /// Decides about a question; a name below a wildcard is counted when it is allowed.
    pub fn decide(&mut self, question: &Question, now_ns: u64) -> Decision {
        let name = &*question.name;
        let refuse = |refusal| Decision::Refuse(refusal, None);
        if !question.is_host_name {
            return refuse(Refusal::NoRule);
        }
        if is_at_or_below(name, "localhost") {
            return Decision::Loopback;
        }
        let is_exact = !self.rules.exact(name).is_empty();
        if !is_exact {
            if is_canary(name) {
                return refuse(Refusal::Canary);
            }
            if encrypted_dns::is_host(name) {
                return refuse(Refusal::EncryptedDns);
            }
            if is_at_or_below(name, "in-addr.arpa") || is_at_or_below(name, "ip6.arpa") {
                let address = reverse_address(name).filter(|_| question.query_type == RecordType::PTR);
                return address.map_or(refuse(Refusal::Reverse), Decision::Reverse);
            }
            // Also below a wildcard: with `ndots:5` each allowed name comes with each search domain first, and would
            // use up the wildcard's budget.
            if self.before_search_domain(name).any(|rest| self.may_be_asked(rest, now_ns)) {
                return refuse(Refusal::SearchDomain);
            }
        }
        let inherited = self.derived.get(name, now_ns);
        let wildcards: Vec<(usize, usize)> = self.rules.wildcards(name).collect();
        if !is_exact && inherited.is_none() && wildcards.is_empty() {
            return refuse(self.why_not(name));
        }
        let types = if is_exact { EXACT_TYPES } else { OTHER_TYPES };
        if !types.contains(&question.query_type) {
            return refuse(Refusal::Type);
        }
        let mut leave = Leave { rules: self.rules.exact(name).to_vec(), ..Leave::default() };
        let mut refusal = None;
        for (rule, cut) in wildcards {
            if is_exact {
                leave.rules.push(rule);
                continue;
            }
            let names = self.policy.allow.get(rule).and_then(|rule| rule.names).unwrap_or(self.default_names);
            let (measures, spent) = self.budget.spend(rule, names, &question.name, cut);
            leave.measures = leave.measures.or(Some(measures));
            match spent {
                Ok(()) => leave.rules.push(rule),
                Err(why) => refusal = refusal.max(Some(why)),
            }
        }
        if let Some(inherited) = inherited {
            if leave.rules.is_empty() {
                leave.depth = inherited.depth;
                leave.derived_from = Some(inherited.from);
            }
            leave.rules.extend(inherited.rules);
        }
        leave.rules.sort_unstable();
        leave.rules.dedup();
        match refusal {
            Some(refusal) if leave.rules.is_empty() => Decision::Refuse(refusal, leave.measures),
            _ => Decision::Allow(leave),
        }
    }

    /// Id of the first of these rules.
    pub fn rule_id(&self, rules: &[usize]) -> Option<Arc<str>> {
        rules.first().and_then(|rule| self.policy.allow.get(*rule)).map(|rule| rule.id.clone())
    }

    /// The policy that is judged by.
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// How many names are counted below wildcards.
    pub fn counted(&self) -> usize {
        self.budget.len()
    }

    /// What stands in front of each search domain that the name ends with.
    fn before_search_domain<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let before = |domain: &'a String| name.strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        self.search.iter().filter_map(before)
    }

    fn may_be_asked(&self, name: &str, now_ns: u64) -> bool {
        self.rules.mean(name) || self.derived.get(name, now_ns).is_some()
    }

    /// Why a name that nothing allows is refused: honest programs try some names that they can do without.
    fn why_not(&self, name: &str) -> Refusal {
        if self.before_search_domain(name).any(|rest| !rest.contains('.')) {
            return Refusal::SearchDomain;
        }
        let mut host = name;
        while let Some((_, rest)) = host.split_once('.').filter(|(label, _)| label.starts_with('_')) {
            host = rest;
        }
        if host.len() < name.len() && self.rules.mean(host) { Refusal::ServiceLabel } else { Refusal::NoRule }
    }
}

/// The address that a whole reverse name stands for (RFC 1035, 3.5; RFC 3596, 2.5).
fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<u8> = rest.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let &[last, third, second, first] = parts.as_slice() else { return None };
        return Some(IpAddr::V4(Ipv4Addr::new(first, second, third, last)));
    }
    let rest = name.strip_suffix(".ip6.arpa")?;
    let digit = |part: &str| if part.len() == 1 { u8::from_str_radix(part, 16).ok() } else { None };
    let digits: Vec<u8> = rest.split('.').map(digit).collect::<Option<_>>()?;
    if digits.len() != 32 {
        return None;
    }
    let bits = digits.iter().rev().fold(0_u128, |bits, digit| bits << 4 | u128::from(*digit));
    Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests;
