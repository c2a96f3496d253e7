//! A policy from a repository over the floor of the machine: it can only narrow what the floor allows.
//!
//! What the second policy writes beyond the floor is an error that names it. Settings with a default (mode, `carry`, `guard`)
//! can't be told from what nobody wrote: there the stricter of the two holds, and where that is the floor's, it is said.

mod egress;
mod secrets;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{CarryPolicy, Policy, Severity, Written};

/// A narrowed policy.
#[derive(Clone, Debug)]
pub struct Narrowed {
    /// The policy: what it allows, the floor allows.
    pub policy: Policy,
    /// Where the floor's word stays over a weaker one, as fragments for people.
    pub kept: Vec<String>,
}

/// Something that a policy would allow beyond the floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    /// Id of the rule or class, or the key: `detect.disable`.
    pub id: Arc<str>,
    /// Where it is written, if that is known.
    pub written: Option<Written>,
    /// What is wrong with it.
    pub what: String,
    /// What the floor would allow.
    pub floor: String,
}

impl std::fmt::Display for Widening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(written) = &self.written {
            write!(f, "{written}: ")?;
        }
        write!(f, "{}: {}; {}", self.id, self.what, self.floor)
    }
}

/// Narrows the floor to what `wanted` asks for, or says everything in which that would widen it.
///
/// Allowed is what `wanted` allows, closed is what either closes, and secret what either says; the floor says first whose a
/// file is. `platform` and the resolvers are the machine's, and so the floor's. `wanted.applies_to` stays: whether it is for
/// the job is [`select`](super::select())'s to say.
pub fn narrow(floor: &Policy, wanted: Policy) -> Result<Narrowed, Vec<Widening>> {
    let mut widenings = Vec::new();
    let mut kept = Vec::new();
    ids(floor, &wanted, &mut widenings);
    egress::check(floor, &wanted, &mut widenings);
    secrets::check(floor, &wanted, &mut widenings, &mut kept);
    platform(floor, &wanted, &mut widenings);
    detect(floor, &wanted, &mut widenings);
    if !widenings.is_empty() {
        return Err(widenings);
    }
    weaker(floor, &wanted, &mut kept);
    let mut policy = floor.clone().merge(Policy { platform: Vec::new(), ..wanted.clone() });
    policy.applies_to = wanted.applies_to;
    policy.egress.allow = wanted.egress.allow;
    policy.egress.deny = egress::deny(floor, wanted.egress.deny);
    policy.egress.resolvers.clone_from(&floor.egress.resolvers);
    policy.secrets = secrets::merge(floor, wanted.secrets);
    policy.origin.sha256 = both(&floor.origin.sha256, &wanted.origin.sha256);
    Ok(Narrowed { policy, kept })
}

/// The hash of a policy that was made of two: over both hashes as they stand, the floor's first.
fn both(floor: &str, wanted: &str) -> String {
    let hash = Sha256::digest([floor, wanted].concat());
    crate::text::hex(&hash)
}

/// A rule's id says where it is written. Two rules of one id would make every verdict ambiguous, and let a repository's
/// rule pass for the floor's.
fn ids(floor: &Policy, wanted: &Policy, widenings: &mut Vec<Widening>) {
    for (id, written) in &wanted.origin.written {
        if let Some(known) = floor.origin.written.get(id).filter(|known| *known != written) {
            widenings.push(Widening {
                id: id.clone(),
                written: Some(written.clone()),
                what: "is also the id of a rule of the floor".to_owned(),
                floor: format!("the floor's is written in {known}; give the policy a `name` of its own"),
            });
        }
    }
}

/// Services that the policy doesn't hold for.
fn platform(floor: &Policy, wanted: &Policy, widenings: &mut Vec<Widening>) {
    for service in &wanted.platform {
        let known = floor
            .platform
            .iter()
            .any(|known| known.cgroup == service.cgroup && service.exes.iter().all(|exe| known.exes.contains(exe)));
        if !known {
            let exempt: Vec<&str> = floor.platform.iter().map(|service| service.cgroup.as_str()).collect();
            widenings.push(Widening {
                id: "platform".into(),
                written: None,
                what: format!("exempts {}", service.cgroup),
                floor: if exempt.is_empty() {
                    "the floor exempts nothing".to_owned()
                } else {
                    format!("the floor exempts {}", exempt.join(", "))
                },
            });
        }
    }
}

/// Detectors that would speak less, or more softly.
fn detect(floor: &Policy, wanted: &Policy, widenings: &mut Vec<Widening>) {
    for id in wanted.detect.disable.difference(&floor.detect.disable) {
        widenings.push(Widening {
            id: "detect.disable".into(),
            written: None,
            what: format!("silences {id}"),
            floor: "the floor wants to hear it".to_owned(),
        });
    }
    for (id, severity) in &wanted.detect.severity {
        // Without a word of the floor's the detector grades each finding itself, and only the worst grade is never lower.
        let least = floor.detect.severity.get(id).copied().unwrap_or(Severity::Critical);
        if *severity < least {
            widenings.push(Widening {
                id: "detect.severity".into(),
                written: None,
                what: format!("grades {id} {severity}"),
                floor: match floor.detect.severity.get(id) {
                    Some(least) => format!("the floor grades it {least} or worse"),
                    None => format!("the floor leaves the grade to the detector, and only {least} is never lower"),
                },
            });
        }
    }
}

/// Where the floor's stricter word stays.
fn weaker(floor: &Policy, wanted: &Policy, kept: &mut Vec<String>) {
    let (guard, theirs) = (floor.guard, wanted.guard);
    let CarryPolicy { after_secret_read } = floor.carry;
    let words = [
        ("mode", floor.mode.as_str(), wanted.mode.as_str(), wanted.mode < floor.mode),
        (
            "carry.after-secret-read",
            after_secret_read.as_str(),
            wanted.carry.after_secret_read.as_str(),
            wanted.carry.after_secret_read < after_secret_read,
        ),
        (
            "secrets.on-read.other-readers",
            floor.secrets.on_read.as_str(),
            wanted.secrets.on_read.as_str(),
            wanted.secrets.on_read < floor.secrets.on_read,
        ),
        (
            "egress.dns.refuse-with",
            floor.egress.refuse_with.as_str(),
            wanted.egress.refuse_with.as_str(),
            wanted.egress.refuse_with < floor.egress.refuse_with,
        ),
        ("guard.sudo", guard.sudo.as_str(), theirs.sudo.as_str(), theirs.sudo < guard.sudo),
        ("guard.docker", guard.docker.as_str(), theirs.docker.as_str(), theirs.docker < guard.docker),
        ("guard.services", guard.services.as_str(), theirs.services.as_str(), theirs.services < guard.services),
        ("guard.bpf", guard.bpf.as_str(), theirs.bpf.as_str(), theirs.bpf < guard.bpf),
        ("guard.modules", guard.modules.as_str(), theirs.modules.as_str(), theirs.modules < guard.modules),
        ("guard.trace", guard.trace.as_str(), theirs.trace.as_str(), theirs.trace < guard.trace),
        ("guard.network", guard.network.as_str(), theirs.network.as_str(), theirs.network < guard.network),
    ];
    let weaker = words.into_iter().filter(|(.., weaker)| *weaker);
    kept.extend(weaker.map(|(key, stays, said, _)| format!("{key}: the floor's {stays} stays over {said}")));
}

#[cfg(test)]
mod tests;
