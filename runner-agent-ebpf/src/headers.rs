//! Where a packet goes, read from its headers where they lie.

use aya_ebpf::programs::SkBuffContext;
use runner_agent_common::decide::{Destination, FAMILY_V4, FAMILY_V6, IPPROTO_TCP, IPPROTO_UDP};
use zerocopy::FromBytes;

/// IPv6 extension headers that are stepped over; a packet with more of them has no port.
const MAX_EXTENSIONS: usize = 4;

/// Stands for a protocol whose ports are not in this packet.
const NO_PORTS: u8 = 255;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Bit of what [`behind_extensions`] returns: there was a routing header.
const IS_ROUTED: u64 = 1 << 32;

/// Where a packet goes.
pub struct Packet {
    /// The address that the packet itself names, and its port.
    pub destination: Destination,
    /// The port that it comes from.
    pub source: u16,
    /// Whether it names further stations than the one it goes to.
    pub is_routed: bool,
}

/// Where a packet goes; nothing where its headers can't be read.
#[inline(always)]
pub fn destination_of(ctx: &SkBuffContext) -> Option<Packet> {
    let front: [u8; 20] = at(ctx, 0)?;
    if front[0] >> 4 == 4 {
        let fragment = u16::from_be_bytes([front[6], front[7]]) & 0x1fff;
        let transport = u32::from(front[0] & 0xf) * 4;
        let words = [u32::from_ne_bytes([front[16], front[17], front[18], front[19]]), 0, 0, 0];
        // Only the first fragment has ports; the others are judged by address alone.
        let protocol = if fragment == 0 { front[9] } else { NO_PORTS };
        let mut packet = with_ports(ctx, words, FAMILY_V4, protocol, transport)?;
        // Options could be a source route.
        packet.is_routed = transport != size_of_val(&front) as u32;
        return Some(packet);
    }
    if front[0] >> 4 == 6 {
        let whole: [u8; 40] = at(ctx, 0)?;
        let address: [u8; 16] = [
            whole[24], whole[25], whole[26], whole[27], whole[28], whole[29], whole[30], whole[31], whole[32],
            whole[33], whole[34], whole[35], whole[36], whole[37], whole[38], whole[39],
        ];
        let words = zerocopy::transmute!(address);
        // The kernel's own sockets set extensions only when they are asked to.
        if matches!(whole[6], HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            let end = behind_extensions(ctx, whole[6]);
            let mut packet = with_ports(ctx, words, FAMILY_V6, (end >> 16) as u8, (end & 0xffff) as u32)?;
            packet.is_routed = end & IS_ROUTED != 0;
            return Some(packet);
        }
        return with_ports(ctx, words, FAMILY_V6, whole[6], 40);
    }
    None
}

/// Where the transport header of an IPv6 packet stands (low 16 bits), its protocol (next 8), and [`IS_ROUTED`].
#[inline(never)]
fn behind_extensions(ctx: &SkBuffContext, first: u8) -> u64 {
    let (mut next, mut transport, mut routed, mut has_ports) = (first, 40_u32, 0_u64, true);
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            break;
        }
        let Ok(front) = ctx.load::<u32>(transport as usize & 0x1fff) else { break };
        let front = front.to_ne_bytes();
        let mut len = (u32::from(front[1]) + 1) * 8;
        if next == ROUTING {
            routed = IS_ROUTED;
        }
        if next == FRAGMENT {
            has_ports &= u16::from_be_bytes([front[2], front[3]]) & 0xfff8 == 0;
            len = 8;
        }
        next = front[0];
        transport += len;
    }
    let protocol = if has_ports { next } else { NO_PORTS };
    routed | u64::from(protocol) << 16 | u64::from(transport & 0xffff)
}

#[inline(always)]
fn with_ports(ctx: &SkBuffContext, words: [u32; 4], family: u8, protocol: u8, transport: u32) -> Option<Packet> {
    let protocol = if protocol == 136 { IPPROTO_UDP } else { protocol };
    let mut ports = [0; 4];
    if matches!(protocol, IPPROTO_TCP | IPPROTO_UDP) {
        // A call for each packet costs more than all the rest of this; only what lies apart takes one.
        let bytes: [u8; 4] = match at(ctx, transport as usize & 0x1fff) {
            Some(ports) => ports,
            None => ctx.load::<u32>(transport as usize).ok()?.to_ne_bytes(),
        };
        ports = bytes;
    }
    let source = u16::from_be_bytes([ports[0], ports[1]]);
    let port = u16::from_be_bytes([ports[2], ports[3]]);
    Some(Packet { destination: Destination { words, port, family, protocol }, source, is_routed: false })
}

/// Reads from the packet's linear part, which holds the headers of everything that a socket sends or receives.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "the two ends of one packet")]
#[inline(always)]
pub fn at<T: FromBytes>(ctx: &SkBuffContext, offset: usize) -> Option<T> {
    // SAFETY: the context outlives the program; the verifier turns these two loads into the packet's bounds.
    let (data, end) = unsafe { ((*ctx.skb.skb).data as usize, (*ctx.skb.skb).data_end as usize) };
    let start = data + offset;
    if start + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the packet by the check above, which the verifier insists on; `FromBytes` takes any bytes.
    Some(unsafe { core::ptr::read_unaligned(start as *const T) })
}
