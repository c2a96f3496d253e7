//! How many names, and how many bytes in them, a job asked for below each wildcard.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Refusal;
use super::tunnel::{Measures, bytes_for};

/// Names below wildcards, counted for the life of the job: a budget that refills is a rate, and a tunnel has time.
#[derive(Debug)]
pub struct Budget {
    rules: HashMap<usize, Counted>,
    total: usize,
    max_total: usize,
}

#[derive(Debug, Default)]
struct Counted {
    names: HashSet<Arc<str>>,
    bytes: usize,
}

impl Budget {
    /// Nothing counted yet; never more than `max_total` names over all rules.
    pub fn new(max_total: usize) -> Self {
        Self { rules: HashMap::new(), total: 0, max_total }
    }

    /// Counts a name below the wildcard of a rule, unless that is too much. `cut` is the length of what stands below it.
    pub fn spend(&mut self, rule: usize, names: u32, name: &Arc<str>, cut: usize) -> (Measures, Result<(), Refusal>) {
        let counted = self.rules.entry(rule).or_default();
        let mut measures = Measures::of(name.get(..cut).unwrap_or(name));
        (measures.names, measures.names_bytes) = (counted.names.len(), counted.bytes);
        if counted.names.contains(name) {
            return (measures, Ok(()));
        }
        if measures.is_payload() || counted.bytes + cut > bytes_for(names) {
            return (measures, Err(Refusal::Tunnel));
        }
        if counted.names.len() >= names as usize || self.total >= self.max_total {
            return (measures, Err(Refusal::Budget));
        }
        counted.names.insert(name.clone());
        counted.bytes += cut;
        self.total += 1;
        (measures, Ok(()))
    }

    /// How many names are counted.
    pub fn len(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(budget: &mut Budget, names: u32, below: &str) -> Result<(), Refusal> {
        budget.spend(3, names, &format!("{below}.example.org").into(), below.len()).1
    }

    #[test]
    fn a_name_counts_once_and_the_budget_ends() {
        let mut budget = Budget::new(1000);
        for name in ["a", "b", "a", "a", "b"] {
            assert_eq!(spend(&mut budget, 2, name), Ok(()));
        }
        assert_eq!(spend(&mut budget, 2, "c"), Err(Refusal::Budget));
        assert_eq!(spend(&mut budget, 2, "a"), Ok(()));
        assert_eq!(budget.len(), 2);
    }

    #[test]
    fn many_names_of_moderate_length_end_at_the_budget_of_bytes() {
        let mut budget = Budget::new(1000);
        let allowed = (0..50).take_while(|i| spend(&mut budget, 50, &format!("{i:04}-{}", "x-".repeat(30))).is_ok());
        assert_eq!(allowed.count(), 2000 / 65);
        assert_eq!(spend(&mut budget, 50, &format!("9999-{}", "x-".repeat(30))), Err(Refusal::Tunnel));
    }

    #[test]
    fn all_rules_together_are_bounded_whatever_they_say() {
        let mut budget = Budget::new(100);
        for i in 0..100_000_u32 {
            let _ = budget.spend(i as usize % 3, u32::MAX, &format!("{i}.example.org").into(), 6);
        }
        assert_eq!(budget.len(), 100);
        assert_eq!(budget.rules.values().map(|counted| counted.names.len()).sum::<usize>(), 100);
    }
}
