//! Where a job wants to go: connects and addressed sends over IPv4 and IPv6, and the sockets that have no address.
//!
//! Hooks: cgroup connect4, connect6, sendmsg4, sendmsg6, sock_create on the job's cgroup. Kernel floor: 5.7 (links).
//! Sees: connect(2), sendto(2), sendmsg(2), sendmmsg(2), TCP Fast Open, MPTCP, io_uring and 32-bit calls alike, in any
//! network namespace. Connected UDP is seen once, at its connect.
//! Misses: sockets made outside the job and passed in, and processes that left the cgroup, which `syscall.rs` records.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use runner_agent_common::record::{Connect, Socket, kind, probe};

use crate::emit;
use crate::maps::RING_CRITICAL;
use crate::task;

/// Audit lets everything pass; the verdict is spoken in user space.
const PASS: i32 = 1;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// connect(2) to an IPv4 address.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    record(&ctx, AF_INET, probe::CONNECT4);
    PASS
}

/// connect(2) to an IPv6 address, IPv4-mapped ones included.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    record(&ctx, AF_INET6, probe::CONNECT6);
    PASS
}

/// A datagram with an IPv4 address of its own.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    record(&ctx, AF_INET, probe::SENDMSG4);
    PASS
}

/// A datagram with an IPv6 address of its own.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    record(&ctx, AF_INET6, probe::SENDMSG6);
    PASS
}

#[expect(clippy::multiple_unsafe_ops_per_block, reason = "loads of one context, for one reason")]
#[inline(always)]
fn record(ctx: &SockAddrContext, family: u16, probe: u16) {
    let Some(member) = task::current_member() else { return };
    let call = ctx.sock_addr;
    // SAFETY: the context outlives the program; the verifier allows loads of each field at its own width only, which is
    // why the IPv6 address is four loads and not one copy.
    let (address, port, socket_type, protocol) = unsafe {
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
        (words, (*call).user_port, (*call).type_, (*call).protocol)
    };
    let record = Connect {
        header: task::header(&member, kind::CONNECT, probe, size_of::<Connect>()),
        address: zerocopy::transmute!(address),
        // SAFETY: the helper takes the program's own context.
        socket: unsafe { bpf_get_socket_cookie(call.cast()) },
        cgroup: task::current_cgroup(),
        family,
        port: u16::from_be(port as u16),
        protocol: protocol as u16,
        socket_type: socket_type as u16,
    };
    emit::fixed(&RING_CRITICAL, probe, &record);
}

/// A socket of an IP family is created: raw, ping, SCTP and whatever else no address hook will judge.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "loads of one context, for one reason")]
#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the context outlives the program.
    let (family, socket_type, protocol) = unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    if super::syscall::is_judged_by_address(socket_type, protocol) {
        return PASS;
    }
    if let Some(member) = task::current_member() {
        let record = Socket {
            header: task::header(&member, kind::SOCKET, probe::SOCK_CREATE, size_of::<Socket>()),
            family,
            socket_type,
            protocol,
            reserved: 0,
        };
        emit::fixed(&RING_CRITICAL, probe::SOCK_CREATE, &record);
    }
    PASS
}
