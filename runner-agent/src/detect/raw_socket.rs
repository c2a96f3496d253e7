//! Sockets that go past every rule about addresses: raw, packet, VSOCK, ping, SCTP and what else there is.

use crate::event::{Activity, Event, Finding};
use crate::job::JobState;
use crate::policy::{Policy, Severity, Verdict};

pub(super) fn detect(event: &Event, _: &JobState, _: &Policy) -> Option<Finding> {
    if let Activity::Device { major, minor, killed } = event.activity {
        let name = device_name(major, minor);
        let message = format!(
            "{} {} opening {name}, whose packets no rule about addresses can judge",
            super::who(event),
            if killed { "was ended for" } else { "was kept from" },
        );
        let subject = format!("{} {name}", super::exe(event));
        let mut finding = super::finding(event, "raw-socket", Severity::High, subject, message);
        finding.techniques = &["XF-12"];
        return Some(finding);
    }
    let Activity::Socket { family, socket_type, protocol, verdict, killed } = event.activity else { return None };
    let name = name(family, socket_type, protocol);
    let did = match (verdict, killed) {
        (_, true) => "was ended for making",
        (Verdict::Blocked, false) => "was kept from making",
        _ => "made",
    };
    let message = format!("{} {did} a {name} socket, which no rule about addresses can judge", super::who(event));
    let subject = format!("{} {name}", super::exe(event));
    let mut finding = super::finding(event, "raw-socket", Severity::High, subject, message);
    finding.techniques = &["XF-12"];
    // On this tier nothing can be allowed that no hook sees, so there is no line to give.
    let has_packets = matches!(family, 2 | 10);
    if verdict == Verdict::Blocked && !killed && has_packets {
        finding.fix =
            Some("egress.allow: - { cidr: …, ports: any, protocol: any, why: \"…\" } for where it sends to".to_owned());
    }
    Some(finding)
}

/// What a person calls such a device. Numbers: Linux `Documentation/admin-guide/devices.txt`.
pub fn device_name(major: u32, minor: u32) -> String {
    match (major, minor) {
        (10, 200) => "a TUN/TAP device".to_owned(),
        (10, 238) => "the vhost-net device".to_owned(),
        (10, 241) => "the vhost-vsock device".to_owned(),
        (108, 0) => "the PPP device".to_owned(),
        _ => format!("the device {major}:{minor}"),
    }
}

/// What a person calls such a socket. Numbers: Linux `include/linux/socket.h` and `include/uapi/linux/in.h`.
pub fn name(family: u32, socket_type: u32, protocol: u32) -> String {
    const SOCK_RAW: u32 = 3;
    match (family, socket_type, protocol) {
        (17, _, _) => "packet".to_owned(),
        (40, _, _) => "VSOCK".to_owned(),
        (44, _, _) => "XDP".to_owned(),
        (30, _, _) => "TIPC".to_owned(),
        (31, _, _) => "Bluetooth".to_owned(),
        (21, _, _) => "RDS".to_owned(),
        (43, _, _) => "SMC".to_owned(),
        (38, _, _) => "kernel crypto".to_owned(),
        (2 | 10, SOCK_RAW, _) => format!("raw IP (protocol {protocol})"),
        (2, _, 1) | (10, _, 58) => "ping (ICMP)".to_owned(),
        (2 | 10, _, 132) => "SCTP".to_owned(),
        (2 | 10, _, 33) => "DCCP".to_owned(),
        _ => format!("family {family}, type {socket_type}, protocol {protocol}"),
    }
}
