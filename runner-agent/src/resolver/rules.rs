//! Host rules by name, so that a question costs a few look-ups and not a walk over the policy.

use std::collections::HashMap;

use crate::policy::egress::{EgressPolicy, Target};

/// Indices into [`EgressPolicy::allow`], by the name that a host rule names.
#[derive(Debug, Default)]
pub struct Rules {
    exact: HashMap<Box<str>, Vec<usize>>,
    below: HashMap<Box<str>, Vec<usize>>,
}

impl Rules {
    /// The host rules of a policy.
    pub fn new(policy: &EgressPolicy) -> Self {
        let mut rules = Self::default();
        for (index, rule) in policy.allow.iter().enumerate() {
            if let Target::Host(pattern) = &rule.target {
                let table = if pattern.is_wildcard() { &mut rules.below } else { &mut rules.exact };
                table.entry(pattern.suffix().into()).or_default().push(index);
            }
        }
        rules
    }

    /// Rules that name exactly this name (lower case).
    pub fn exact(&self, name: &str) -> &[usize] {
        self.exact.get(name).map_or(&[], Vec::as_slice)
    }

    /// Wildcard rules above this name, each with the length of what stands below the wildcard.
    pub fn wildcards(&self, name: &str) -> impl Iterator<Item = (usize, usize)> {
        let cuts = name.match_indices('.').map(|(cut, _)| cut).filter(|cut| *cut > 0);
        cuts.filter_map(|cut| Some((cut, self.below.get(&name[cut + 1..])?)))
            .flat_map(|(cut, rules)| rules.iter().map(move |rule| (*rule, cut)))
    }

    /// Whether any rule means this name.
    pub fn mean(&self, name: &str) -> bool {
        !self.exact(name).is_empty() || self.wildcards(name).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resolver::tests::host_rules;

    proptest! {
        #[test]
        fn the_index_finds_what_the_patterns_match(
            patterns in proptest::collection::vec("(\\*\\.)?([ab]\\.){1,2}[ab]", 1..6),
            name in "([ab]\\.){0,4}[ab]",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let policy = host_rules(&patterns);
            let rules = Rules::new(&policy);
            let mut found: Vec<usize> = rules.exact(&name).to_vec();
            found.extend(rules.wildcards(&name).map(|(rule, _)| rule));
            found.sort_unstable();
            let matches = |target: &Target| matches!(target, Target::Host(pattern) if pattern.matches(&name));
            let meant: Vec<usize> = (0..policy.allow.len()).filter(|i| matches(&policy.allow[*i].target)).collect();
            prop_assert_eq!(&found, &meant);
            prop_assert_eq!(rules.mean(&name), !meant.is_empty());
        }
    }
}
