//! Gives a redirected conversation the address back that the job believes in.
//!
//! Hooks: cgroup recvmsg4, recvmsg6, getpeername4, getpeername6 on the job's cgroup. Kernel floor: 5.8.
//! Sees: datagrams that come from the job's resolver, and questions after the peer of a socket that talks to it.
//! Misses: a socket that asks several servers at once gets all answers from the one it addressed last.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use runner_agent_common::address::DNS_PORT;
use runner_agent_common::decide::{Destination, FAMILY_V4};
use runner_agent_common::egress::{SocketRuling, socket_flag};

use crate::socket;

/// These hooks can only pass.
const PASS: i32 = 1;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Where a datagram came from, over IPv4.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    give_back(&ctx, AF_INET)
}

/// Where a datagram came from, over IPv6.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    give_back(&ctx, AF_INET6)
}

/// Whom an IPv4 socket is connected to.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    give_back(&ctx, AF_INET)
}

/// Whom an IPv6 socket is connected to.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    give_back(&ctx, AF_INET6)
}

#[inline(always)]
fn give_back(ctx: &SockAddrContext, family: u16) -> i32 {
    let socket = socket::of_call(ctx);
    // SAFETY: the context outlives the program.
    let port = u16::from_be(unsafe { (*ctx.sock_addr).user_port } as u16);
    // SAFETY: a socket address hook's own socket.
    let kept = unsafe { socket::ruling_of(socket, false) };
    if kept.is_null() {
        return PASS;
    }
    // SAFETY: a live value of the storage map.
    let kept: &SocketRuling = unsafe { &*kept };
    // Only the resolver is given another name, not whoever else writes to this socket.
    if kept.flags & socket_flag::REDIRECTED == 0 || kept.port != port {
        return PASS;
    }
    let wanted = Destination {
        words: zerocopy::transmute!(kept.wanted),
        port: DNS_PORT,
        family: kept.wanted_family,
        protocol: kept.protocol,
    };
    write_address(ctx, family, &wanted);
    PASS
}

/// Writes an address into a call; IPv4 on an IPv6 socket is written as IPv4-mapped.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "stores to one context, for one reason")]
#[inline(always)]
pub(super) fn write_address(ctx: &SockAddrContext, family: u16, to: &Destination) {
    let call = ctx.sock_addr;
    if family == AF_INET {
        // SAFETY: the context outlives the program; the verifier allows stores of each field at its own width only.
        unsafe { core::ptr::write_volatile(&raw mut (*call).user_ip4, to.words[0]) };
    } else {
        let words = if to.family == FAMILY_V4 { [0, 0, 0xffff_u32.to_be(), to.words[0]] } else { to.words };
        // SAFETY: as above.
        unsafe {
            core::ptr::write_volatile(&raw mut (*call).user_ip6[0], words[0]);
            core::ptr::write_volatile(&raw mut (*call).user_ip6[1], words[1]);
            core::ptr::write_volatile(&raw mut (*call).user_ip6[2], words[2]);
            core::ptr::write_volatile(&raw mut (*call).user_ip6[3], words[3]);
        }
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut (*call).user_port, u32::from(to.port.to_be())) };
}
