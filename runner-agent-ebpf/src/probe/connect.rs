//! Where a job wants to go: connects and addressed sends over IPv4 and IPv6, and the sockets that have no address.
//!
//! Hooks: cgroup connect4, connect6, sendmsg4, sendmsg6, sock_create on the job's cgroup. Kernel floor: 5.7 (links).
//! Sees: connect(2), sendto(2), sendmsg(2), sendmmsg(2), TCP Fast Open, MPTCP, io_uring and 32-bit calls alike, in any
//! network namespace. Connected UDP is seen once, at its connect. Where the job is blocked, what no rule allows fails
//! with EPERM, and questions to port 53 go to the job's resolver, whomever they were meant for.
//! Misses: sockets made outside the job and passed in, and processes that left the cgroup, which `syscall.rs` records.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use runner_agent_common::address::DNS_PORT;
use runner_agent_common::decide::{Destination, FAMILY_V4, IPPROTO_TCP, IPPROTO_UDP, Ruling};
use runner_agent_common::egress::{JobRules, NEVER_NS, job_flag, rule, socket_flag, verdict};
use runner_agent_common::record::{Connect, Socket, kind, probe};

use crate::doors;
use crate::emit;
use crate::kernel::any;
use crate::maps::RING_CRITICAL;
use crate::runner;
use crate::socket;
use crate::task::{self, Member};
use crate::verdict as rules;

const PASS: i32 = 1;
/// The call fails with EPERM.
const REFUSE: i32 = 0;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u32 = 1;

/// 127.0.0.1 in network order.
const LOOPBACK_V4: u32 = 0x7f00_0001_u32.to_be();

/// connect(2) to an IPv4 address.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, AF_INET, probe::CONNECT4)
}

/// connect(2) to an IPv6 address, IPv4-mapped ones included.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, AF_INET6, probe::CONNECT6)
}

/// A datagram with an IPv4 address of its own.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, AF_INET, probe::SENDMSG4)
}

/// A datagram with an IPv6 address of its own.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, AF_INET6, probe::SENDMSG6)
}

/// What a call asks for.
struct Call {
    words: [u32; 4],
    port: u16,
    socket_type: u32,
    protocol: u32,
}

#[expect(clippy::multiple_unsafe_ops_per_block, reason = "loads of one context, for one reason")]
#[inline(always)]
fn call_of(ctx: &SockAddrContext, family: u16) -> Call {
    let call = ctx.sock_addr;
    // SAFETY: the context outlives the program; the verifier allows loads of each field at its own width only, which is
    // why the IPv6 address is four loads and not one copy.
    unsafe {
        let words = if family == AF_INET {
            [(*call).user_ip4, 0, 0, 0]
        } else {
            [
                core::ptr::read_volatile(&raw const (*call).user_ip6[0]),
                core::ptr::read_volatile(&raw const (*call).user_ip6[1]),
                core::ptr::read_volatile(&raw const (*call).user_ip6[2]),
                core::ptr::read_volatile(&raw const (*call).user_ip6[3]),
            ]
        };
        Call {
            words,
            port: u16::from_be((*call).user_port as u16),
            socket_type: (*call).type_,
            protocol: (*call).protocol,
        }
    }
}

impl Call {
    fn destination(&self, family: u16) -> Destination {
        let protocol = match self.protocol {
            // MPTCP is carried by TCP, UDP-Lite is told by its own number only on the wire.
            6 | 262 => IPPROTO_TCP,
            0 if self.socket_type == SOCK_STREAM => IPPROTO_TCP,
            0 | 17 | 136 => IPPROTO_UDP,
            other => other as u8,
        };
        let protocol = any(protocol);
        if family == AF_INET {
            Destination { words: self.words, port: self.port, family: FAMILY_V4, protocol }
        } else {
            Destination::from_v6(self.words, self.port, protocol)
        }
    }
}

#[inline(always)]
fn judge(ctx: &SockAddrContext, family: u16, probe: u16) -> i32 {
    let call = call_of(ctx, family);
    let destination = call.destination(family);
    let is_connect = probe == probe::CONNECT4 || probe == probe::CONNECT6;
    let socket = socket::of_call(ctx);
    // A datagram to where the last one was allowed to go needs no new verdict, and no new record. Asked before anything
    // else, because most datagrams are such.
    if !is_connect && rules::may_block() {
        // SAFETY: a socket address hook's own socket.
        let kept = unsafe { socket::ruling_of(socket, false) };
        if !kept.is_null() {
            // SAFETY: a live value of the storage map.
            let kept = unsafe { &*kept };
            if socket::covers_again(kept, &destination) {
                rules::count_again(kept);
                return PASS;
            }
        }
    }
    let Some(member) = task::current_member_here() else {
        if runner::slot() != 0 && rules::may_block() && runner::is_agents(task::current_tgid()) {
            // SAFETY: a socket address hook's own socket.
            let kept = unsafe { socket::ruling_of(socket, true) };
            if !kept.is_null() {
                // SAFETY: a live value of the storage map.
                unsafe { (*kept).flags |= socket_flag::AGENTS };
            }
        }
        return PASS;
    };
    let now_ns = task::now();
    let Some(job) = rules::rules_of(member.job) else {
        // Audited: everything passes, and the verdict is spoken in user space.
        let nobody = Ruling { verdict: verdict::NONE, ..Ruling::refused(rule::DEFAULT) };
        record(ctx, &member, &call, family, probe, &nobody, now_ns);
        return PASS;
    };
    let is_question = destination.port == DNS_PORT && matches!(destination.protocol, IPPROTO_TCP | IPPROTO_UDP);
    if is_question {
        return redirect(ctx, &member, &job, &call, &destination, family, probe);
    }
    let mut ruling = rules::decide(&member, &job, &destination, now_ns);
    if ruling.verdict == verdict::ALLOWED {
        // SAFETY: a socket address hook's own socket.
        let kept = unsafe { socket::ruling_of(socket, true) };
        if kept.is_null() {
            // No memory for it. Its packets would be judged without their process, so it doesn't begin.
            ruling = Ruling::refused(rule::DEFAULT);
        } else {
            // SAFETY: a live value of the storage map.
            unsafe { socket::remember(kept, &member, &job, &destination, &ruling, is_connect) };
        }
    }
    rules::count(&job, &ruling);
    record(ctx, &member, &call, family, probe, &ruling, now_ns);
    if ruling.verdict == verdict::ALLOWED { PASS } else { REFUSE }
}

/// Sends a question to the job's resolver, and keeps whom it was meant for.
#[inline(always)]
fn redirect(
    ctx: &SockAddrContext,
    member: &Member,
    job: &JobRules,
    call: &Call,
    wanted: &Destination,
    family: u16,
    probe: u16,
) -> i32 {
    let is_connect = probe == probe::CONNECT4 || probe == probe::CONNECT6;
    // An IPv6 socket that speaks IPv4 can reach the resolver only the same way.
    let over_v4 = wanted.family == FAMILY_V4;
    let port = if over_v4 { job.resolver_v4 } else { job.resolver_v6 };
    let socket = socket::of_call(ctx);
    // SAFETY: a socket address hook's own socket.
    let kept = unsafe { socket::ruling_of(socket, true) };
    if port == 0 || kept.is_null() {
        let refused = Ruling::refused(rule::RESOLVER);
        rules::count(job, &refused);
        record(ctx, member, call, family, probe, &refused, task::now());
        return REFUSE;
    }
    let resolver = Destination {
        words: if over_v4 { [LOOPBACK_V4, 0, 0, 0] } else { [0, 0, 0, 1_u32.to_be()] },
        port,
        family: wanted.family,
        protocol: wanted.protocol,
    };
    let (verdict, rule) = (verdict::ALLOWED, rule::RESOLVER);
    let ruling = Ruling { verdict, rule, until_ns: NEVER_NS, is_general: false, may_carry: true };
    // SAFETY: a live value of the storage map.
    unsafe { socket::remember(kept, member, job, &resolver, &ruling, is_connect) };
    // SAFETY: as above.
    unsafe { socket::remember_wanted(kept, member, wanted) };
    rules::count(job, &ruling);
    record(ctx, member, call, family, probe, &ruling, task::now());
    super::answer::write_address(ctx, family, &resolver);
    PASS
}

#[inline(always)]
fn record(ctx: &SockAddrContext, member: &Member, call: &Call, family: u16, probe: u16, ruling: &Ruling, at_ns: u64) {
    let record = Connect {
        header: task::header_at(at_ns, member, kind::CONNECT, probe, size_of::<Connect>()),
        address: zerocopy::transmute!(call.words),
        // SAFETY: the helper takes the program's own context.
        socket: unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) },
        cgroup: task::current_cgroup(),
        family,
        port: call.port,
        protocol: call.protocol as u16,
        socket_type: call.socket_type as u16,
        rule: ruling.rule,
        verdict: ruling.verdict,
        reserved: 0,
    };
    emit::fixed(&RING_CRITICAL, probe, &record);
}

/// A socket of an IP family is created: raw, ping, SCTP and whatever else no address hook will judge.
///
/// Where the job is blocked, only a rule for any protocol and any port can allow one; its packets are then judged.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "loads of one context, for one reason")]
#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the context outlives the program.
    let (family, socket_type, protocol) = unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    if doors::is_judged_by_address(socket_type, protocol) {
        return PASS;
    }
    let Some(member) = task::current_member_here() else { return PASS };
    let job = rules::rules_of(member.job);
    let decided = match &job {
        None => verdict::NONE,
        Some(job) if job.flags & job_flag::ANYTHING != 0 => verdict::ALLOWED,
        Some(_) => verdict::BLOCKED,
    };
    if decided == verdict::ALLOWED {
        // SAFETY: the hook's own socket; its packets are told with this owner.
        let kept = unsafe { socket::ruling_of(ctx.sock.cast(), true) };
        if !kept.is_null() {
            // SAFETY: a live value of the storage map.
            unsafe { socket::remember_owner(kept, member.key, member.job) };
        }
    }
    if decided == verdict::BLOCKED
        && let Some(job) = &job
    {
        let refused = Ruling::refused(rule::DEFAULT);
        rules::count(job, &refused);
    }
    let record = Socket {
        header: task::header(&member, kind::SOCKET, probe::SOCK_CREATE, size_of::<Socket>()),
        family,
        socket_type,
        protocol,
        verdict: decided,
        reserved: 0,
    };
    emit::fixed(&RING_CRITICAL, probe::SOCK_CREATE, &record);
    if decided == verdict::BLOCKED { REFUSE } else { PASS }
}
