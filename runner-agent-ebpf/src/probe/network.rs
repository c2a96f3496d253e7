//! Ways past the verdicts about addresses: sockets that have none, and changes of the network below them.
//!
//! Hooks: `security_socket_post_create(sock, family, type, protocol, kern)`, `security_netlink_send(sk, skb)`. Kernel floor: 5.10 (as
//! `fmod_ret`).
//! Sees: sockets by whichever call, 32-bit ones, socketpair(2) and io_uring included, when their protocol has made them and before they
//! have a descriptor; what the kernel lacks or denies by itself was not made. Messages of netlink(7) that change devices, addresses,
//! routes, filters, connections or IPsec in the agent's network namespace.
//! Misses: the kernel's own sockets, which are no job's; changes by ioctl(2) and setsockopt(2), and by generic netlink (WireGuard, IPVS),
//! which the withheld capability refuses.
//!
//! Where no program stands before that function, `syscall.rs` tells of the first message of a send when it returns; it misses 32-bit
//! calls then, io_uring, and further messages. A netlink send succeeds whatever the kernel then answers.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::operation;
use runner_agent_common::map::task_flag;
use runner_agent_common::netlink;
use runner_agent_common::offsets::action;
use runner_agent_common::record::flag;
use zerocopy::FromBytes;

use crate::doors;
use crate::guard::{self, Attempt, PASS, REFUSE};
use crate::kernel::{self, Address, any, argument, file_on, offset, pointer, read, read_user};
use crate::task::{self, Member};

/// A socket has been made, and nobody has it yet.
#[lsm(hook = "socket_post_create")]
pub fn socket_post_create(ctx: LsmContext) -> i32 {
    let word = |number| argument(&ctx, number) as u32;
    let (family, is_kernels) = (word(1), word(4) != 0);
    if is_kernels || !doors::leads_out(family) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    let flags = if task::is_compat(member.task) { flag::COMPAT } else { 0 };
    if doors::socket_made(&member, [family, word(2), word(3)], flags, flag::REFUSED) { REFUSE } else { PASS }
}

/// A message is about to be sent over a netlink socket, to the kernel or to others.
#[lsm(hook = "netlink_send")]
pub fn netlink_send(ctx: LsmContext) -> i32 {
    let socket = argument(&ctx, 0);
    let protocol: u16 = read(socket + offset!(sock_protocol));
    if !matches!(protocol, netlink::ROUTE | netlink::NETFILTER | netlink::XFRM) {
        return PASS;
    }
    if !is_in_agents_network(socket) {
        return PASS;
    }
    let Some(member) = task::current_member() else { return PASS };
    if is_runners(&member) {
        return PASS;
    }
    let message = change_in(argument(&ctx, 1), any(protocol));
    if message == 0 {
        return PASS;
    }
    guard::answer(&member, &Attempt::new(operation::NETWORK, netlink::detail(protocol, message as u16)))
}

/// Whether a socket is in the agent's network namespace. A network of a job's own is its own business.
#[inline(always)]
fn is_in_agents_network(socket: Address) -> bool {
    let network: u32 = read(pointer(socket, offset!(sock_network)) + offset!(net_inum));
    u64::from(network) == offset!(agent_network)
}

/// Whether a member is a service of the runner, where all of it is in scope: it keeps the machine's network up.
#[inline(always)]
fn is_runners(member: &Member) -> bool {
    member.flags & task_flag::RUNNERS != 0
}

/// `AF_NETLINK`.
const AF_NETLINK: u16 = 16;

/// `CAP_NET_ADMIN`, as a bit.
const CAP_NET_ADMIN: u32 = 1 << 12;

/// Where the pieces stand in a `msghdr`; each begins with its address.
const PIECES: u64 = 16;

/// sendto(2) or sendmsg(2) has sent something. Tells of it if it is a message that changes the network.
#[inline(never)]
pub(super) fn sent(regs: Address, action: u8) {
    sent_here(regs, action);
    kernel::returns_nothing();
}

#[inline(always)]
fn sent_here(regs: Address, action: u8) {
    let task = task::current();
    let descriptor: u64 = read(regs + offset!(regs_arg0));
    let socket = pointer(pointer(file_on(task, descriptor), offset!(file_private_data)), offset!(socket_sk));
    if read::<u16>(socket + offset!(sock_family)) != AF_NETLINK
        || task::is_compat(task)
        || !is_in_agents_network(socket)
    {
        return;
    }
    let given: u64 = read(regs + offset!(regs_arg1));
    let first = if action == action::SENDTO {
        given
    } else {
        let pieces = read_user::<u64>(given + PIECES).unwrap_or_default();
        read_user::<u64>(pieces).unwrap_or_default()
    };
    let protocol: u16 = read(socket + offset!(sock_protocol));
    let Some(message) = read_user::<Message>(first) else { return };
    if any(u64::from(netlink::changes(protocol, message.kind))) == 0 {
        return;
    }
    let Some(member) = task::current_member() else { return };
    if is_runners(&member) {
        return;
    }
    let mut attempt = Attempt::over(operation::NETWORK, netlink::detail(protocol, message.kind));
    // What the kernel answers is read by another call. Without the capability it is no.
    let capabilities: u32 = read(pointer(task, offset!(task_cred)) + offset!(cred_effective));
    attempt.failed = any(u16::from(capabilities & CAP_NET_ADMIN == 0));
    guard::answer(&member, &attempt);
}

/// `struct nlmsghdr`, as far as it matters.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct Message {
    len: u32,
    kind: u16,
    _flags: u16,
}

/// Length of `struct nlmsghdr`.
const HEADER: u64 = 16;

/// Messages in one buffer that are looked at. Nobody asks so many questions at once.
const MOST: u32 = 16;

/// The type of the first message in a buffer that changes something; 0 when there is none. Whoever puts it behind many others has it
/// taken for what it may be.
#[inline(never)]
fn change_in(buffer: Address, protocol: u16) -> u64 {
    let data = pointer(buffer, offset!(sk_buff_data));
    let end = u64::from(read::<u32>(buffer + offset!(sk_buff_len)));
    let mut at = 0;
    let mut kind = 0;
    for _ in 0..MOST {
        if at + HEADER > end {
            return 0;
        }
        let message: Message = read(data + at);
        kind = u64::from(message.kind);
        if any(u64::from(netlink::changes(protocol, message.kind))) != 0 {
            return kind;
        }
        let len = u64::from(message.len);
        // The kernel reads no further either.
        if len < HEADER {
            return 0;
        }
        at += (len + 3) & !3;
    }
    if at + HEADER > end { 0 } else { kind }
}
