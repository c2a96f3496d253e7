//! Addresses that answers named: let in, forgotten in time, taken over from an agent before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use runner_agent_common::egress::{Alternative, RuleEntry, RuleKey, alternative_flag, rule};

use super::error::{LearnError, RulesError};
use super::place::{self, Group};
use super::{Change, LEARNT_ENTRIES, Learnt, MAX_LEARNT, RuleTable};
use crate::policy::egress::{classify, normalise};

impl RuleTable {
    /// Lets the job reach addresses by these rules (indices into `EgressPolicy::allow`) until then. Addresses whose class
    /// is not a rule's are left out of it: a name never opens another class. Nothing is changed when this fails.
    pub fn learn(&mut self, admitted: &[(IpAddr, &[usize], u64)]) -> Result<Vec<Change>, LearnError> {
        let mut changes = Vec::new();
        let mut fresh: HashMap<IpAddr, Learnt> = HashMap::new();
        for &(address, rules, until_ns) in admitted {
            let address = normalise(address);
            let class = classify(address);
            let is_meant = |index: &&usize| self.hosts.get(index).is_some_and(|host| host.class == class);
            let fitting = rules.iter().filter(is_meant);
            for &index in fitting {
                let known =
                    fresh.entry(address).or_insert_with(|| self.learnt.get(&address).cloned().unwrap_or_default());
                let until = known.entry(index).or_default();
                *until = (*until).max(until_ns);
            }
        }
        let added = fresh.keys().filter(|address| !self.learnt.contains_key(address)).count();
        if self.learnt.len() + added > MAX_LEARNT {
            return Err(LearnError::Full);
        }
        let mut entries = self.learnt_entries;
        for (&address, learnt) in &fresh {
            let before = self.learnt.get(&address).map_or(0, |known| self.groups_of(address, known).len());
            entries += self.groups_of(address, learnt).len() - before;
            changes.extend(self.learnt_changes(address, learnt)?);
        }
        if entries > LEARNT_ENTRIES {
            return Err(LearnError::Full);
        }
        self.learnt.extend(fresh);
        self.learnt_entries = entries;
        Ok(changes)
    }

    /// Takes in what the map of an agent before had learnt.
    pub fn restore(&mut self, entries: impl Iterator<Item = (RuleKey, RuleEntry)>) {
        let first_allow = rule::FIRST + (self.ids.len() as u32 - rule::FIRST - self.allow_rules);
        for (key, entry) in entries.filter(|(key, _)| key.job == self.slot) {
            let learnt = entry.alternatives.iter().filter(|one| one.flags & alternative_flag::LEARNT != 0);
            for alternative in learnt {
                let Some(index) = alternative.rule.checked_sub(first_allow).map(|index| index as usize) else {
                    continue;
                };
                let address = place::address_of(&key);
                if self.hosts.contains_key(&index) {
                    let until = self.learnt.entry(address).or_default().entry(index).or_default();
                    *until = (*until).max(alternative.expires_ns);
                }
            }
        }
        self.learnt_entries = self.learnt.iter().map(|(&address, learnt)| self.groups_of(address, learnt).len()).sum();
    }

    /// Forgets what has expired.
    pub fn forget(&mut self, now_ns: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        let over: Vec<IpAddr> = self
            .learnt
            .iter()
            .filter(|(_, learnt)| learnt.values().any(|&until| until <= now_ns))
            .map(|(&address, _)| address)
            .collect();
        for address in over {
            let Some(before) = self.learnt.remove(&address) else { continue };
            let alive = before.iter().filter(|(_, until)| **until > now_ns);
            let left: Learnt = alive.map(|(&rule, &until)| (rule, until)).collect();
            let still = self.groups_of(address, &left);
            for group in self.groups_of(address, &before).difference(&still) {
                self.learnt_entries -= 1;
                changes.push(self.without_learnt(*group, address));
            }
            // Fewer rules at one address always fit.
            changes.extend(self.learnt_changes(address, &left).unwrap_or_default());
            if !left.is_empty() {
                self.learnt.insert(address, left);
            }
        }
        changes
    }

    /// The groups in which an address has entries of its own.
    pub(super) fn groups_of(&self, address: IpAddr, learnt: &Learnt) -> BTreeSet<Group> {
        let rules = learnt.keys().filter_map(|index| self.hosts.get(index));
        rules.flat_map(|host| host.places.iter()).map(|place| place.group(address)).collect()
    }

    pub(super) fn learnt_changes(&self, address: IpAddr, learnt: &Learnt) -> Result<Vec<Change>, RulesError> {
        let mut by_group: BTreeMap<Group, Vec<Alternative>> = BTreeMap::new();
        for (index, &until_ns) in learnt {
            let Some(host) = self.hosts.get(index) else { continue };
            for place in &host.places {
                by_group.entry(place.group(address)).or_default().push(Alternative {
                    expires_ns: until_ns,
                    flags: host.alternative.flags | alternative_flag::LEARNT,
                    port_low: place.low,
                    port_high: place.high,
                    ..host.alternative
                });
            }
        }
        let network = IpNet::from(address);
        let mut changes = Vec::new();
        for (group, mut alternatives) in by_group {
            alternatives.extend(self.groups.get(&group).map(|networks| networks.around(network)).unwrap_or_default());
            let (bits, key) = group.key(self.slot, network);
            changes.push(Change::Put(bits, key, self.entry(network, alternatives)?));
        }
        Ok(changes)
    }

    /// What is left at an address when nothing learnt is: the policy's own entry, or none.
    fn without_learnt(&self, group: Group, address: IpAddr) -> Change {
        let network = IpNet::from(address);
        let (bits, key) = group.key(self.slot, network);
        let fixed = self.groups.get(&group).filter(|networks| networks.rules.contains_key(&network));
        match fixed.and_then(|networks| self.entry(network, networks.around(network)).ok()) {
            Some(entry) => Change::Put(bits, key, entry),
            None => Change::Remove(bits, key),
        }
    }
}
