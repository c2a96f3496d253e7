//! DNS messages that a job sends and receives, so that destinations can carry names.
//!
//! Hooks: cgroup_skb egress and ingress on the job's cgroup. Kernel floor: 5.7 (links).
//! Sees: UDP to and from port 53, and DNS over TCP where a message lies whole in one segment.
//! Misses: names resolved over a Unix socket (nss-resolve), DoH and DoT, messages behind IPv6 extension headers, and TCP
//! messages cut by segmentation. What is sniffed here names destinations; it never decides a verdict in the kernel.

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_ancestor_cgroup_id};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use runner_agent_common::record::{Dns, Header, ProcessKey, direction, kind, probe};
use zerocopy::FromBytes;

use crate::emit;
use crate::kernel::offset;
use crate::maps::{JOBS, RING_BULK, Scratch};
use crate::task;

const PASS: i32 = 1;
const DNS_PORT: u16 = 53;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// The largest message worth keeping: EDNS answers stay below it.
const MAX_MESSAGE: u32 = 4096;

/// What leaves the job.
#[cgroup_skb(egress)]
pub fn packet_out(ctx: SkBuffContext) -> i32 {
    let _ = dns(&ctx, direction::OUT);
    PASS
}

/// What reaches the job.
#[cgroup_skb(ingress)]
pub fn packet_in(ctx: SkBuffContext) -> i32 {
    let _ = dns(&ctx, direction::IN);
    PASS
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
fn dns(ctx: &SkBuffContext, direction: u8) -> Option<()> {
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
    let job = job_of(ctx)?;
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
