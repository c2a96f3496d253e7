//! Names: questions that carry something out, and answers that would open something.

use crate::attempt::Expected::{Answered, BadQuestion, NoName, Refused, Unresolved};
use crate::attempt::Place::{At, Question, V4, V6};
use crate::attempt::{Attempt, TCP, attempt};

/// A question whose name carries the payload; the twin's name is one that a wildcard allows.
const fn question(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act).between(Question, Question).rules(&[]).expect(NoName)
}

/// Something smuggled beside an allowed name; the twin asks for the payload's own name, which is allowed.
const fn smuggled(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    question(name, what, act).twin("{act} dns udp {resolver} {name} A").expect(Answered)
}

const BY_NAME: &str = "{act} tcp by-name {host} {port} {payload}";
const ASKED_FIRST: &str = "{act} dns udp {resolver} {host} A ; {act} tcp connect {to} {port} {payload}";
const HOST: &[&str] = &["{ host: \"{host}\", ports: [443], why: a host }"];

pub const ATTEMPTS: &[Attempt] = &[
    question("dns-udp", "a refused name over UDP", "{act} dns udp {resolver} {name} A"),
    question("dns-udp-v6", "a refused name, asked over IPv6", "{act} dns udp {resolver6} {name} AAAA"),
    question("dns-tcp", "a refused name over TCP", "{act} dns tcp {resolver} {name} A"),
    question("dns-tcp-v6", "a refused name over TCP and IPv6", "{act} dns tcp {resolver6} {name} A"),
    question("dns-unconnected", "asked without a connect", "{act} dns unconnected {resolver} {name} A"),
    question("dns-txt", "a tunnel: TXT", "{act} dns udp {resolver} {name} TXT"),
    question("dns-null", "a tunnel: NULL", "{act} dns udp {resolver} {name} NULL"),
    question("dns-https", "a service's record", "{act} dns udp {resolver} {name} HTTPS"),
    question("dns-ptr", "a reverse question", "{act} dns udp {resolver} {payload}.in-addr.arpa PTR")
        .twin("{act} dns udp {resolver} {name} A"),
    question(
        "dns-pipelined",
        "two questions in one TCP segment",
        "{act} dns pipelined {resolver} {name} A first.open.test",
    ),
    question("dns-case", "another spelling", "{act} dns udp {resolver} {payload}.ReFuSeD.tEsT A")
        .twin("{act} dns udp {resolver} {payload}.oPeN.TeSt A"),
    question("dns-many-labels", "deep below a refused name", "{act} dns udp {resolver} a.b.c.d.e.f.{name} A"),
    question(
        "dns-operation",
        "an update instead of a question",
        "{act} dns operation {resolver} {payload}.open.test A",
    )
    .twin("{act} dns udp {resolver} {name} A")
    .expect(BadQuestion),
    question("dns-chaos", "a question of another class", "{act} dns chaos {resolver} {payload}.open.test A")
        .twin("{act} dns udp {resolver} {name} A")
        .expect(BadQuestion),
    question(
        "dns-two-questions",
        "two questions in one message",
        "{act} dns two-questions {resolver} {name} A first.open.test",
    )
    .twin("{act} dns udp {resolver} {name} A")
    .expect(BadQuestion),
    smuggled("dns-edns-option", "an option of EDNS", "{act} dns option {resolver} a.open.test A {payload}"),
    smuggled("dns-trailing", "bytes behind the message", "{act} dns trailing {resolver} a.open.test A {payload}")
        .expect(BadQuestion),
    smuggled(
        "dns-additional",
        "a record beside the question",
        "{act} dns additional {resolver} a.open.test A {payload}",
    )
    .expect(BadQuestion),
    question("dns-budget", "more names below a wildcard than its budget", "{act} dns many {resolver} {below} A 6")
        .given(&["{ host: \"*.{parent}\", names: 4, ports: [443], why: a small budget }"])
        .rules(&["{ host: \"*.{parent}\", names: 40, ports: [443], why: a large budget }"])
        .zone(&["*.{parent} 60 A {to}"]),
    question("dns-other-resolver", "a refused name at another resolver", "{act} dns udp {to} {name} A")
        .between(At("198.51.100.8", 53), At("192.0.2.53", 53)),
    question("dns-other-resolver-tcp", "the same over TCP", "{act} dns tcp {to} {name} A")
        .between(At("198.51.100.8", 53), At("192.0.2.53", 53)),
    question(
        "dns-other-resolver-allowed",
        "an allowed name at another resolver",
        "{act} dns unconnected {to} first.open.test A",
    )
    .between(At("198.51.100.8", 53), Question)
    .twin("{act} dns udp {resolver} {name} A")
    .sees_packet()
    .expect(Answered),
    question("dns-over-tls", "the resolver's port for TLS", "{act} tcp connect {to} {port} {payload}")
        .between(At("198.51.100.8", 853), V4(853))
        .rules(&["{ cidr: \"{net}\", ports: [853], why: a twin }"])
        .expect(Refused),
    question("dns-over-https", "a resolver at port 443", "{act} tcp connect {to} {port} {payload}")
        .between(At("198.51.100.8", 443), V4(443))
        .rules(TCP)
        .expect(Refused),
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
    .rules(HOST)
    .zone(&["{n}.113.0.203.in-addr.arpa 60 PTR {host}", "{host} 60 A {open}"])
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
];
