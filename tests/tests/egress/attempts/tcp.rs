//! Streams: every way to open one, and every way to fill it.

use crate::attempt::Expected::Dropped;
use crate::attempt::Place::{At, V4, V6};
use crate::attempt::{ANY, Attempt, In, Meanwhile, attempt};

pub const ATTEMPTS: &[Attempt] = &[
    attempt("tcp-v4", "a connect over IPv4", "{act} tcp connect {to} {port} {payload}"),
    attempt("tcp-v6", "a connect over IPv6", "{act} tcp connect {to} {port} {payload}").over(V6(443)),
    attempt("tcp-v4-mapped", "IPv4 from an IPv6 socket", "{act} tcp mapped {to} {port} {payload}"),
    attempt("tcp-bound", "bind, then connect", "{act} tcp bound {to} {port} {payload}"),
    attempt("tcp-nonblocking", "a connect that doesn't wait", "{act} tcp nonblocking {to} {port} {payload}"),
    attempt("tcp-nonblocking-v6", "the same over IPv6", "{act} tcp nonblocking {to} {port} {payload}").over(V6(443)),
    attempt(
        "tcp-connected-again",
        "connected to an allowed address, dissolved, connected again",
        "{act} tcp again {to} {port} {payload} {open}",
    ),
    attempt("tcp-thread", "a connect by a second thread", "{act} tcp thread {to} {port} {payload}"),
    attempt("tcp-fast-open", "data with the first packet", "{act} tcp fast-open {to} {port} {payload}"),
    attempt("tcp-fast-open-v6", "the same over IPv6", "{act} tcp fast-open {to} {port} {payload}").over(V6(443)),
    attempt(
        "tcp-fast-open-connect",
        "a connect put off to the first data",
        "{act} tcp fast-open-connect {to} {port} {payload}",
    ),
    attempt("mptcp", "multipath TCP", "{act} tcp mptcp {to} {port} {payload}"),
    attempt("mptcp-v6", "multipath TCP over IPv6", "{act} tcp mptcp {to} {port} {payload}").over(V6(443)),
    attempt("tcp-sendfile", "filled by sendfile", "{act} tcp sendfile {to} {port} {payload}"),
    attempt("tcp-splice", "filled from a pipe", "{act} tcp splice {to} {port} {payload}"),
    attempt("tcp-zerocopy", "filled without copying", "{act} tcp zerocopy {to} {port} {payload}"),
    // This takes a capability that is withheld elsewhere, and so does the one after the next.
    attempt("tcp-marked", "with a mark that rules of routing see", "{act} tcp marked {to} {port} {payload}")
        .in_job(In::Networked),
    attempt("tcp-on-device", "bound to the device", "{act} tcp on-device {to} {port} {payload} {uplink}"),
    attempt(
        "tcp-foreign-source",
        "from an address that isn't the runner's",
        "{act} tcp transparent {to} {port} {payload} 192.0.2.99",
    )
    .in_job(In::Networked)
    .without_payload(),
    attempt(
        "tcp-source-routed",
        "to an allowed address, by way of a forbidden one",
        "{act} tcp source-routed {to} {port} {payload} {open}",
    )
    .sees_packet()
    // It is the packet that is refused, and on 5.10 connect(2) takes that for one that was lost on its way.
    .told_since(6, 1)
    .twin("{act} tcp connect {to} {port} {payload}"),
    attempt("tcp-io-uring", "connect and send as requests of io_uring", "{act} uring stream {to} {port} {payload}"),
    attempt("tcp-io-uring-v6", "the same over IPv6", "{act} uring stream {to} {port} {payload}").over(V6(443)),
    attempt("tcp-io-uring-worker", "by a worker of the kernel", "{act} uring stream-worker {to} {port} {payload}"),
    attempt(
        "tcp-io-uring-poller",
        "by a polling thread of the kernel",
        "{act} uring stream-poller {to} {port} {payload}",
    ),
    attempt("tcp-32-bit", "connect and write as 32-bit calls", "{act} compat stream {to} {port} {payload}"),
    attempt("tcp-other-port", "an allowed address on another port", "{act} tcp connect {to} {port} {payload}")
        .between(At("198.51.100.240", 8443), At("198.51.100.240", 443)),
    attempt(
        "tcp-where-udp-is-allowed",
        "an allowed address over another protocol",
        "{act} tcp connect {to} {port} {payload}",
    )
    .between(At("198.51.100.241", 443), At("198.51.100.241", 8443))
    .given(&["{ cidr: \"{net}\", ports: [443], protocol: udp, why: another protocol }"])
    .shared(),
    attempt("tcp-port-zero", "port 0", "{act} tcp connect {to} {port} {payload}")
        .between(V4(0), V4(80))
        .rules(&["{ cidr: \"{net}\", ports: any, why: a twin }"])
        .without_payload(),
    attempt(
        "tcp-called-from-outside",
        "a listener that pushes data to whoever calls",
        "{act} tcp serve {to} 7001 {payload} {home}/called",
    )
    .rules(ANY)
    .twin_in(In::AnyProtocol)
    .meanwhile(Meanwhile::Calls(7001))
    .expect(Dropped),
];
