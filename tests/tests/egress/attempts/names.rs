//! Answers that would open something: names that lead elsewhere, and addresses without a name.

use crate::attempt::Expected::Unresolved;
use crate::attempt::Place::{At, V4, V6};
use crate::attempt::{Attempt, In, TCP, attempt};

const CONNECT: &str = "{act} tcp connect {to} {port} {payload}";
const HOST_UDP: &[&str] = &["{ host: \"{host}\", ports: [443], protocol: udp, why: a host }"];
const BY_NAME: &str = "{act} tcp by-name {host} {port} {payload}";
const ASKED_FIRST: &str = "{act} dns udp {resolver} {host} A ; {act} tcp connect {to} {port} {payload}";
const HOST: &[&str] = &["{ host: \"{host}\", ports: [443], why: a host }"];

pub const ATTEMPTS: &[Attempt] = &[
    attempt(
        "name-never-asked",
        "an allowed host's address, without its answer",
        "{act} tcp connect {to} {port} {payload}",
    )
    .given(HOST)
    .rules(HOST)
    .zone(&["{host} 60 A {to}"])
    .twin(ASKED_FIRST),
    attempt("name-other-port", "an allowed host on another port", "{act} tcp by-name {host} {port} {payload}")
        .between(V4(8443), V4(443))
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 60 A {to}"]),
    attempt(
        "name-by-udp",
        "an allowed host over another protocol",
        "{act} dns udp {resolver} {host} A ; {act} udp sendto {to} {port} {payload}",
    )
    .given(HOST)
    .rules(&["{ host: \"{host}\", ports: [443], protocol: udp, why: a host }"])
    .zone(&["{host} 60 A {to}"]),
    attempt("name-to-private", "an allowed name with a private address", BY_NAME)
        .between(At("10.20.0.{n}", 443), At("10.30.0.{n}", 443))
        .given(HOST)
        .rules(&["{ host: \"{host}\", class: private, why: a host }"])
        .zone(&["{host} 60 A {to}"]),
    attempt("name-to-metadata", "an allowed name with the metadata service's address", BY_NAME)
        .between(At("169.254.169.254", 443), V4(443))
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 60 A {to}"]),
    attempt("name-to-link-local", "an allowed name with a link-local address", BY_NAME)
        .between(At("169.254.7.{n}", 443), V4(443))
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 60 A {to}"]),
    attempt("name-to-closed-port", "an allowed name with loopback's address, and a closed port", BY_NAME)
        .between(At("127.0.0.1", 2375), At("127.0.0.1", 4444))
        .given(&["{ host: \"{host}\", ports: [2375], why: a host }"])
        .rules(&["{ host: \"{host}\", ports: [4444], why: a host }"])
        .zone(&["{host} 60 A {to}"])
        .on_loopback(),
    attempt("name-to-private-v6", "an allowed name with a unique-local address", BY_NAME)
        .between(At("fd00:20::{n}", 443), V6(443))
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 60 AAAA {to}"]),
    attempt("name-to-translated", "an allowed name with a translated private address", BY_NAME)
        .between(At("64:ff9b::a14:{n}", 443), V6(443))
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 60 AAAA {to}"]),
    attempt("alias-to-private", "an allowed name, an alias of a private host", BY_NAME)
        .between(At("10.21.0.{n}", 443), V4(443))
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 60 CNAME {other}", "{other} 60 A {to}"]),
    attempt(
        "alias-of-allowed",
        "a refused name, an alias of an allowed host",
        "{act} tcp by-name {other} {port} {payload}",
    )
    .given(HOST)
    .rules(&["{ host: \"{other}\", ports: [443], why: a host }"])
    .zone(&["{other} 60 CNAME {host}", "{host} 60 A {to}"])
    .expect(Unresolved),
    attempt(
        "hosts-rewritten",
        "an allowed name with an address of the job's choice",
        "{act} space with-file /etc/hosts {to}={host} {act} tcp by-name {host} {port} {payload}",
    )
    .given(HOST)
    .rules(TCP)
    .zone(&["{host} 60 A {open}"]),
    attempt(
        "resolver-rewritten",
        "a refused name, asked at a resolver of the job's choice",
        "{act} space with-file /etc/resolv.conf nameserver={foreign} {act} tcp by-name {host} {port} {payload}",
    )
    .rules(HOST)
    .zone(&["{host} 60 A {to}"])
    .expect(Unresolved),
    attempt(
        "answer-forged",
        "an allowed name's answer from a server of the job's own",
        "{act} dns forge 127.0.0.9 {host} A {to} ; {act} tcp connect {to} {port} {payload}",
    )
    .given(HOST)
    .rules(HOST)
    .zone(&["{host} 60 A {v4}"])
    .between(At("203.0.113.252", 443), V4(443)),
    attempt(
        "reverse-answer",
        "an address whose reverse name is an allowed host's",
        "{act} dns udp {resolver} {n}.113.0.203.in-addr.arpa PTR ; {act} tcp connect {to} {port} {payload}",
    )
    .given(HOST)
    .zone(&["{n}.113.0.203.in-addr.arpa 60 PTR {host}", "{host} 60 A {open}", "{other} 60 A {to}"])
    .twin("{act} dns udp {resolver} {other} A ; {act} tcp connect {to} {port} {payload}")
    .rules(&["{ host: \"{other}\", ports: [443], why: a host }"]),
    attempt(
        "shared-address-other-port",
        "a second host on an allowed host's address, on another port",
        "{act} dns udp {resolver} {host} A ; {act} tcp connect {to} {port} {payload}",
    )
    .between(V4(8443), V4(443))
    .given(HOST)
    .rules(HOST)
    .zone(&["{host} 60 A {to}", "{other} 60 A {to}"]),
    attempt(
        "answer-with-more",
        "an allowed name's answer that holds another name's address",
        "{act} dns udp {resolver} {host} A ; {act} tcp connect {to} {port} {payload}",
    )
    .given(HOST)
    .rules(&["{ host: \"{other}\", ports: [443], why: a host }"])
    .zone(&["{host} 60 A {open}", "{host} 60 BESIDE {other}={to}", "{other} 60 A {to}"])
    .twin("{act} dns udp {resolver} {other} A ; {act} tcp connect {to} {port} {payload}"),
    attempt("name-after-its-time", "an allowed host's address when its answer is no longer good", CONNECT)
        .given(HOST)
        .rules(HOST)
        .zone(&["{host} 1 A {to}"])
        .twin(ASKED_FIRST)
        .in_job(In::Expiring),
    attempt("name-after-its-time-udp", "the same over UDP", "{act} udp sendto {to} {port} {payload}")
        .given(HOST_UDP)
        .rules(HOST_UDP)
        .zone(&["{host} 1 A {to}"])
        .twin("{act} dns udp {resolver} {host} A ; {act} udp sendto {to} {port} {payload}")
        .in_job(In::Expiring),
];
