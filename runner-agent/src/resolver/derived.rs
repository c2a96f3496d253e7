//! Names that an allowed answer named: they may be asked for by the rules of the question that led to them.

use std::sync::Arc;

use super::limits::MAX_DEPTH;
use super::table::Table;

/// Ways by which one name may be reached at the same time; a CDN's edge is named by many.
const MAX_GRANTS: usize = 8;

/// Derived names, each with what it inherited.
#[derive(Debug)]
pub struct Derived {
    table: Table<Arc<str>, Vec<Grant>>,
}

/// One way by which a name was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    rules: Vec<usize>,
    depth: u8,
    from: Arc<str>,
    until_ns: u64,
}

/// What a derived name inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Rules of the questions that led here.
    pub rules: Vec<usize>,
    /// Steps from a name that a rule means, by the shortest way.
    pub depth: u8,
    /// The name whose answer named this one, on that way.
    pub from: Arc<str>,
}

impl Derived {
    /// No names yet, and never more than `capacity`.
    pub fn new(capacity: usize) -> Self {
        Self { table: Table::new(capacity, usize::MAX / 2) }
    }

    /// What `name` inherited, and still has.
    pub fn get(&self, name: &str, now_ns: u64) -> Option<Inherited> {
        let live = |grant: &&Grant| grant.until_ns > now_ns;
        let grants = self.table.get(name, now_ns)?;
        let shortest = grants.iter().filter(live).min_by_key(|grant| grant.depth)?;
        let mut rules: Vec<usize> = grants.iter().filter(live).flat_map(|grant| grant.rules.iter().copied()).collect();
        rules.sort_unstable();
        rules.dedup();
        Some(Inherited { rules, depth: shortest.depth, from: shortest.from.clone() })
    }

    /// Lets `name` be asked for by these rules, until then, unless it is too many steps away.
    pub fn grant(&mut self, name: &Arc<str>, rules: &[usize], depth: u8, from: &Arc<str>, until_ns: u64, now_ns: u64) {
        if depth > MAX_DEPTH {
            return;
        }
        let mut grants = self.table.get_mut(name, now_ns).map(std::mem::take).unwrap_or_default();
        grants.retain(|grant| grant.until_ns > now_ns);
        // A grant is prolonged only by one of its own depth: two names that name each other would else live for ever.
        match grants.iter_mut().find(|grant| grant.depth == depth && grant.rules == rules) {
            Some(grant) => grant.until_ns = grant.until_ns.max(until_ns),
            None => grants.push(Grant { rules: rules.to_vec(), depth, from: from.clone(), until_ns }),
        }
        if grants.len() > MAX_GRANTS {
            grants.sort_unstable_by_key(|grant| std::cmp::Reverse(grant.until_ns));
            grants.truncate(MAX_GRANTS);
        }
        let until_ns = grants.iter().map(|grant| grant.until_ns).max().unwrap_or(until_ns);
        self.table.insert(name.clone(), grants, until_ns, 1, now_ns);
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_inherits_from_every_question_that_led_to_it_for_as_long_as_each_lasts() {
        let mut derived = Derived::new(10);
        let edge: Arc<str> = "edge.example".into();
        derived.grant(&edge, &[4], 1, &"a.example".into(), 100, 0);
        derived.grant(&edge, &[2, 7], 3, &"b.example".into(), 200, 0);
        let both = derived.get("edge.example", 50).unwrap();
        assert_eq!((both.rules.as_slice(), both.depth, &*both.from), (&[2, 4, 7][..], 1, "a.example"));
        let later = derived.get("edge.example", 150).unwrap();
        assert_eq!((later.rules.as_slice(), later.depth), (&[2, 7][..], 3));
        assert_eq!(derived.get("edge.example", 200), None);
    }

    #[test]
    fn two_names_that_name_each_other_come_to_an_end() {
        let mut derived = Derived::new(10);
        let (one, other): (Arc<str>, Arc<str>) = ("one.example".into(), "other.example".into());
        derived.grant(&one, &[0], 1, &"asked.example".into(), 10, 0);
        let mut now = 0;
        for round in 0..100 {
            let (from, to) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let Some(inherited) = derived.get(from, now) else { break };
            derived.grant(to, &inherited.rules, inherited.depth + 1, from, now + 10, now);
            now += 6;
        }
        assert_eq!((derived.get(&one, now), derived.get(&other, now)), (None, None));
        assert!(now < 100);
    }

    #[test]
    fn a_name_with_many_ways_keeps_those_that_last_longest() {
        let mut derived = Derived::new(10);
        let edge: Arc<str> = "edge.example".into();
        for rule in 0..20 {
            derived.grant(&edge, &[rule], 1, &"a.example".into(), 100 + rule as u64, 0);
        }
        assert_eq!(derived.get("edge.example", 0).unwrap().rules, (12..20).collect::<Vec<_>>());
    }
}
