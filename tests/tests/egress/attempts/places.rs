//! Places that no broad rule opens: classes of addresses, and this machine's own closed ports.

use crate::attempt::Expected::{NoName, Refused};
use crate::attempt::Place::{At, V4, V6};
use crate::attempt::{Attempt, In, TCP, attempt};

const CONNECT: &str = "{act} tcp connect {to} {port} {payload}";
const PRIVATE: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], class: private, why: a twin }"];
const LINK_LOCAL: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], class: link-local, protocol: udp, why: a twin }"];

/// A place of another class than the public one; the twin's is of that class too, and a rule names it.
const fn place(name: &'static str, what: &'static str, forbidden: &'static str, allowed: &'static str) -> Attempt {
    attempt(name, what, CONNECT).between(At(forbidden, 443), At(allowed, 443)).rules(PRIVATE)
}

/// The same where a rule allows every address.
const fn broad(name: &'static str, what: &'static str, forbidden: &'static str, allowed: &'static str) -> Attempt {
    place(name, what, forbidden, allowed).in_job(In::Broad)
}

pub const ATTEMPTS: &[Attempt] = &[
    place("private", "a private address", "10.0.7.{n}", "10.0.8.{n}"),
    place("private-shared", "an address of a carrier's network", "100.64.7.{n}", "100.64.8.{n}"),
    place("private-v6", "a unique-local address", "fd00:7::{n}", "fd00:8::{n}"),
    place("private-translated", "a private address behind a translator", "64:ff9b::a00:7{n}", "64:ff9b::a00:8{n}"),
    attempt("metadata", "the metadata service", CONNECT).between(At("169.254.169.254", 80), V4(80)).rules(TCP),
    attempt("metadata-v6", "the metadata service over IPv6", CONNECT)
        .between(At("fd00:ec2::254", 80), V6(80))
        .rules(TCP),
    attempt("link-local", "a link-local address", "{act} udp sendto {to} {port} {payload}")
        .between(At("169.254.9.{n}", 4444), At("169.254.10.{n}", 4444))
        .rules(LINK_LOCAL),
    attempt("link-local-v6", "a link-local address with its zone", "{act} udp zone {to} {port} {payload} {uplink}")
        .between(At("fe80::1", 4444), At("fe80::1", 5353))
        .rules(LINK_LOCAL),
    broad("private-broad", "a private address, where every address is allowed", "10.0.9.{n}", "10.0.10.{n}"),
    broad("private-v6-broad", "a unique-local address, where every address is allowed", "fd00:9::{n}", "fd00:a::{n}"),
    broad("private-translated-broad", "the same behind a translator", "64:ff9b::a00:9{n}", "64:ff9b::a00:a{n}"),
    broad("private-6to4-broad", "a private address in 6to4", "2002:a00:7{n}::1", "fd00:b::{n}").sees_packet(),
    broad(
        "private-local-translated-broad",
        "a private address behind a local translator",
        "64:ff9b:1::a00:7{n}",
        "fd00:c::{n}",
    )
    .sees_packet(),
    broad("private-compatible-broad", "a private address as an IPv4-compatible one", "::10.0.7.{n}", "fd00:d::{n}")
        .sees_packet(),
    attempt("metadata-broad", "the metadata service, where every address is allowed", CONNECT)
        .between(At("169.254.169.254", 8443), V4(8443))
        .rules(&[])
        .in_job(In::Broad),
    attempt("metadata-mapped-broad", "the same from an IPv6 socket", "{act} tcp mapped {to} {port} {payload}")
        .between(At("169.254.169.254", 4444), V4(4444))
        .rules(&[])
        .in_job(In::Broad),
    attempt("metadata-raw-broad", "the same by a raw packet", "{act} raw header {to} {port} {payload}")
        .between(At("169.254.169.254", 2375), V4(2375))
        .rules(&[])
        .in_job(In::Broad),
    attempt(
        "multicast-broad",
        "multicast, where every address is allowed",
        "{act} udp multicast {to} {port} {payload} {uplink}",
    )
    .between(At("224.0.0.251", 4444), V4(4444))
    .rules(&[])
    .in_job(In::Broad),
    attempt(
        "question-broad",
        "a refused name at another resolver, where every address is allowed",
        "{act} dns udp {to} {name} A",
    )
    .between(At("198.51.100.8", 53), At("192.0.2.53", 53))
    .rules(&[])
    .in_job(In::Broad)
    .expect(NoName),
    closed("closed-port", "a closed port of loopback", "127.0.0.1"),
    closed("closed-port-other", "the same on another loopback address", "127.9.9.9"),
    closed("closed-port-v6", "the same over IPv6", "::1"),
    closed("closed-port-unspecified", "the same at the unspecified address", "0.0.0.0"),
    closed("own-address", "a port of the runner at its own address", "192.0.2.2"),
    attempt("closed-port-mapped", "a closed port from an IPv6 socket", "{act} tcp mapped {to} {port} {payload}")
        .between(At("127.0.0.1", 2375), At("127.0.0.1", 4444))
        .rules(&[])
        .on_loopback(),
    attempt("own-address-udp", "datagrams to the runner's own address", "{act} udp sendto {to} {port} {payload}")
        .between(At("192.0.2.2", 4444), At("127.0.0.1", 4444))
        .rules(&[])
        .on_loopback(),
];

/// A port that a policy closes; the twin's is another port of loopback.
const fn closed(name: &'static str, what: &'static str, address: &'static str) -> Attempt {
    attempt(name, what, CONNECT)
        .between(At(address, 2375), At("127.0.0.1", 4444))
        .rules(&[])
        .on_loopback()
        .expect(Refused)
}
