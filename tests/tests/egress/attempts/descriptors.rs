//! Sockets that somebody else made.

use crate::attempt::Expected::{Closed, Refused};
use crate::attempt::Place::{At, V4};
use crate::attempt::{Attempt, In, Meanwhile, UDP, attempt};

/// A socket that was open before the agent started; the twin is one that the job opens itself, to an allowed place.
const fn inherited(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act)
        .between(At("203.0.113.250", 443), V4(443))
        .in_job(In::Inherited)
        .twin("{act} tcp connect {to} {port} {payload}")
        .expect(Closed)
        .shared()
}

pub const ATTEMPTS: &[Attempt] = &[
    attempt("socket-handed", "a socket from another process of the job", "{act} pass handed {to} {port} {payload}")
        .over(V4(4444))
        .rules(UDP),
    attempt(
        "socket-taken",
        "a socket taken out of another process of the job",
        "{act} pass taken {to} {port} {payload}",
    )
    .over(V4(4444))
    .rules(UDP),
    inherited("inherited-stream", "a stream that was connected before", "{act} pass inherited 40 {payload}"),
    inherited("inherited-datagrams", "datagrams that were connected before", "{act} pass inherited 41 {payload}"),
    inherited(
        "inherited-unconnected",
        "datagrams from before, sent elsewhere",
        "{act} pass inherited-to {to} 4444 {payload} 42",
    ),
    inherited("inherited-raw", "a raw socket from before", "{act} pass inherited-to {to} 0 {payload} 43"),
    inherited(
        "inherited-fresh-stream",
        "a stream from before, connected now",
        "{act} pass inherited-to {to} {port} {payload} 44",
    ),
    inherited(
        "inherited-listener",
        "a listener from before, that pushes data",
        "{act} pass inherited-accept 45 {payload}",
    )
    .meanwhile(Meanwhile::Calls(7070)),
    attempt(
        "own-socket-beside-inherited",
        "a socket of the job's own, where sockets were inherited",
        "{act} tcp connect {to} {port} {payload}",
    )
    .in_job(In::Inherited)
    .expect(Refused),
    inherited(
        "inherited-in-flight",
        "a socket from before, in flight over a local one",
        "{act} pass inherited-in-flight 46 {payload}",
    ),
    inherited("inherited-ring", "a ring from before, that holds a socket", "{act} uring held 47 {payload}"),
    inherited("inherited-tunnel", "a tunnel's device from before", "{act} raw tun-inherited {to} 4444 {payload} 48"),
    attempt(
        "socket-from-outside",
        "a socket that somebody outside the job hands over",
        "{act} pass received {to} {port} {payload} {giver}",
    )
    .over(V4(4444))
    .rules(UDP)
    .twin("{act} udp sendto {to} {port} {payload}")
    .beyond("its packets are those of the cgroup that made it; the whole runner has to be in scope"),
];
