//! Other protocols than TCP and UDP, and packets made by hand. Twins run where some rule allows any protocol: without
//! one, no such socket can be made.

use crate::attempt::Expected::{Closed, Dropped, Killed, Refused};
use crate::attempt::Place::{At, V4, V6};
use crate::attempt::{ANY, Attempt, In, UDP, attempt};

/// Forbidden where no rule allows any protocol.
const fn raw(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    attempt(name, what, act).over(V4(4444)).rules(ANY).twin_in(In::AnyProtocol)
}

/// Forbidden beside a rule that allows any protocol to another address.
const fn beside(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    raw(name, what, act).in_job(In::AnyProtocol)
}

/// A packet socket, where raw sockets may be made; the twin is the plain way.
const fn packet_socket(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    beside(name, what, act)
        .given(&["{ cidr: \"198.51.100.247/32\", ports: any, protocol: any, why: what raw sockets are for }"])
        .twin("{act} udp sendto {to} {port} {payload}")
        .twin_in(In::Plain)
        .rules(UDP)
        .expect(Killed)
        .on_tracing(Refused)
}

pub const ATTEMPTS: &[Attempt] = &[
    raw("raw-udp", "a raw socket for UDP", "{act} raw datagram {to} {port} {payload}"),
    raw("raw-udp-v6", "the same over IPv6", "{act} raw datagram {to} {port} {payload}").over(V6(4444)),
    raw("raw-header", "with an IP header of its own", "{act} raw header {to} {port} {payload}"),
    raw("raw-header-v6", "the same over IPv6", "{act} raw header {to} {port} {payload}").over(V6(4444)),
    raw("raw-tcp-syn", "a TCP segment with data, made by hand", "{act} raw segment {to} {port} {payload}"),
    raw("icmp-echo", "an echo request with data", "{act} raw echo {to} {port} {payload}"),
    raw("icmpv6-echo", "the same over IPv6", "{act} raw echo {to} {port} {payload}").over(V6(0)),
    raw("ping-socket", "an echo request without privilege", "{act} raw ping {to} {port} {payload}"),
    raw("ping-socket-v6", "the same over IPv6", "{act} raw ping {to} {port} {payload}").over(V6(0)),
    raw("ipv6-in-ipv4", "a tunnel by hand: protocol 41", "{act} raw protocol {to} {port} {payload} 41"),
    raw("gre", "a tunnel by hand: GRE", "{act} raw protocol {to} {port} {payload} 47"),
    raw("protocol-253", "a protocol that nobody uses", "{act} raw protocol {to} {port} {payload} 253"),
    beside(
        "raw-header-beside",
        "a raw packet, where raw sockets may be made",
        "{act} raw header {to} {port} {payload}",
    ),
    beside("raw-header-beside-v6", "the same over IPv6", "{act} raw header {to} {port} {payload}").over(V6(4444)),
    beside(
        "raw-header-that-lies",
        "told to the kernel as a packet to an allowed address",
        "{act} raw other-header {to} {port} {payload} {open}",
    ),
    beside("raw-fragment-beside", "a later fragment, which has no ports", "{act} raw fragment {to} {port} {payload}"),
    beside(
        "raw-tcp-syn-beside",
        "a TCP segment, where raw sockets may be made",
        "{act} raw segment {to} {port} {payload}",
    ),
    beside(
        "icmp-echo-beside",
        "an echo request, where raw sockets may be made",
        "{act} raw echo {to} {port} {payload}",
    ),
    beside("icmpv6-echo-beside", "the same over IPv6", "{act} raw echo {to} {port} {payload}").over(V6(0)),
    beside(
        "ping-socket-beside",
        "without privilege, where raw sockets may be made",
        "{act} raw ping {to} {port} {payload}",
    ),
    beside("gre-beside", "a tunnel, where raw sockets may be made", "{act} raw protocol {to} {port} {payload} 47"),
    beside(
        "raw-source-route",
        "to an allowed address, which is asked to send it on",
        "{act} raw routed-header {to} {port} {payload} {open}",
    )
    .twin("{act} raw header {to} {port} {payload}")
    .given(&["{ cidr: \"198.51.100.9/32\", ports: any, protocol: any, why: the station on the way }"]),
    raw("packet-socket", "a frame, written to the device", "{act} raw frame {to} {port} {payload} {uplink}")
        .twin("{act} udp sendto {to} {port} {payload}")
        .twin_in(In::Plain)
        .rules(UDP),
    raw(
        "packet-socket-v6",
        "an IPv6 frame, written to the device",
        "{act} raw frame-body {to} {port} {payload} {uplink}",
    )
    .over(V6(4444))
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP),
    raw(
        "packet-socket-32-bit",
        "a packet socket made by a 32-bit call",
        "{act} compat frame {to} {port} {payload} {uplink}",
    )
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP),
    packet_socket(
        "packet-socket-where-raw-is-allowed",
        "a packet socket of a job that may have raw sockets",
        "{act} raw frame {to} {port} {payload} {uplink}",
    ),
    packet_socket(
        "packet-socket-old-where-raw-is-allowed",
        "the same, asked for as a packet socket of IPv4",
        "{act} device old-packet-socket {to} {port} {payload} {uplink}",
    ),
    packet_socket(
        "packet-socket-by-ring-where-raw-is-allowed",
        "the same, made by io_uring",
        "{act} uring frame {to} {port} {payload} {uplink}",
    )
    .beyond_tracepoint("no hook of this tier is asked, and no call returns the socket"),
    raw(
        "packet-socket-raced",
        "a packet socket that a second thread uses at once",
        "{act} raw frame-raced {to} {port} {payload} {uplink}",
    )
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP)
    .expect(Dropped),
    raw(
        "packet-socket-shared",
        "a packet socket of a child that shares its descriptors",
        "{act} raw frame-shared {to} {port} {payload} {uplink}",
    )
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP)
    .expect(Closed),
    raw(
        "packet-socket-by-ring",
        "a packet socket made by io_uring",
        "{act} uring frame {to} {port} {payload} {uplink}",
    )
    .over(V4(4444))
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP),
    beside(
        "raw-question-beside",
        "a question by hand, to an address that may have anything else",
        "{act} raw header {to} {port} {payload}",
    )
    .between(At("198.51.100.245", 53), At("198.51.100.245", 4444)),
    raw(
        "tun-device",
        "a packet of the job's own making, which the runner forwards",
        "{act} raw tun {to} {port} {payload}",
    )
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP)
    .expect(Killed)
    .on_tracing(Refused),
    raw(
        "tunnel-device",
        "an allowed address, routed into a tunnel to a forbidden one",
        "{act} space tunnel {to} 198.51.100.246 {act} udp sendto 198.51.100.246 4444 {payload}",
    )
    .given(&["{ cidr: \"198.51.100.246/32\", ports: [4444], protocol: udp, why: the inner address }"])
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP)
    .expect(Dropped),
    raw(
        "tunnel-device-where-allowed",
        "the same, where the policy lets the job change the network",
        "{act} space tunnel {to} 198.51.100.246 {act} udp sendto 198.51.100.246 4444 {payload}",
    )
    .given(&["{ cidr: \"198.51.100.246/32\", ports: [4444], protocol: udp, why: the inner address }"])
    .in_job(In::Networked)
    .twin("{act} udp sendto {to} {port} {payload}")
    .rules(UDP)
    .expect(Dropped)
    .beyond("the outer packet is the device's; whoever may make devices is root"),
    raw(
        "macvtap-device",
        "a frame, written to a device of the job's own on the same wire",
        "{act} device macvtap {to} {port} {payload} {uplink}",
    )
    .twin("{act} udp sendto {to} {port} {payload}")
    .twin_in(In::Plain)
    .rules(UDP)
    .expect(Dropped),
    raw("sctp", "a protocol that this kernel may lack: SCTP", "{act} net socket 2 1 132"),
    raw("smc", "sockets over shared memory", "{act} net socket 43 1 0").expect(Killed).on_tracing(Refused),
    raw("vsock", "the machine's own supervisor", "{act} net socket 40 1 0").expect(Killed).on_tracing(Refused),
    raw("xdp", "rings on the device", "{act} net socket 44 3 0").expect(Killed).on_tracing(Refused),
];
