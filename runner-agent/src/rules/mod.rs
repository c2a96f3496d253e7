//! A policy's egress rules as the kernel's rule map holds them: from rules to entries, and from answers to entries.
//!
//! Pure: the map itself is the kernel module's. Entries are whole: the map finds the longest prefix only, so each carries
//! the rules of the networks around it too.

mod error;
mod learnt;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use runner_agent_common::address::class;
use runner_agent_common::egress::{
    ALTERNATIVES, ANY_EXE, Alternative, KEY_BITS, NEVER_NS, RuleEntry, RuleKey, alternative_flag, job_flag, rule,
};

use crate::policy::egress::{ExeName, LOOPBACK_RULE, RESOLVER_RULE, Target};
use crate::policy::{EgressPolicy, Mode, Policy};
pub use error::{LearnError, RulesError};
use place::{Group, Place, contains_ports};

/// Addresses that may be learnt from answers at one time. What comes beyond is refused with a clear answer, not forgotten.
pub const MAX_LEARNT: usize = 16_384;

/// Entries that learnt addresses may take: several ports a rule.
const LEARNT_ENTRIES: usize = 4 * MAX_LEARNT;

/// Entries that rules of a policy may take.
pub const MAX_STATIC: usize = 262_144;

/// Different lists of executables that one policy may have: a bit each, and one bit for any.
const MAX_EXE_LISTS: usize = 63;

/// A change to the rule map.
#[expect(clippy::large_enum_variant, reason = "nearly all changes are the large one, and they are soon written")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes an entry; the first number is the prefix length of the key in bits.
    Put(u32, RuleKey, RuleEntry),
    /// Removes one.
    Remove(u32, RuleKey),
}

/// What a rule allows for learnt addresses.
#[derive(Clone, Debug)]
struct HostRule {
    places: Vec<Place>,
    alternative: Alternative,
    class: crate::policy::AddressClass,
}

/// An address as it was learnt: by which rules (indices into `EgressPolicy::allow`), until when.
type Learnt = BTreeMap<usize, u64>;

/// The rules of one job.
#[derive(Debug)]
pub struct RuleTable {
    slot: u32,
    ids: Vec<Arc<str>>,
    /// How many of them allow; they stand last.
    allow_rules: u32,
    flags: u32,
    exe_lists: Vec<Vec<ExeName>>,
    groups: HashMap<Group, Networks>,
    hosts: HashMap<usize, HostRule>,
    learnt: HashMap<IpAddr, Learnt>,
    learnt_entries: usize,
}

/// The networks of one group, and which prefix lengths there are: so the networks around an address are found by asking
/// for each length once.
#[derive(Debug, Default)]
struct Networks {
    rules: HashMap<IpNet, Vec<Alternative>>,
    lengths: BTreeSet<u8>,
}

impl Networks {
    fn add(&mut self, network: IpNet, alternative: Alternative) {
        self.rules.entry(network).or_default().push(alternative);
        self.lengths.insert(network.prefix_len());
    }

    /// The rules of this network and of those around it.
    fn around(&self, network: IpNet) -> Vec<Alternative> {
        let lengths = self.lengths.range(..=network.prefix_len());
        let around = lengths.filter_map(|&length| IpNet::new(network.addr(), length).ok().map(|wider| wider.trunc()));
        around.filter_map(|wider| self.rules.get(&wider)).flatten().copied().collect()
    }
}

impl RuleTable {
    /// The rules of a policy for the job in this slot.
    pub fn new(slot: u32, policy: &Policy) -> Result<Self, RulesError> {
        let egress = &policy.egress;
        let mut table = Self {
            slot,
            ids: ids(egress),
            allow_rules: egress.allow.len() as u32,
            flags: 0,
            exe_lists: Vec::new(),
            groups: HashMap::new(),
            hosts: HashMap::new(),
            learnt: HashMap::new(),
            learnt_entries: 0,
        };
        if policy.mode == Mode::Block {
            table.flags |= job_flag::BLOCK;
        }
        if policy.carry.after_secret_read == Mode::Block {
            table.flags |= job_flag::CARRY_BLOCK;
        }
        for (index, deny) in egress.deny.iter().enumerate() {
            let alternative = Alternative {
                expires_ns: NEVER_NS,
                exes: ANY_EXE,
                rule: rule::FIRST + index as u32,
                flags: alternative_flag::DENY | alternative_flag::MAY_CARRY_SECRETS,
                ..Alternative::default()
            };
            for (network, class) in place::denied(deny) {
                table.place(network, &place::of(deny.protocol, &deny.ports), alternative, class);
            }
        }
        for (index, allow) in egress.allow.iter().enumerate() {
            let alternative = Alternative {
                expires_ns: NEVER_NS,
                exes: table.exe_bits(&allow.exe)?,
                rule: rule_number(egress, index),
                class: allow.class.code(),
                flags: if allow.may_carry_secrets { alternative_flag::MAY_CARRY_SECRETS } else { 0 },
                ..Alternative::default()
            };
            let places = place::of(allow.protocol, &allow.ports);
            match &allow.target {
                Target::Cidr(network) => table.place(*network, &places, alternative, alternative.class),
                Target::Host(_) => {
                    table.flags |= places.iter().fold(0, |flags, place| flags | place.flag());
                    table.hosts.insert(index, HostRule { places, alternative, class: allow.class });
                }
            }
        }
        if !table.exe_lists.is_empty() {
            table.flags |= job_flag::EXES;
        }
        let entries = table.static_entries();
        if entries > MAX_STATIC {
            return Err(RulesError::TooManyEntries(entries));
        }
        Ok(table)
    }

    /// Slot of the job.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Bits of [`job_flag`].
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Ids of the rules by their number.
    pub fn ids(&self) -> &[Arc<str>] {
        &self.ids
    }

    /// The lists of executables that rules name; list `n` has bit `n + 1`.
    pub fn exe_lists(&self) -> &[Vec<ExeName>] {
        &self.exe_lists
    }

    /// Entries that the map must be able to hold for this job.
    pub fn capacity(&self) -> usize {
        self.static_entries() + if self.hosts.is_empty() { 0 } else { LEARNT_ENTRIES }
    }

    /// Addresses that are learnt now.
    pub fn learnt(&self) -> usize {
        self.learnt.len()
    }

    /// The entries of the policy itself.
    pub fn entries(&self) -> Result<Vec<Change>, RulesError> {
        let mut changes = Vec::with_capacity(self.static_entries());
        for (group, networks) in &self.groups {
            for network in networks.rules.keys() {
                let entry = self.entry(*network, networks.around(*network))?;
                let (bits, key) = group.key(self.slot, *network);
                changes.push(Change::Put(bits, key, entry));
            }
        }
        Ok(changes)
    }

    /// Every entry as it should be now, learnt ones included.
    pub fn current(&self) -> Result<Vec<Change>, RulesError> {
        let mut entries: HashMap<(u32, RuleKey), Change> = HashMap::new();
        let mut take_in = |changes: Vec<Change>| {
            for change in changes {
                if let Change::Put(bits, key, _) = &change {
                    entries.insert((*bits, *key), change);
                }
            }
        };
        take_in(self.entries()?);
        for (&address, learnt) in &self.learnt {
            take_in(self.learnt_changes(address, learnt)?);
        }
        Ok(entries.into_values().collect())
    }

    /// Every entry of the job, for its end.
    pub fn all_keys(&self) -> Vec<(u32, RuleKey)> {
        let fixed = self
            .groups
            .iter()
            .flat_map(|(group, networks)| networks.rules.keys().map(|network| group.key(self.slot, *network)));
        let learnt = self.learnt.iter().flat_map(|(&address, learnt)| {
            let groups = self.groups_of(address, learnt).into_iter();
            groups.map(move |group| group.key(self.slot, IpNet::from(address)))
        });
        fixed.chain(learnt).collect()
    }

    fn static_entries(&self) -> usize {
        self.groups.values().map(|networks| networks.rules.len()).sum()
    }

    fn place(&mut self, network: IpNet, places: &[Place], alternative: Alternative, class: u8) {
        for place in places {
            self.flags |= place.flag();
            let alternative = Alternative { class, port_low: place.low, port_high: place.high, ..alternative };
            self.groups.entry(place.group(network.addr())).or_default().add(network.trunc(), alternative);
        }
    }

    /// The bits of a list of executables.
    fn exe_bits(&mut self, exe: &[ExeName]) -> Result<u64, RulesError> {
        if exe.is_empty() {
            return Ok(ANY_EXE);
        }
        let at = self.exe_lists.iter().position(|known| known == exe).unwrap_or_else(|| {
            self.exe_lists.push(exe.to_vec());
            self.exe_lists.len() - 1
        });
        if at >= MAX_EXE_LISTS {
            return Err(RulesError::TooManyExeLists(at + 1));
        }
        Ok(1 << (at + 1))
    }

    /// One entry: rules in ascending order, without those that can never decide here.
    fn entry(&self, network: IpNet, mut alternatives: Vec<Alternative>) -> Result<RuleEntry, RulesError> {
        alternatives.sort_by_key(|alternative| alternative.rule);
        let mut kept: Vec<Alternative> = Vec::new();
        for alternative in alternatives {
            if !kept.iter().any(|earlier| covers(earlier, &alternative)) {
                kept.push(alternative);
            }
        }
        let mut entry = RuleEntry::default();
        if kept.len() > ALTERNATIVES {
            let mut rules: Vec<String> = kept.iter().map(|one| self.ids[one.rule as usize].to_string()).collect();
            rules.dedup();
            return Err(RulesError::TooManyAtOnce { network, count: kept.len(), rules });
        }
        entry.alternatives[..kept.len()].copy_from_slice(&kept);
        Ok(entry)
    }
}

/// Whether the later of two rules can never decide: whoever it would let through, the earlier decides about.
fn covers(earlier: &Alternative, later: &Alternative) -> bool {
    let same_programs = earlier.exes == ANY_EXE || earlier.exes == later.exes;
    let may_carry = |one: &Alternative| one.flags & alternative_flag::MAY_CARRY_SECRETS;
    (earlier.class == later.class || earlier.class == class::ANY)
        && same_programs
        && contains_ports(earlier, later)
        && earlier.expires_ns >= later.expires_ns
        && may_carry(earlier) >= may_carry(later)
}

/// The number of an allow rule.
pub fn rule_number(egress: &EgressPolicy, allow: usize) -> u32 {
    rule::FIRST + (egress.deny.len() + allow) as u32
}

/// Ids of rules by number.
fn ids(egress: &EgressPolicy) -> Vec<Arc<str>> {
    let fixed: [Arc<str>; rule::FIRST as usize] = ["default".into(), LOOPBACK_RULE.into(), RESOLVER_RULE.into()];
    let deny = egress.deny.iter().map(|rule| rule.id.clone());
    let allow = egress.allow.iter().map(|rule| rule.id.clone());
    fixed.into_iter().chain(deny).chain(allow).collect()
}

/// Bits of a key whose network has this prefix length.
fn key_bits(length: u8) -> u32 {
    KEY_BITS + u32::from(length)
}
