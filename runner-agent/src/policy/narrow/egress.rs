//! Where a job may connect: each rule must lie within one of the floor's.

use crate::policy::egress::{DenyRule, EgressRule, NAMES_BELOW_WILDCARD, Target, smallest};
use crate::policy::{Policy, encrypted_dns};

use super::Widening;

/// Most rules of the floor that a message shows.
const SHOWN: usize = 3;

/// Every allow rule that no rule of the floor covers.
pub(super) fn check(floor: &Policy, wanted: &Policy, widenings: &mut Vec<Widening>) {
    // What is left of each wildcard's names: several narrower wildcards together have no more than the one they came from.
    let mut left: Vec<u32> = floor.egress.allow.iter().map(budget).collect();
    for rule in &wanted.egress.allow {
        let covering: Vec<usize> =
            (0..left.len()).filter(|&index| difference(&floor.egress.allow[index], rule).is_none()).collect();
        let spends = if is_wildcard(rule) { budget(rule) } else { 0 };
        let what = match covering.iter().find(|&&index| left[index] >= spends) {
            Some(&index) => {
                left[index] -= spends;
                continue;
            }
            None if covering.is_empty() => differs(floor, rule),
            None => format!(
                "may stand for {spends} names; what covers it has {} left after the rules before",
                covering.iter().map(|&index| left[index]).max().unwrap_or_default()
            ),
        };
        let written = wanted.origin.written.get(&rule.id).cloned();
        widenings.push(Widening { id: rule.id.clone(), written, what, floor: allowed(floor, rule) });
    }
}

/// The floor's deny rules, and those of the other that the floor doesn't have.
pub(super) fn deny(floor: &Policy, wanted: Vec<DenyRule>) -> Vec<DenyRule> {
    let mut deny = floor.egress.deny.clone();
    deny.extend(wanted.into_iter().filter(|rule| !floor.egress.deny.contains(rule)));
    deny
}

fn is_wildcard(rule: &EgressRule) -> bool {
    matches!(&rule.target, Target::Host(pattern) if pattern.is_wildcard())
}

fn budget(rule: &EgressRule) -> u32 {
    rule.names.unwrap_or(NAMES_BELOW_WILDCARD)
}

/// In what a rule goes beyond one of the floor's; `None` if in nothing. Names are counted by the caller.
fn difference(floor: &EgressRule, rule: &EgressRule) -> Option<&'static str> {
    // A wildcard opens no server of encrypted DNS, so a name below it that is one would be a new door.
    let door = |target: &Target| matches!(target, Target::Host(pattern) if !pattern.is_wildcard() && encrypted_dns::is_host(pattern.suffix()));
    let without_names = |rule: &EgressRule| EgressRule { names: None, ..rule.clone() };
    if !floor.target.covers(&rule.target) {
        Some(if matches!(rule.target, Target::Host(_)) { "the name" } else { "the network" })
    } else if door(&rule.target) && !door(&floor.target) {
        Some("the name, a server of encrypted DNS that no wildcard opens")
    } else if floor.class != rule.class {
        Some("the class of address")
    } else if !floor.ports.covers(&rule.ports) {
        Some("the ports")
    } else if !floor.protocol.covers(rule.protocol) {
        Some("the protocol")
    } else if rule.may_carry_secrets && !floor.may_carry_secrets {
        Some("that it may carry secrets")
    } else {
        (!without_names(floor).covers(&without_names(rule))).then_some("the programs")
    }
}

/// What is wrong with a rule, by the rule of the floor that is nearest.
fn differs(floor: &Policy, rule: &EgressRule) -> String {
    let near = |known: &&EgressRule| known.target.covers(&rule.target);
    let line = smallest::line(rule);
    match floor.egress.allow.iter().filter(near).find_map(|known| difference(known, rule)) {
        Some(what) => format!("{line} goes beyond the floor in {what}"),
        None => format!("{line} allows what the floor doesn't"),
    }
}

/// The floor's rules about what a rule is about.
fn allowed(floor: &Policy, rule: &EgressRule) -> String {
    let about = |known: &&EgressRule| known.target.covers(&rule.target) || rule.target.covers(&known.target);
    let mut lines = Vec::new();
    for known in floor.egress.allow.iter().filter(about) {
        let place = floor.origin.written.get(&known.id).map(|at| format!(" ({at})")).unwrap_or_default();
        lines.push(format!("{} {}{place}", known.id, smallest::line(known)));
    }
    match lines.len() {
        0 => "the floor allows nothing there".to_owned(),
        more if more > SHOWN => {
            format!("the floor allows {}, and {} rules more", lines[..SHOWN].join(", "), more - SHOWN)
        }
        _ => format!("the floor allows {}", lines.join(", ")),
    }
}
