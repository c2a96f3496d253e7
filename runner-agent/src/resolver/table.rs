//! A map that forgets: entries end at a time, and there are never more than so many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Entries with an end, bounded in number and in weight.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: HashMap<K, Held<V>>,
    capacity: usize,
    weight: usize,
    max_weight: usize,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    until_ns: u64,
    weight: usize,
}

impl<K: Eq + Hash + Clone, V> Table<K, V> {
    /// An empty table for so many entries, whose weights add up to no more than `max_weight`.
    pub fn new(capacity: usize, max_weight: usize) -> Self {
        Self { entries: HashMap::new(), capacity: capacity.max(1), weight: 0, max_weight }
    }

    /// The entry of a key, while it lasts.
    pub fn get_mut<Q>(&mut self, key: &Q, now_ns: u64) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.get_mut(key).filter(|held| held.until_ns > now_ns).map(|held| &mut held.value)
    }

    /// The entry of a key, while it lasts.
    pub fn get<Q>(&self, key: &Q, now_ns: u64) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.get(key).filter(|held| held.until_ns > now_ns).map(|held| &held.value)
    }

    /// Puts an entry in place of the key's old one. What is heavier than the whole table is not kept.
    pub fn insert(&mut self, key: K, value: V, until_ns: u64, weight: usize, now_ns: u64) {
        if let Some(old) = self.entries.remove(&key) {
            self.weight -= old.weight;
        }
        if weight > self.max_weight {
            return;
        }
        if self.entries.len() >= self.capacity || self.weight + weight > self.max_weight {
            self.make_room(weight, now_ns);
        }
        self.weight += weight;
        self.entries.insert(key, Held { value, until_ns, weight });
    }

    /// How many entries there are, ended ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what has ended, then what ends soonest, an eighth at a time: so the cost of a full table is spread.
    fn make_room(&mut self, weight: usize, now_ns: u64) {
        self.keep(|held| held.until_ns > now_ns);
        let goal = self.capacity - self.capacity / 8 - 1;
        let max_weight = (self.max_weight - self.max_weight / 8).min(self.max_weight - weight);
        if self.entries.len() <= goal && self.weight <= max_weight {
            return;
        }
        let mut ends: Vec<(u64, usize, K)> =
            self.entries.iter().map(|(key, held)| (held.until_ns, held.weight, key.clone())).collect();
        ends.sort_unstable_by_key(|(until_ns, ..)| *until_ns);
        for (_, weight, key) in ends {
            if self.entries.len() <= goal && self.weight <= max_weight {
                break;
            }
            self.entries.remove(&key);
            self.weight -= weight;
        }
    }

    fn keep(&mut self, keep: impl Fn(&Held<V>) -> bool) {
        let weight = &mut self.weight;
        self.entries.retain(|_, held| {
            let stays = keep(held);
            if !stays {
                *weight -= held.weight;
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_ends_when_its_time_is_over() {
        let mut table = Table::new(4, 100);
        table.insert("a", 1, 10, 1, 0);
        assert_eq!(table.get("a", 9), Some(&1));
        assert_eq!(table.get("a", 10), None);
    }

    #[test]
    fn a_full_table_forgets_what_ends_soonest() {
        let mut table = Table::new(8, 100);
        for key in 0..20_u64 {
            table.insert(key, key, 100 + key, 1, 0);
            assert!(table.len() <= 8);
        }
        assert_eq!(table.get(&19, 0), Some(&19));
        assert_eq!(table.get(&0, 0), None);
    }

    #[test]
    fn weights_are_bounded_and_counted_right() {
        let mut table = Table::new(1000, 100);
        for key in 0..500_u64 {
            table.insert(key % 40, key, 100 + key, 30, key / 2);
            let held: usize = table.entries.values().map(|held| held.weight).sum();
            assert_eq!(held, table.weight);
            assert!(held <= 100);
        }
        table.insert(7, 7, 10_000, 101, 0);
        assert_eq!(table.get(&7, 0), None);
    }

    #[test]
    fn a_table_for_one_entry_keeps_the_last() {
        let mut table = Table::new(1, 10);
        table.insert("a", 1, 10, 1, 0);
        table.insert("b", 2, 10, 1, 0);
        assert_eq!((table.get("a", 0), table.get("b", 0), table.len()), (None, Some(&2), 1));
    }
}
