//! What leaves and reaches a job as packets: the backstop behind the address hooks, and DNS messages that give names.
//!
//! Hooks: cgroup_skb egress on the job's cgroup, and ingress where it is audited. Kernel floor: 5.7 (links).
//! Sees: every IP packet of the job's sockets. Where the job is blocked, only what a verdict or a live rule covers gets
//! out: no ICMP, no packets of raw sockets, no answers to those who connect from outside. Where it is audited, UDP to and
//! from port 53, and DNS over TCP where a message lies whole in one segment.
//! Misses: packet sockets, which write to the device (`syscall.rs` ends who opens one). Audited: names resolved over a
//! Unix socket (nss-resolve), DoH and DoT, messages behind IPv6 extension headers, and TCP messages cut by segmentation.
//! What is sniffed here names destinations; it never decides a verdict.

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use runner_agent_common::address::DNS_PORT;
use runner_agent_common::decide::{FAMILY_V4, IPPROTO_TCP, IPPROTO_UDP};
use runner_agent_common::egress::{Asker, AskerKey, JobRules, SocketRuling, rule, socket_flag, verdict};
use runner_agent_common::record::{Connect, Dns, Header, ProcessKey, direction, kind, probe};

use crate::emit;
use crate::headers::{Packet, at, destination_of};
use crate::kernel::offset;
use crate::maps::{ASKERS, JOBS, RING_BULK, RING_CRITICAL, Scratch};
use crate::runner;
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

/// What leaves the job.
#[cgroup_skb(egress)]
pub fn packet_out(ctx: SkBuffContext) -> i32 {
    if rules::may_block() {
        return backstop(&ctx);
    }
    let _ = dns(&ctx, direction::OUT);
    PASS
}

/// What reaches the job.
#[cgroup_skb(ingress)]
pub fn packet_in(ctx: SkBuffContext) -> i32 {
    let _ = dns(&ctx, direction::IN);
    PASS
}

/// Lets a packet out that a verdict or a live rule covers, and counts the rest.
///
/// The socket is asked before the job is: what it remembers was decided for its job, and most packets are covered by it.
#[inline(always)]
fn backstop(ctx: &SkBuffContext) -> i32 {
    let socket = socket::of_packet(ctx);
    // SAFETY: the packet's own socket, or null; the helper refuses one that is no full socket.
    let kept = unsafe { socket::ruling_of(socket, false) };
    let packet = destination_of(ctx);
    if !kept.is_null()
        && let Some(packet) = &packet
    {
        // SAFETY: a live value of the storage map.
        let ruling: &mut SocketRuling = unsafe { &mut *kept };
        // A conversation may have begun before its process read a secret. Who sends is known only while it does; where
        // the kernel sends by itself, the process that happens to run may be another holder, and the packet is sent again.
        if ruling.flags & socket_flag::NO_SECRETS != 0
            && (task::is_holder(ruling.owner.tgid) || task::is_holder(task::current_tgid_at_packet()))
        {
            ruling.flags |= socket_flag::BARRED;
        }
        let is_holders = ruling.flags & socket_flag::BARRED != 0;
        if socket::is_about(ruling, &packet.destination) && !packet.is_routed && !is_holders {
            if ruling.flags & socket_flag::REDIRECTED != 0 {
                remember_asker(ctx, ruling, packet.source);
            }
            return PASS;
        }
    }
    // SAFETY: a live value of the storage map, if there is one.
    if runner::slot() != 0 && !kept.is_null() && unsafe { (*kept).flags } & socket_flag::AGENTS != 0 {
        return PASS;
    }
    let Some(job) = job_of(ctx) else { return PASS };
    let Some(rules) = &rules::rules_of(job) else {
        let _ = dns(ctx, direction::OUT);
        return PASS;
    };
    let Some(packet) = packet else {
        return dropped(ctx, job, rules, kept, None);
    };
    let destination = &packet.destination;
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
    let socket = socket::of_packet(ctx);
    if kept.is_null() {
        // SAFETY: the packet's own socket, or null.
        kept = unsafe { socket::ruling_of(socket, true) };
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
    let key = AskerKey { port, protocol: ruling.protocol, family: ruling.family, network: ruling.network };
    let asker = Asker {
        wanted: ruling.wanted,
        process: ruling.owner,
        // SAFETY: the helper takes the program's own context.
        socket: unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) },
        job: ruling.job,
        wanted_family: ruling.wanted_family,
        holds_secret: u8::from(task::is_holder(ruling.owner.tgid) || task::is_holder(task::current_tgid_at_packet())),
        reserved: [0; 2],
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

#[inline(always)]
fn dns(ctx: &SkBuffContext, direction: u8) -> Option<()> {
    // The ports are asked first: they are there to be read, and few packets are about names.
    let Headers { family, protocol, transport, source, destination } = headers(ctx)?;
    let (remote, local_port) = if direction == direction::OUT { (destination, source) } else { (source, destination) };
    if remote != DNS_PORT {
        return None;
    }
    let job = job_of(ctx)?;
    if rules::rules_of(job).is_some() {
        // Its questions go to the resolver, which tells of them.
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
    if record.len == 0 || record.len > MAX_MESSAGE {
        return;
    }
    // 1 to MAX_MESSAGE in a form that verifiers before 6.3 follow: they lose a lower bound that was compared in another
    // register, and the helper takes no length of zero. Opaque, or the compiler takes the mask off again.
    let len = (core::hint::black_box(record.len - 1) & (MAX_MESSAGE - 1)) + 1;
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
    if let Some(job) = unsafe { JOBS.get(cgroup) } {
        return Some(*job);
    }
    if runner::slot() == 0 {
        return None;
    }
    // SAFETY: as above.
    let job = runner::slot_of_packet(unsafe { bpf_skb_cgroup_id(ctx.skb.skb.cast()) });
    if job == 0 { None } else { Some(job) }
}
