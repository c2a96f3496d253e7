//! What leaves and reaches a job as packets: the backstop behind the address hooks, and DNS messages that give names.
//!
//! Hooks: cgroup_skb egress and ingress on the job's cgroup. Kernel floor: 5.7 (links).
//! Sees: every IP packet of the job's sockets. Where the job is blocked, only what a verdict or a live rule covers gets
//! out: no ICMP, no packets of raw sockets, no answers to those who connect from outside. Where it is audited, UDP to and
//! from port 53, and DNS over TCP where a message lies whole in one segment.
//! Misses: packet sockets, which write to the device (`syscall.rs` ends who opens one). Audited: names resolved over a
//! Unix socket (nss-resolve), DoH and DoT, messages behind IPv6 extension headers, and TCP messages cut by segmentation.
//! What is sniffed here names destinations; it never decides a verdict.

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_ancestor_cgroup_id};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use runner_agent_common::address::DNS_PORT;
use runner_agent_common::decide::{Destination, FAMILY_V4, FAMILY_V6, IPPROTO_TCP, IPPROTO_UDP};
use runner_agent_common::egress::{Asker, AskerKey, JobRules, SocketRuling, rule, socket_flag, verdict};
use runner_agent_common::record::{Connect, Dns, Header, ProcessKey, direction, kind, probe};
use zerocopy::FromBytes;

use crate::emit;
use crate::kernel::offset;
use crate::maps::{ASKERS, JOBS, RING_BULK, RING_CRITICAL, Scratch};
use crate::socket;
use crate::task;
use crate::verdict as rules;

const PASS: i32 = 1;
/// The packet goes nowhere; where a call waits for it, that fails with EPERM.
const DROP: i32 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// The largest message worth keeping: EDNS answers stay below it.
const MAX_MESSAGE: u32 = 4096;
/// IPv6 extension headers that are stepped over; a packet with more of them has no port.
const MAX_EXTENSIONS: usize = 4;

/// What leaves the job.
#[cgroup_skb(egress)]
pub fn packet_out(ctx: SkBuffContext) -> i32 {
    let Some(job) = job_of(&ctx) else { return PASS };
    match rules::rules_of(job) {
        Some(rules) => backstop(&ctx, job, &rules),
        None => {
            let _ = dns(&ctx, direction::OUT, job);
            PASS
        }
    }
}

/// What reaches the job.
#[cgroup_skb(ingress)]
pub fn packet_in(ctx: SkBuffContext) -> i32 {
    if let Some(job) = job_of(&ctx)
        && rules::rules_of(job).is_none()
    {
        let _ = dns(&ctx, direction::IN, job);
    }
    PASS
}

/// Lets a packet out that a verdict or a live rule covers, and counts the rest.
#[inline(always)]
fn backstop(ctx: &SkBuffContext, job: u32, rules: &JobRules) -> i32 {
    // SAFETY: the context outlives the program.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    // SAFETY: the packet's own socket, or null; the helper refuses one that is no full socket.
    let kept = unsafe { socket::ruling_of(socket.cast(), false) };
    let Some(packet) = destination_of(ctx) else {
        return dropped(ctx, job, rules, kept, None);
    };
    let destination = &packet.destination;
    if !kept.is_null() {
        // SAFETY: a live value of the storage map.
        let ruling: &SocketRuling = unsafe { &*kept };
        if socket::is_about(ruling, destination) && !packet.is_routed {
            if ruling.flags & socket_flag::REDIRECTED != 0 {
                remember_asker(ctx, ruling, packet.source);
            }
            return PASS;
        }
    }
    // Questions go to the resolver or nowhere; a routing header could lead on to anywhere.
    let is_question = destination.port == DNS_PORT && !destination.is_local();
    if !is_question && !packet.is_routed {
        let ruling = rules::decide_for_anybody(job, rules, destination);
        if ruling.verdict == verdict::ALLOWED {
            return PASS;
        }
    }
    dropped(ctx, job, rules, kept, Some(&packet))
}

/// Where a packet goes.
struct Packet {
    destination: Destination,
    source: u16,
    /// Whether it names further stations than the one it goes to.
    is_routed: bool,
}

#[inline(always)]
fn destination_of(ctx: &SkBuffContext) -> Option<Packet> {
    let front: [u8; 20] = at(ctx, 0)?;
    if front[0] >> 4 == 4 {
        let fragment = u16::from_be_bytes([front[6], front[7]]) & 0x1fff;
        let transport = u32::from(front[0] & 0xf) * 4;
        let words = [u32::from_ne_bytes([front[16], front[17], front[18], front[19]]), 0, 0, 0];
        // Only the first fragment has ports; the others are judged by address alone.
        let protocol = if fragment == 0 { front[9] } else { NO_PORTS };
        return with_ports(ctx, words, FAMILY_V4, protocol, transport);
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

/// Stands for a protocol whose ports are not in this packet.
const NO_PORTS: u8 = 255;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Bit of what [`behind_extensions`] returns: there was a routing header.
const IS_ROUTED: u64 = 1 << 32;

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
    let mut ports = 0_u32;
    if matches!(protocol, IPPROTO_TCP | IPPROTO_UDP) {
        ports = ctx.load::<u32>(transport as usize).ok()?;
    }
    let ports = ports.to_ne_bytes();
    let source = u16::from_be_bytes([ports[0], ports[1]]);
    let port = u16::from_be_bytes([ports[2], ports[3]]);
    Some(Packet { destination: Destination { words, port, family, protocol }, source, is_routed: false })
}

/// Counts a packet that doesn't get out, and tells of the first of each socket.
#[inline(always)]
fn dropped(
    ctx: &SkBuffContext,
    job: u32,
    rules: &JobRules,
    mut kept: *mut SocketRuling,
    packet: Option<&Packet>,
) -> i32 {
    rules::count_drop(rules);
    // SAFETY: the context outlives the program.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if kept.is_null() {
        // SAFETY: the packet's own socket, or null.
        kept = unsafe { socket::ruling_of(socket.cast(), true) };
    }
    let mut owner = ProcessKey { start_ns: 0, tgid: 0, reserved: 0 };
    if !kept.is_null() {
        // SAFETY: a live value of the storage map.
        let kept = unsafe { &mut *kept };
        if kept.flags & socket_flag::DROP_TOLD != 0 {
            return DROP;
        }
        kept.flags |= socket_flag::DROP_TOLD;
        owner = kept.owner;
    }
    let (words, port, family, protocol) = match packet {
        Some(Packet { destination, .. }) => {
            (destination.words, destination.port, destination.family, destination.protocol)
        }
        None => ([0; 4], 0, FAMILY_V4, 0),
    };
    let record = Connect {
        header: Header {
            at_ns: task::now(),
            process: owner,
            len: size_of::<Connect>() as u32,
            job,
            flags: 0,
            kind: kind::CONNECT,
            probe: probe::PACKET,
        },
        address: zerocopy::transmute!(words),
        // SAFETY: the helper takes the program's own context.
        socket: unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) },
        cgroup: 0,
        family: if family == FAMILY_V4 { AF_INET } else { AF_INET6 },
        port,
        protocol: u16::from(protocol),
        socket_type: 0,
        rule: rule::DEFAULT,
        verdict: verdict::BLOCKED,
        reserved: 0,
    };
    emit::fixed(&RING_CRITICAL, probe::PACKET, &record);
    DROP
}

/// The resolver hears from a port only; this says whose it is.
#[inline(always)]
fn remember_asker(ctx: &SkBuffContext, ruling: &SocketRuling, port: u16) {
    let key = AskerKey { port, protocol: ruling.protocol, family: ruling.family };
    let asker = Asker {
        wanted: ruling.wanted,
        process: ruling.owner,
        // SAFETY: the helper takes the program's own context.
        socket: unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) },
        job: ruling.job,
        wanted_family: ruling.wanted_family,
        reserved: [0; 3],
    };
    // An asker that isn't remembered gets its answer all the same, told without its process.
    let _ = ASKERS.insert(key, asker, 0);
}

/// What the headers of a packet say.
struct Headers {
    family: u16,
    protocol: u8,
    /// Where the transport header starts.
    transport: u32,
    source: u16,
    destination: u16,
}

/// Reads the headers where they lie, without a helper call: this runs for every packet of the job.
#[inline(always)]
fn headers(ctx: &SkBuffContext) -> Option<Headers> {
    // Both kinds of header are at least this long. Shorter reads trip old verifiers.
    let front: [u8; 20] = at(ctx, 0)?;
    let (family, protocol, transport) = match front[0] >> 4 {
        4 => (AF_INET, front[9], usize::from(front[0] & 0xf) * 4),
        6 => (AF_INET6, front[6], 40),
        _ => return None,
    };
    if protocol != IPPROTO_UDP && protocol != IPPROTO_TCP {
        return None;
    }
    // Ports stand in the same place in UDP and TCP.
    let ports: [u8; 4] = at(ctx, transport)?;
    Some(Headers {
        family,
        protocol,
        transport: transport as u32,
        source: u16::from_be_bytes([ports[0], ports[1]]),
        destination: u16::from_be_bytes([ports[2], ports[3]]),
    })
}

/// Reads from the packet's linear part, which holds the headers of everything that a socket sends or receives.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "the two ends of one packet")]
#[inline(always)]
fn at<T: FromBytes>(ctx: &SkBuffContext, offset: usize) -> Option<T> {
    // SAFETY: the context outlives the program; the verifier turns these two loads into the packet's bounds.
    let (data, end) = unsafe { ((*ctx.skb.skb).data as usize, (*ctx.skb.skb).data_end as usize) };
    let start = data + offset;
    if start + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the packet by the check above, which the verifier insists on; `FromBytes` takes any bytes.
    Some(unsafe { core::ptr::read_unaligned(start as *const T) })
}

#[inline(always)]
fn dns(ctx: &SkBuffContext, direction: u8, job: u32) -> Option<()> {
    let Headers { family, protocol, transport, source, destination } = headers(ctx)?;
    let (remote, local_port) = if direction == direction::OUT { (destination, source) } else { (source, destination) };
    if remote != DNS_PORT {
        return None;
    }
    let message = if protocol == IPPROTO_UDP {
        transport + 8
    } else {
        transport + u32::from(ctx.load::<u8>(transport as usize + 12).ok()? >> 4) * 4
    };
    let wire_len = ctx.len().checked_sub(message)?;
    // Shorter than a DNS header: an empty TCP segment, say.
    if wire_len < 12 {
        return None;
    }
    let mut record = Dns {
        header: Header {
            at_ns: task::now(),
            process: ProcessKey { start_ns: 0, tgid: 0, reserved: 0 },
            len: 0,
            job,
            flags: 0,
            kind: kind::DNS,
            probe: probe::DNS,
        },
        // SAFETY: the helper takes the program's own context.
        socket: unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) },
        server: [0; 16],
        wire_len,
        len: if wire_len > MAX_MESSAGE { MAX_MESSAGE } else { wire_len },
        local_port,
        family,
        direction,
        protocol,
        reserved: 0,
    };
    let out = direction == direction::OUT;
    if family == AF_INET {
        let server: [u8; 4] = ctx.load(if out { 16 } else { 12 }).ok()?;
        record.server[..4].copy_from_slice(&server);
    } else {
        record.server = ctx.load(if out { 24 } else { 8 }).ok()?;
    }
    emit::with_scratch(probe::DNS, |scratch| send(ctx, message, &mut record, scratch));
    Some(())
}

#[inline(always)]
fn send(ctx: &SkBuffContext, message: u32, record: &mut Dns, scratch: &mut Scratch) {
    let fixed = size_of::<Dns>() as u32;
    let len = core::hint::black_box(record.len);
    if len == 0 || len > MAX_MESSAGE {
        return;
    }
    // SAFETY: the record buffer is four times as large as the largest message.
    let target = unsafe { scratch.record.as_mut_ptr().add(fixed as usize) };
    // SAFETY: `len` is at most MAX_MESSAGE; the helper checks that the packet has that many bytes.
    let failed =
        unsafe { aya_ebpf::helpers::generated::bpf_skb_load_bytes(ctx.skb.skb.cast(), message, target.cast(), len) };
    if failed != 0 {
        record.len = 0;
    }
    record.header.len = fixed + record.len;
    emit::put(scratch, record);
    emit::scratch(&RING_BULK, probe::DNS, scratch, u64::from(record.header.len));
}

/// The job whose socket this packet belongs to; there may be no current process, or the wrong one.
#[inline(always)]
fn job_of(ctx: &SkBuffContext) -> Option<u32> {
    let level = offset!(job_cgroup_level) as i32;
    // SAFETY: the helper takes the program's own context.
    let cgroup = unsafe { bpf_skb_ancestor_cgroup_id(ctx.skb.skb.cast(), level) };
    // SAFETY: the value is copied at once; only user space changes this map.
    unsafe { JOBS.get(cgroup) }.copied()
}
