//! What is kept in a socket: its last ruling, and whom it thinks it talks to.

use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::programs::{SkBuffContext, SockAddrContext};
use runner_agent_common::decide::{Destination, Ruling};
use runner_agent_common::egress::{JobRules, NEVER_NS, SocketRuling, job_flag, socket_flag};
use runner_agent_common::record::ProcessKey;

use crate::maps::SOCKETS;
use crate::task::{self, Member};

/// `BPF_SK_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

/// The socket of a call.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one field of one context, inside a union of one member")]
#[inline(always)]
pub fn of_call(ctx: &SockAddrContext) -> *mut core::ffi::c_void {
    // SAFETY: the context outlives the program; the hook always has a socket.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }.cast()
}

/// The socket of a packet; null if it has none.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one field of one context, inside a union of one member")]
#[inline(always)]
pub fn of_packet(ctx: &SkBuffContext) -> *mut core::ffi::c_void {
    // SAFETY: the context outlives the program.
    unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk }.cast()
}

/// What is kept in a socket; null if there is nothing. (An `Option` would leave a register unset, which verifiers refuse
/// to copy.)
///
/// # Safety
/// `socket` is a full socket that the verifier knows, or null.
#[inline(always)]
pub unsafe fn ruling_of(socket: *mut core::ffi::c_void, create: bool) -> *mut SocketRuling {
    if socket.is_null() {
        return core::ptr::null_mut();
    }
    let map = core::ptr::from_ref(&SOCKETS).cast_mut().cast();
    // SAFETY: the caller vouches for the socket; a storage map's address is what the helper wants.
    unsafe { bpf_sk_storage_get(map, socket, core::ptr::null_mut(), if create { CREATE } else { 0 }) }.cast()
}

/// Remembers that a destination was allowed.
///
/// # Safety
/// `kept` is a live value of [`SOCKETS`].
#[inline(always)]
pub unsafe fn remember(
    kept: *mut SocketRuling,
    member: &Member,
    rules: &JobRules,
    destination: &Destination,
    ruling: &Ruling,
    is_connect: bool,
) {
    // SAFETY: the caller vouches for the value. Two threads that use one socket for two destinations at once may leave a
    // mixture; a packet that it doesn't fit is judged anew.
    let kept = unsafe { &mut *kept };
    kept.address = zerocopy::transmute!(destination.words);
    kept.port = destination.port;
    kept.family = destination.family;
    kept.protocol = destination.protocol;
    kept.until_ns = if ruling.is_general { ruling.until_ns } else { 0 };
    kept.owner = member.key;
    kept.job = member.job;
    kept.counter = rules.counters + ruling.rule;
    let no_secrets = rules.flags & job_flag::CARRY_BLOCK != 0 && !ruling.may_carry;
    kept.flags = socket_flag::ALLOWED
        | if is_connect { socket_flag::CONNECTED } else { 0 }
        | if no_secrets { socket_flag::NO_SECRETS } else { 0 };
}

/// Remembers whom a redirected question was meant for.
///
/// # Safety
/// `kept` is a live value of [`SOCKETS`].
#[inline(always)]
pub unsafe fn remember_wanted(kept: *mut SocketRuling, member: &Member, wanted: &Destination) {
    // SAFETY: the caller vouches for the value.
    let kept = unsafe { &mut *kept };
    kept.wanted = zerocopy::transmute!(wanted.words);
    kept.wanted_family = wanted.family;
    // Of whoever asks; a socket that was brought along from another namespace gets no answer.
    kept.network = task::network(member.task);
    kept.flags |= socket_flag::REDIRECTED;
}

/// Remembers who made a socket that no address hook judges.
///
/// # Safety
/// `kept` is a live value of [`SOCKETS`].
#[inline(always)]
pub unsafe fn remember_owner(kept: *mut SocketRuling, owner: ProcessKey, job: u32) {
    // SAFETY: the caller vouches for the value.
    let kept = unsafe { &mut *kept };
    kept.owner = owner;
    kept.job = job;
}

/// Whether a datagram of the process that runs needs no new verdict: it goes where the last one of this process was
/// allowed to go, whatever program it was and whatever it had read.
#[inline(always)]
pub fn covers_again(kept: &SocketRuling, destination: &Destination) -> bool {
    kept.until_ns != 0
        && is_about(kept, destination)
        // Whoever has the owner's pid after it was also handed this very socket; an agent has one blocked job, so it is of
        // the same, or of none.
        && kept.owner.tgid == task::current_tgid()
        && (kept.until_ns == NEVER_NS || kept.until_ns > task::now())
}

/// Whether a destination is the one that was allowed last.
#[inline(always)]
pub fn is_about(kept: &SocketRuling, destination: &Destination) -> bool {
    let words: [u32; 4] = zerocopy::transmute!(kept.address);
    kept.flags & socket_flag::ALLOWED != 0
        && kept.port == destination.port
        && kept.family == destination.family
        && kept.protocol == destination.protocol
        && words[0] == destination.words[0]
        && words[1] == destination.words[1]
        && words[2] == destination.words[2]
        && words[3] == destination.words[3]
}
