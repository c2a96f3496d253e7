//! How much of everything, and why that much.

use std::time::Duration;

use crate::policy::egress::NAMES_BELOW_WILDCARD;

/// Bounds of the resolver. The defaults are for one job on one runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one upstream has for one try.
    pub upstream_timeout: Duration,
    /// Tries for one question, over all upstreams in turn. Three of 1.3 s end a second before the 5 s after which common stub
    /// resolvers ask again: on a runner with much to do the answer takes its time, too.
    pub upstream_tries: u32,
    /// Questions that may wait for an upstream at once; each has a socket.
    pub in_flight: usize,
    /// Clients that may wait for those questions.
    pub waiters: usize,
    /// TCP connections at once.
    pub tcp_connections: usize,
    /// How long a TCP connection may be silent (RFC 7766, 6.2.3, wants seconds).
    pub tcp_idle: Duration,
    /// Answers that one TCP connection may wait for; no more is read from it meanwhile.
    pub tcp_pipeline: usize,
    /// Distinct names below a wildcard whose rule names no number.
    pub names_below_wildcard: u32,
    /// Distinct names below wildcards, over all rules and whatever they say.
    pub counted_names: usize,
    /// Answers that are remembered.
    pub cache_entries: usize,
    /// Bytes of those answers.
    pub cache_bytes: usize,
    /// Names that answers named.
    pub derived_names: usize,
    /// Addresses whose name is remembered for reverse questions.
    pub reverse_addresses: usize,
    /// Reports that may lie unread.
    pub reports: usize,
    /// Longest time that an answer is taken to be good: a policy's job is over in hours, and a wrong answer should be too.
    pub max_ttl_s: u32,
    /// Longest time that a "no" is taken to be good: RFC 2308 allows hours, but what a build waits for may appear.
    pub max_negative_ttl_s: u32,
    /// Shortest time that an address is admitted for, before the grace: programs look up, queue the connection, and
    /// connect some seconds later whatever the TTL says.
    pub floor_s: u32,
    /// Added to every admission: connection pools and runtimes hold an address past its TTL (the JVM for 30 s), and
    /// a dual-stack client tries the second address only when the first has timed out.
    pub grace_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upstream_timeout: Duration::from_millis(1300),
            upstream_tries: 3,
            in_flight: 256,
            waiters: 1024,
            tcp_connections: 64,
            tcp_idle: Duration::from_secs(10),
            tcp_pipeline: 64,
            names_below_wildcard: NAMES_BELOW_WILDCARD,
            counted_names: 32_768,
            cache_entries: 4096,
            cache_bytes: 4 << 20,
            derived_names: 16_384,
            reverse_addresses: 16_384,
            reports: 4096,
            max_ttl_s: 3600,
            max_negative_ttl_s: 300,
            floor_s: 30,
            grace_s: 60,
        }
    }
}

/// Shortest time that any answer is good for. With a TTL of 0 each question would go upstream, and the rate of questions
/// would be the job's to choose.
pub(super) const MIN_TTL_S: u32 = 1;

/// CNAMEs in one answer, and questions from an allowed name to a derived one. Real chains have up to five.
pub(super) const MAX_DEPTH: u8 = 8;

/// Addresses in one answer; the records of more are left out, so that what is answered is admitted.
pub(super) const MAX_ADDRESSES: usize = 64;

/// Records in one answer.
pub(super) const MAX_RECORDS: usize = 128;

/// Names that one answer may name.
pub(super) const MAX_TARGETS: usize = 32;

/// How long a "no" without SOA is good for: RFC 2308 would not have it remembered at all, which invites floods.
pub(super) const NO_SOA_TTL_S: u32 = 5;

/// Nanoseconds of so many seconds.
pub(super) fn seconds(seconds: u32) -> u64 {
    u64::from(seconds) * 1_000_000_000
}
