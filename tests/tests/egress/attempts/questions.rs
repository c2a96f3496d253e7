//! Questions that carry something out.

use crate::attempt::Expected::{Answered, BadQuestion, Dropped, NoName, Refused};
use crate::attempt::Place::{At, Question, V4};
use crate::attempt::{Attempt, TCP, UDP, attempt};

/// The twin of what has no allowed form: the payload's own name, below a wildcard.
const ALLOWED: &str = "{act} dns udp {resolver} {name} A";

/// A question whose name carries the payload; the twin's name is one that a wildcard allows.
const fn question(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act).between(Question, Question).rules(&[]).expect(NoName)
}

/// Something smuggled beside an allowed name; the twin asks for the payload's own name, which is allowed.
const fn smuggled(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    question(name, what, act).twin(ALLOWED).expect(Answered)
}

pub const ATTEMPTS: &[Attempt] = &[
    question("dns-udp", "a refused name over UDP", "{act} dns udp {resolver} {name} A"),
    question("dns-udp-v6", "a refused name, asked over IPv6", "{act} dns udp {resolver6} {name} AAAA"),
    question("dns-tcp", "a refused name over TCP", "{act} dns tcp {resolver} {name} A"),
    question("dns-tcp-v6", "a refused name over TCP and IPv6", "{act} dns tcp {resolver6} {name} A"),
    question("dns-unconnected", "asked without a connect", "{act} dns unconnected {resolver} {name} A"),
    question("dns-txt", "a tunnel: TXT", "{act} dns udp {resolver} {name} TXT")
        .twin("{act} dns udp {resolver} {payload}.exact.test TXT")
        .rules(&["{ host: \"{payload}.exact.test\", ports: [443], why: a name whose text may be asked for }"])
        .zone(&["*.exact.test 60 TXT text"]),
    question(
        "dns-txt-below-wildcard",
        "a tunnel: TXT below a wildcard",
        "{act} dns udp {resolver} {payload}.open.test TXT",
    )
    .twin("{act} dns udp {resolver} {payload}.exact.test TXT")
    .rules(&["{ host: \"{payload}.exact.test\", ports: [443], why: a name whose text may be asked for }"])
    .expect(BadQuestion),
    question("dns-null", "a tunnel: NULL", "{act} dns udp {resolver} {name} NULL").twin(ALLOWED),
    question("dns-https", "a service's record", "{act} dns udp {resolver} {name} HTTPS"),
    question("dns-ptr", "a reverse question", "{act} dns udp {resolver} {payload}.in-addr.arpa PTR").twin(ALLOWED),
    question(
        "dns-pipelined",
        "two questions in one TCP segment",
        "{act} dns pipelined {resolver} {name} A first.open.test",
    ),
    question("dns-case", "another spelling", "{act} dns udp {resolver} {payload}.ReFuSeD.tEsT A")
        .twin("{act} dns udp {resolver} {payload}.oPeN.TeSt A"),
    question("dns-many-labels", "deep below a refused name", "{act} dns udp {resolver} a.b.c.d.e.f.{name} A")
        .twin("{act} dns udp {resolver} a.b.{name} A"),
    question(
        "dns-labels-below-wildcard",
        "a tunnel: many labels below a wildcard",
        "{act} dns udp {resolver} {payload}.a.b.c.d.e.f.g.open.test A",
    )
    .twin("{act} dns udp {resolver} a.b.{name} A"),
    question(
        "dns-digits-below-wildcard",
        "a tunnel: long labels below a wildcard",
        "{act} dns udp {resolver} {payload}.7f3a9c1e5b2d8f4a6c0e9b1d3f5a7c9e0b2d4f6a8c1e3b5d.open.test A",
    )
    .twin(ALLOWED),
    question(
        "dns-encrypted-provider",
        "a resolver over HTTPS, by name below a wildcard",
        "{act} dns udp {resolver} {payload}.cloudflare-dns.com A",
    )
    .given(&["{ host: \"*.cloudflare-dns.com\", ports: [443], why: too wide }"])
    .twin(ALLOWED),
    question("dns-any", "a question for everything", "{act} dns udp {resolver} {payload}.open.test ANY")
        .twin(ALLOWED)
        .expect(BadQuestion),
    question("dns-no-port-53-talk", "something else at port 53", "{act} tcp connect {to} {port} {payload}")
        .between(V4(53), V4(443))
        .rules(TCP)
        .sees_packet()
        .expect(Dropped),
    question(
        "dns-no-port-53-datagram",
        "something else at port 53, over UDP",
        "{act} udp sendto {to} {port} {payload}",
    )
    .between(V4(53), V4(4444))
    .rules(UDP)
    .expect(Dropped),
    question(
        "dns-operation",
        "an update instead of a question",
        "{act} dns operation {resolver} {payload}.open.test A",
    )
    .twin(ALLOWED)
    .expect(BadQuestion),
    question("dns-chaos", "a question of another class", "{act} dns chaos {resolver} {payload}.open.test A")
        .twin(ALLOWED)
        .expect(BadQuestion),
    question(
        "dns-two-questions",
        "two questions in one message",
        "{act} dns two-questions {resolver} {name} A first.open.test",
    )
    .twin(ALLOWED)
    .expect(BadQuestion),
    smuggled("dns-edns-option", "an option of EDNS", "{act} dns option {resolver} a.open.test A {payload}"),
    smuggled("dns-trailing", "bytes behind the message", "{act} dns trailing {resolver} a.open.test A {payload}"),
    smuggled(
        "dns-additional",
        "a record beside the question",
        "{act} dns additional {resolver} a.open.test A {payload}",
    ),
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
    .twin(ALLOWED)
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
];
