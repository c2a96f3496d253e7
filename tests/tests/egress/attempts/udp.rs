//! Datagrams: every call that can address one.

use crate::attempt::Place::{At, V4, V6};
use crate::attempt::{ANY, Attempt, In, Meanwhile, UDP, attempt};
use crate::session::CALLER_PORT;

/// A datagram to port 4444.
const fn datagram(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act).over(V4(4444)).rules(UDP)
}

const MULTICAST: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], protocol: udp, class: multicast, why: a twin }"];

pub const ATTEMPTS: &[Attempt] = &[
    datagram("udp-sendto", "sendto", "{act} udp sendto {to} {port} {payload}"),
    datagram("udp-sendto-v6", "sendto over IPv6", "{act} udp sendto {to} {port} {payload}").over(V6(4444)),
    datagram("udp-sendmsg", "sendmsg", "{act} udp sendmsg {to} {port} {payload}"),
    datagram("udp-sendmsg-v6", "sendmsg over IPv6", "{act} udp sendmsg {to} {port} {payload}").over(V6(4444)),
    datagram(
        "udp-sendmmsg-second",
        "two messages in one call, the first to an allowed address",
        "{act} udp sendmmsg {to} {port} {payload} {open}",
    ),
    datagram("udp-connected", "connect, then send", "{act} udp connected {to} {port} {payload}"),
    datagram("udp-connected-v6", "the same over IPv6", "{act} udp connected {to} {port} {payload}").over(V6(4444)),
    datagram(
        "udp-reconnected",
        "connected to an allowed address, then to another",
        "{act} udp reconnected {to} {port} {payload} {open}",
    ),
    datagram(
        "udp-connected-elsewhere",
        "connected to an allowed address, with another in the call",
        "{act} udp elsewhere {to} {port} {payload} {open}",
    ),
    datagram("udp-v4-mapped", "IPv4 from an IPv6 socket", "{act} udp mapped {to} {port} {payload}"),
    datagram("udp-flow-label", "with a flow label and a zone", "{act} udp flow {to} {port} {payload} {uplink}")
        .over(V6(4444)),
    datagram("udp-lite", "UDP-Lite", "{act} udp lite {to} {port} {payload}"),
    datagram("udp-lite-v6", "UDP-Lite over IPv6", "{act} udp lite {to} {port} {payload}").over(V6(4444)),
    datagram("udp-segmented", "cut into datagrams by the kernel", "{act} udp segmented {to} {port} {payload}"),
    datagram("udp-spliced", "filled from a pipe", "{act} udp spliced {to} {port} {payload}"),
    datagram(
        "udp-packet-info",
        "the device named with the message",
        "{act} udp packet-info {to} {port} {payload} {uplink}",
    ),
    datagram(
        "udp-destination-options",
        "behind an IPv6 extension header",
        "{act} udp destination-options {to} {port} {payload}",
    )
    .over(V6(4444))
    // Setting the header takes the capability that only jobs with raw sockets keep.
    .rules(ANY)
    .twin_in(In::AnyProtocol),
    datagram(
        "udp-source-routed",
        "to an allowed address, by way of a forbidden one",
        "{act} udp source-routed {to} {port} {payload} {open}",
    )
    .twin("{act} udp sendto {to} {port} {payload}"),
    datagram(
        "udp-source-routed-on",
        "to an allowed address by way of another, which is asked to send it past a forbidden one",
        "{act} udp source-routed-on {to} {port} {payload} {open} 198.51.100.7",
    )
    .given(&["{ cidr: \"198.51.100.7/32\", ports: any, protocol: udp, why: the end of the way }"])
    .twin("{act} udp sendto {to} {port} {payload}"),
    datagram(
        "udp-segment-routed",
        "to an allowed IPv6 address, by way of a forbidden one",
        "{act} udp segment-routed {to} {port} {payload} {open6}",
    )
    .twin("{act} udp sendto {to} {port} {payload}")
    .over(V6(4444)),
    datagram("quic-where-tcp-is-allowed", "port 443 over UDP", "{act} udp sendto {to} {port} {payload}")
        .between(At("198.51.100.242", 443), At("198.51.100.243", 443))
        .given(&["{ cidr: \"{net}\", ports: [443], why: another protocol }"]),
    datagram("udp-other-port", "an allowed address on another port", "{act} udp sendto {to} {port} {payload}")
        .between(At("198.51.100.244", 4445), At("198.51.100.244", 4444)),
    datagram("udp-broadcast", "to everybody on the link", "{act} udp broadcast {to} {port} {payload}")
        .between(At("255.255.255.255", 4444), At("255.255.255.255", 22))
        .rules(MULTICAST)
        .shared(),
    datagram("mdns", "multicast DNS", "{act} udp multicast {to} {port} {payload} {uplink}")
        .between(At("224.0.0.251", 5353), At("239.1.2.3", 5353))
        .rules(MULTICAST),
    datagram("llmnr", "link-local multicast name resolution", "{act} udp multicast {to} {port} {payload} {uplink}")
        .between(At("224.0.0.252", 5355), At("239.1.2.4", 5355))
        .rules(MULTICAST),
    datagram("mdns-v6", "multicast DNS over IPv6", "{act} udp multicast {to} {port} {payload} {uplink}")
        .between(At("ff02::fb", 5353), At("ff05::1234", 5353))
        .rules(MULTICAST),
    datagram("udp-io-uring", "a message as a request of io_uring", "{act} uring datagram {to} {port} {payload}"),
    datagram("udp-io-uring-v6", "the same over IPv6", "{act} uring datagram {to} {port} {payload}").over(V6(4444)),
    datagram("udp-32-bit", "a message as a 32-bit call", "{act} compat datagram {to} {port} {payload}"),
    datagram("udp-answer", "an answer to whoever asks from outside", "{act} udp answer {to} 7002 {payload}")
        .over(V4(CALLER_PORT))
        .meanwhile(Meanwhile::Sends(7002)),
    datagram(
        "udp-beside-anything",
        "where raw sockets may be made for another address",
        "{act} udp sendto {to} {port} {payload}",
    )
    .in_job(In::AnyProtocol)
    .rules(ANY),
];
