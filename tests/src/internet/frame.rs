//! A frame as the observer reads it: where it goes, and whether it holds what an attempt wanted to get out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names;

const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_LITE: u8 = 136;
/// IPv6 headers that stand before the transport's: hop-by-hop, routing, fragment, destination options.
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];

/// An IP packet that crossed the link.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where from.
    pub from: IpAddr,
    /// Where to.
    pub to: IpAddr,
    /// IP protocol number, IPv6 extension headers stepped over.
    pub protocol: u8,
    /// Destination port, for protocols that have one.
    pub port: Option<u16>,
    /// Where the transport's header begins in `bytes`.
    transport: usize,
    bytes: Vec<u8>,
}

impl Packet {
    /// An Ethernet frame's packet; `None` for what is no IP, or only keeps the link going (neighbours, group membership).
    pub(super) fn of_frame(frame: &[u8]) -> Option<Self> {
        let bytes = frame.get(14..)?;
        let packet = match (frame.get(12..14)?, bytes.first()? >> 4) {
            ([0x08, 0x00], 4) => Self::v4(bytes),
            ([0x86, 0xdd], 6) => Self::v6(bytes),
            _ => None,
        }?;
        (!packet.is_housekeeping()).then_some(packet)
    }

    fn v4(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
        let (from, to) = (address(12)?.into(), address(16)?.into());
        let offset = u16::from_be_bytes([*bytes.get(6)?, *bytes.get(7)?]) & 0x1fff;
        Some(Self::whole(from, to, bytes[9], usize::from(bytes[0] & 0xf) * 4, offset == 0, bytes))
    }

    fn v6(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?));
        let (from, to) = (address(8)?.into(), address(24)?.into());
        let (mut protocol, mut transport, mut is_first) = (bytes[6], 40, true);
        while EXTENSIONS.contains(&protocol) && bytes.len() > transport + 8 {
            let len = if protocol == 44 { 8 } else { (usize::from(bytes[transport + 1]) + 1) * 8 };
            is_first &= protocol != 44 || bytes[transport + 2] == 0 && bytes[transport + 3] & 0xf8 == 0;
            protocol = bytes[transport];
            transport += len;
        }
        Some(Self::whole(from, to, protocol, transport, is_first, bytes))
    }

    fn whole(from: IpAddr, to: IpAddr, protocol: u8, transport: usize, is_first: bool, bytes: &[u8]) -> Self {
        let has_port = is_first && matches!(protocol, TCP | UDP | UDP_LITE);
        let port = bytes.get(transport + 2..transport + 4).filter(|_| has_port);
        let port = port.map(|port| u16::from_be_bytes([port[0], port[1]]));
        Self { from, to, protocol, port, transport, bytes: bytes.to_vec() }
    }

    fn is_housekeeping(&self) -> bool {
        let kind = self.bytes.get(self.transport).copied().unwrap_or_default();
        // Neighbour discovery and group membership (RFC 4861, RFC 3810); IGMP.
        (self.protocol == ICMPV6 && matches!(kind, 130..=137 | 143)) || self.protocol == 2
    }

    /// Whether these bytes stand anywhere in it, headers included; case doesn't matter, because DNS may change it.
    pub fn holds(&self, needle: &[u8]) -> bool {
        self.bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
    }

    /// The name that it asks a resolver for.
    pub fn question(&self) -> Option<String> {
        if self.port != Some(names::PORT) {
            return None;
        }
        let data = match self.protocol {
            UDP => self.transport + 8,
            TCP => self.transport + usize::from(self.bytes.get(self.transport + 12)? >> 4) * 4 + 2,
            _ => return None,
        };
        names::question(self.bytes.get(data..)?).map(|question| question.name)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            1 => write!(to, "icmp")?,
            TCP => write!(to, "tcp")?,
            UDP => write!(to, "udp")?,
            ICMPV6 => write!(to, "icmpv6")?,
            UDP_LITE => write!(to, "udp-lite")?,
            other => write!(to, "protocol {other}")?,
        }
        write!(to, " to {}", self.to)?;
        if let Some(port) = self.port {
            write!(to, " port {port}")?;
        }
        if let Some(name) = self.question() {
            write!(to, " for {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, kind[0], kind[1]], packet].concat()
    }

    #[test]
    fn a_datagram_is_read_with_its_port_and_what_it_holds() {
        let mut packet = vec![0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 2, 203, 0, 113, 9];
        packet.extend([0x12, 0x34, 0x01, 0xbb, 0, 13, 0, 0]);
        packet.extend(b"nONCe");
        let read = Packet::of_frame(&frame([8, 0], &packet)).expect("a packet");
        assert_eq!((read.to.to_string(), read.port), ("203.0.113.9".to_owned(), Some(443)));
        assert!(read.holds(b"nonce") && !read.holds(b"nonces"));
        assert_eq!(read.to_string(), "udp to 203.0.113.9 port 443");
    }

    #[test]
    fn extension_headers_hide_no_port() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 16, 60, 64];
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0xf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        packet.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([0x12, 0x34, 0x01, 0xbb, 0, 8, 0, 0]);
        let read = Packet::of_frame(&frame([0x86, 0xdd], &packet)).expect("a packet");
        assert_eq!((read.protocol, read.port), (17, Some(443)));
    }
}
