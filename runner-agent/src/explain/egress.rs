//! Asks a policy about a connect or a name, and what would change its answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{Allow, Decision, Explanation, Near, Question, Rule};
use crate::config::check::warnings_of;
use crate::policy::egress::smallest::{self, smallest};
use crate::policy::egress::{DNS_PORT, LOOPBACK_RULE, NearMiss, RESOLVER_RULE, Target, classify_endpoint};
use crate::policy::{
    AddressClass, Destination, HostPattern, Mode, Policy, Protocol, Ruling, Verdict, encrypted_dns, suffix,
};

/// Rules that are told as near at most.
const MOST_NEAR: usize = 5;

/// A connect that is asked about.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The address; none when only a name is known.
    pub address: Option<IpAddr>,
    /// The port, 0 for transports without.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
    /// Names that led to the address.
    pub names: Vec<Arc<str>>,
    /// Path or name of the program.
    pub exe: Option<String>,
    /// Whether the program holds a secret, so that the rule must say that it may carry one.
    pub carries: bool,
    /// Names that somebody gave the address in a way that does not count, each with why.
    pub not_counted: Vec<(Arc<str>, String)>,
}

/// An address of the internet that no rule is about, for a name that nobody looks up here. Networks of documentation:
/// nothing answers there. A policy that has rules for all of them means every address anyway.
fn anywhere(policy: &Policy) -> IpAddr {
    let is_named = |address: &IpAddr| {
        let allowed =
            policy.egress.allow.iter().any(|rule| matches!(&rule.target, Target::Cidr(net) if net.contains(address)));
        allowed || policy.egress.deny.iter().any(|rule| rule.cidr.is_some_and(|net| net.contains(address)))
    };
    let candidates = [[192, 0, 2, 1], [198, 51, 100, 1], [203, 0, 113, 1], [192, 0, 2, 129], [203, 0, 113, 129]];
    let candidates = candidates.map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    candidates.into_iter().find(|address| !is_named(address)).unwrap_or(candidates[0])
}

/// Explains a connect.
pub fn connect(policy: &Policy, attempt: &Attempt) -> Explanation {
    let is_here = attempt.address.is_none() && attempt.names.iter().any(|name| &**name == "localhost");
    let known = attempt.address.or(is_here.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let address = known.unwrap_or_else(|| anywhere(policy));
    let Attempt { port, protocol, .. } = *attempt;
    let to = Destination { address, port, protocol, names: &attempt.names, exe: attempt.exe.as_deref() };
    let ruling = policy.egress.judge(policy.mode, &to);
    let mut told = Explanation {
        kind: "connect",
        why: why(policy, &to, &ruling),
        rule: ruling.rule.as_deref().and_then(|id| rule(policy, id, &to)),
        now: Some(decision(ruling.verdict, ruling.rule.as_deref())),
        ..Explanation::default()
    };
    // Only a name that is still to be asked for has a question.
    if let (None, Some(name)) = (known, attempt.names.first()) {
        let question = question(policy, name);
        told.notes.push(format!(
            "{name} was not looked up: taken for a public address that no network of the policy holds; with an address, \
             write `--to ADDRESS --name {name}`"
        ));
        if question.decision.verdict == Verdict::Blocked.as_str() {
            told.now = Some(question.decision.clone());
            "the name is refused, so no address is ever had".clone_into(&mut told.why);
        }
        told.question = Some(question);
    }
    if told.now.as_ref().is_some_and(|now| now.verdict == Verdict::Allowed.as_str()) {
        carrying(policy, &to, &ruling, attempt.carries, &mut told);
        return told;
    }
    let is_denied = policy.egress.deny.iter().find(|deny| deny.matches(address.to_canonical(), ruling.class, &to));
    if let Some(deny) = is_denied {
        told.notes.push(format!("no line of egress.allow opens it: take out or narrow {}", deny.id));
        return told;
    }
    near(policy, &to, attempt, &mut told);
    let plain = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    if plain && port == DNS_PORT && policy.mode == Mode::Block {
        told.notes.push(
            "in mode block port 53 is taken to the agent's resolver, whatever server was meant: allow the names that are \
             asked for, as `host`"
                .to_owned(),
        );
        return told;
    }
    let mut least = smallest(&to);
    least.rule.may_carry_secrets = attempt.carries;
    told.notes.extend(least.besides.map(|besides| format!("no rule is narrower, but this line also allows {besides}")));
    told.allow = Some(pasted(&least.rule, None));
    told
}

fn pasted(rule: &crate::policy::EgressRule, replaces: Option<&str>) -> Allow {
    let line = smallest::line(rule);
    let warnings = warnings_of(&line);
    Allow { below: "egress.allow", line: format!("- {line}"), replaces: replaces.map(str::to_owned), warnings }
}

/// What an allowed connect of a program that holds a secret still needs.
fn carrying(policy: &Policy, to: &Destination, ruling: &Ruling, carries: bool, told: &mut Explanation) {
    if !carries || ruling.may_carry_secrets {
        return;
    }
    told.notes.push("the program holds a secret, and no rule that covers this has may-carry-secrets: true".to_owned());
    let address = to.address.to_canonical();
    if let Some(rule) = policy.egress.allow.iter().find(|rule| rule.matches(address, ruling.class, to)) {
        let carrying = crate::policy::EgressRule { may_carry_secrets: true, ..rule.clone() };
        // A line of an ecosystem stands for several hosts; one of them gets a rule of its own.
        told.allow = Some(pasted(&carrying, rule.source.is_none().then_some(&*rule.id)));
    }
}

fn near(policy: &Policy, to: &Destination, attempt: &Attempt, told: &mut Explanation) {
    let shown = |miss: &NearMiss| Near {
        rule: Rule::allow(miss.rule, &policy.origin),
        differs: miss.differs.iter().map(|difference| difference.as_str()).collect(),
        why: miss.because.join("; "),
    };
    // A name that does not count would often have been the right one: that is the nearest of all.
    for (name, reason) in &attempt.not_counted {
        let with = [Arc::clone(name)];
        let ruling = policy.egress.judge(policy.mode, &Destination { names: &with, ..*to });
        let rule = ruling.rule.filter(|_| ruling.verdict == Verdict::Allowed);
        let Some(rule) = rule.and_then(|id| policy.egress.allow.iter().find(|rule| rule.id == id)) else { continue };
        let why = format!("{name} does not count for this address: {reason}");
        told.near.push(Near { rule: Rule::allow(rule, &policy.origin), differs: vec!["name"], why });
    }
    let found = policy.egress.near(to, MOST_NEAR.saturating_sub(told.near.len()));
    told.near.extend(found.misses.iter().map(shown));
    let unnamed: Vec<&str> = found.unnamed.iter().map(|rule| &*rule.id).collect();
    if let Some((first, rest)) = unnamed.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        told.notes.push(format!(
            "{first}{more} would cover it, had the job asked for such a name and been given this address"
        ));
    }
}

/// Explains a question for a name.
pub fn dns(policy: &Policy, name: &str) -> Explanation {
    let asked = question(policy, name);
    let rule = policy.egress.rule_for_name(name);
    let mut told = Explanation {
        kind: "dns",
        why: asked.why,
        rule: rule.map(|rule| Rule::allow(rule, &policy.origin)),
        now: Some(asked.decision),
        ..Explanation::default()
    };
    if rule.is_some() {
        return told;
    }
    told.near = policy
        .egress
        .near_name(name, MOST_NEAR)
        .iter()
        .map(|miss| Near {
            rule: Rule::allow(miss.rule, &policy.origin),
            differs: miss.differs.iter().map(|difference| difference.as_str()).collect(),
            why: miss.because.join("; "),
        })
        .collect();
    if HostPattern::parse(name).is_ok_and(|pattern| !pattern.is_wildcard()) {
        let names = [name.into()];
        let address = anywhere(policy);
        let to = Destination { address, port: 443, protocol: Protocol::Tcp, names: &names, exe: None };
        told.allow = Some(pasted(&smallest(&to).rule, None));
        told.notes.push("a question says nothing of the port: the line allows 443, where most go".to_owned());
    } else {
        told.notes.push("no rule can name it: it is no host name".to_owned());
    }
    if name.rsplit('.').next() == Some("arpa") {
        told.notes
            .push("names of addresses (in-addr.arpa, ip6.arpa) decide nothing, and programs do without".to_owned());
    }
    told
}

fn question(policy: &Policy, name: &str) -> Question {
    let rule = policy.egress.rule_for_name(name);
    let verdict = match (rule, policy.mode) {
        (Some(_), _) => Verdict::Allowed,
        (None, Mode::Audit) => Verdict::Audited,
        (None, Mode::Block) => Verdict::Blocked,
    };
    let why = match rule {
        Some(rule) => match &rule.target {
            Target::Host(pattern) if pattern.is_wildcard() => format!("as it lies below {}", pattern.suffix()),
            _ => "which names it".to_owned(),
        },
        None if encrypted_dns::is_host(name) => {
            "it is a known server of encrypted DNS, and no rule names exactly that".to_owned()
        }
        None => "no rule names it".to_owned(),
    };
    Question { name: name.to_owned(), decision: decision(verdict, rule.map(|rule| &*rule.id)), why }
}

fn decision(verdict: Verdict, rule: Option<&str>) -> Decision {
    Decision { verdict: verdict.to_string(), rule: rule.unwrap_or("default").to_owned() }
}

/// The rule of this id that decided; lines of an ecosystem share one.
fn rule(policy: &Policy, id: &str, to: &Destination) -> Option<Rule> {
    let class = classify_endpoint(to.address, to.port);
    let address = to.address.to_canonical();
    if let Some(deny) = policy.egress.deny.iter().find(|deny| &*deny.id == id) {
        return Some(Rule::deny(deny, &policy.origin));
    }
    let decides = |rule: &&crate::policy::EgressRule| &*rule.id == id && rule.matches(address, class, to);
    policy.egress.allow.iter().find(decides).map(|rule| Rule::allow(rule, &policy.origin))
}

fn why(policy: &Policy, to: &Destination, ruling: &Ruling) -> String {
    match (ruling.rule.as_deref(), ruling.verdict) {
        (Some(RESOLVER_RULE), Verdict::Allowed) => {
            "it is port 53 of a resolver that the runner is configured with".to_owned()
        }
        (Some(LOOPBACK_RULE), Verdict::Allowed) => "it stays on this machine, and nothing closes the port".to_owned(),
        (Some(_), Verdict::Allowed) => "it is the first rule that covers it in everything".to_owned(),
        (Some(_), _) => {
            let open =
                policy.egress.allow.iter().find(|rule| rule.matches(to.address.to_canonical(), ruling.class, to));
            match open {
                Some(open) => format!("deny rules win, also over {}, which would allow it", open.id),
                None => "deny rules win over everything".to_owned(),
            }
        }
        (None, _) => {
            let class = match ruling.class {
                AddressClass::Public => String::new(),
                class => format!("; {class} addresses need a rule of their class"),
            };
            let mode = if policy.mode == Mode::Block { "it is refused" } else { "it happens and is recorded" };
            format!("no rule covers it, so in mode {} {mode}{class}", policy.mode)
        }
    }
}

/// What a reader should know of names that somebody else can have.
pub fn remark_on(name: &str) -> Option<String> {
    let registered = suffix::registrable(name)?;
    let parent = registered.split_once('.').map(|(_, parent)| parent)?;
    let is_shared = parent.contains('.') && suffix::shared(parent).is_some();
    is_shared
        .then(|| format!("anyone can register names below {parent}: make sure that {registered} is the one you mean"))
}

#[cfg(test)]
mod tests;
