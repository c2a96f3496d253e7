//! How a verdict comes about: the one procedure, run by the kernel side for the job and by user space to explain and to
//! test.
//!
//! The map finds the longest prefix for one protocol and port; rules for any port or any protocol stand under keys of
//! their own, so there are up to four look-ups. Of all rules that match, the lowest number decides: closed ports come
//! first in a policy, and what is allowed keeps the policy's order.

#![allow(clippy::inline_always, reason = "old verifiers take few calls, and none that pass what they can't track")]

use crate::address::{class, classify_v4, classify_v6};
use crate::egress::{
    ALTERNATIVES, ANY_EXE, KEY_BITS, NEVER_NS, RuleEntry, RuleKey, alternative_flag, job_flag, rule, verdict,
};

/// IP protocol number of TCP.
pub const IPPROTO_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const IPPROTO_UDP: u8 = 17;
/// [`Destination::family`] of IPv4.
pub const FAMILY_V4: u8 = 4;
/// [`Destination::family`] of IPv6.
pub const FAMILY_V6: u8 = 6;

/// A destination in the form in which rules are kept: IPv4-mapped IPv6 is IPv4 here.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// The address as four words in network order; IPv4 in the first.
    pub words: [u32; 4],
    /// Port in host order; 0 for protocols without.
    pub port: u16,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// IP protocol number as rules have it.
    pub protocol: u8,
}

/// What was decided, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// One of [`verdict`].
    pub verdict: u16,
    /// Number of the rule.
    pub rule: u32,
    /// Until when it holds, nanoseconds since boot.
    pub until_ns: u64,
    /// Whether it holds for any executable and holder of secrets: only then may a later datagram stand on it.
    pub is_general: bool,
    /// Whether a holder of secrets may use it.
    pub may_carry: bool,
}

impl Destination {
    /// From the words of an IPv6 socket's address.
    #[inline(always)]
    #[must_use]
    pub fn from_v6(words: [u32; 4], port: u16, protocol: u8) -> Self {
        if words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be() {
            return Self { words: [words[3], 0, 0, 0], port, family: FAMILY_V4, protocol };
        }
        Self { words, port, family: FAMILY_V6, protocol }
    }

    /// One of [`class`].
    #[inline(always)]
    #[must_use]
    pub fn class(&self) -> u8 {
        let [first, second, third, last] = self.words.map(u32::from_be);
        if self.family == FAMILY_V4 {
            classify_v4(first, self.port)
        } else {
            classify_v6([first, second, third, last], self.port)
        }
    }

    /// Whether it stays on the machine.
    #[inline(always)]
    #[must_use]
    pub fn is_local(&self) -> bool {
        let class = self.class();
        class == class::LOOPBACK || class == class::UNSPECIFIED
    }
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Slot of the job.
    pub job: u32,
    /// Bits of [`job_flag`].
    pub flags: u32,
    /// Now, nanoseconds since boot.
    pub now_ns: u64,
    /// The executables that it is, with [`ANY_EXE`].
    pub exes: u64,
    /// Whether only a rule that may carry secrets will do.
    pub needs_carry: bool,
    /// Always zero, which the verifier of the kernel side can't know: added to a value that has only a few possibilities, it keeps
    /// the verifier from following each of them through everything behind.
    pub zero: u32,
}

/// What a destination is compared with.
#[derive(Clone, Copy)]
struct Wanted {
    class: u64,
    port: u64,
}

/// The best that was found so far.
#[derive(Clone, Copy)]
struct Found {
    /// Lowest number of a rule that matches; `u32::MAX` when none does.
    rule: u32,
    flags: u8,
    exes: u64,
    until_ns: u64,
    /// Lowest number of a rule that would match if the process held no secret.
    rule_without_secret: u32,
}

/// Decides about a destination. `get` finds the entry with the longest prefix of a key of so many bits.
#[inline(always)]
pub fn decide<'a>(
    asking: &Asking,
    destination: &Destination,
    get: impl Fn(u32, &RuleKey) -> Option<&'a RuleEntry>,
) -> Ruling {
    let zero = u64::from(asking.zero);
    let class = u64::from(destination.class()) + zero;
    let wanted = Wanted { class, port: u64::from(destination.port) };
    let no_rule = u32::MAX.wrapping_add(asking.zero);
    let mut found = Found {
        rule: no_rule,
        flags: asking.zero as u8,
        exes: zero,
        until_ns: NEVER_NS.wrapping_add(zero),
        rule_without_secret: no_rule,
    };
    let bits = KEY_BITS + asking.zero + if destination.family == FAMILY_V4 { 32 } else { 128 };
    let mut key = RuleKey {
        job: asking.job,
        family: destination.family + asking.zero as u8,
        protocol: destination.protocol,
        port: destination.port.to_be_bytes(),
        address: zerocopy::transmute!(destination.words),
    };
    if destination.port != 0 && matches!(destination.protocol, IPPROTO_TCP | IPPROTO_UDP) {
        consider(get(bits, &key), asking, &wanted, &mut found);
        if asking.flags & job_flag::ANY_PROTOCOL != 0 {
            key.protocol = 0;
            consider(get(bits, &key), asking, &wanted, &mut found);
        }
        if asking.flags & job_flag::ANY_PORT != 0 {
            key.protocol = destination.protocol;
            key.port = [0; 2];
            consider(get(bits, &key), asking, &wanted, &mut found);
        }
    }
    if asking.flags & job_flag::ANYTHING != 0 {
        key.protocol = 0;
        key.port = [0; 2];
        consider(get(bits, &key), asking, &wanted, &mut found);
    }
    if found.rule != u32::MAX {
        let is_general = found.exes & ANY_EXE != 0 && (asking.needs_carry || asking.flags & job_flag::CARRY_BLOCK == 0);
        let is_denied = found.flags & alternative_flag::DENY != 0;
        let verdict = if is_denied { verdict::BLOCKED } else { verdict::ALLOWED };
        let may_carry = found.flags & alternative_flag::MAY_CARRY_SECRETS != 0;
        return Ruling { verdict, rule: found.rule, until_ns: found.until_ns, is_general, may_carry };
    }
    if class == u64::from(class::LOOPBACK) || class == u64::from(class::UNSPECIFIED) {
        let (verdict, rule) = (verdict::ALLOWED, rule::LOOPBACK);
        return Ruling { verdict, rule, until_ns: NEVER_NS, is_general: true, may_carry: true };
    }
    let (verdict, rule) = if found.rule_without_secret == u32::MAX {
        (verdict::BLOCKED, rule::DEFAULT)
    } else {
        (verdict::BLOCKED_SECRET, found.rule_without_secret)
    };
    Ruling { verdict, rule, until_ns: 0, is_general: false, may_carry: false }
}

impl Ruling {
    /// A refusal by this rule.
    #[inline(always)]
    #[must_use]
    pub const fn refused(rule: u32) -> Self {
        Self { verdict: verdict::BLOCKED, rule, until_ns: 0, is_general: false, may_carry: false }
    }
}

/// Takes in the rules that meet at one key.
#[inline(always)]
fn consider(entry: Option<&RuleEntry>, asking: &Asking, wanted: &Wanted, found: &mut Found) {
    let Some(entry) = entry else { return };
    for index in 0..ALTERNATIVES {
        let alternative = &entry.alternatives[index];
        // Ascending, and filled from the front: what has no executable ends the list.
        if alternative.exes == 0 || alternative.rule >= found.rule {
            return;
        }
        if alternative.exes & asking.exes == 0
            || alternative.expires_ns <= asking.now_ns
            || (u64::from(alternative.class) != wanted.class && alternative.class != class::ANY)
            || wanted.port < u64::from(alternative.port_low)
            || wanted.port > u64::from(alternative.port_high)
        {
            continue;
        }
        if asking.needs_carry && alternative.flags & alternative_flag::MAY_CARRY_SECRETS == 0 {
            if alternative.rule < found.rule_without_secret {
                found.rule_without_secret = alternative.rule;
            }
            continue;
        }
        found.rule = alternative.rule;
        found.flags = alternative.flags;
        found.exes = alternative.exes;
        found.until_ns = alternative.expires_ns;
        return;
    }
}
