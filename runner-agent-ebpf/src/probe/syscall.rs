//! System calls that only their return can judge: opens, odd sockets, io_uring, sends from outside the job's cgroup, and where no
//! hook stands before them connects to daemons.
//!
//! Hook: raw tracepoint `sys_exit(regs, ret)`, which also sees 32-bit calls. Kernel floor: 5.5.
//! Sees: files by the returned descriptor, so by what was opened and not by what was passed.
//! Misses: calls that x32 has numbers of its own for (ptrace(2), sendmsg(2) and some twenty more), opens by io_uring (no system
//! call returns them; [`io_uring`](probe::IO_URING) says when that begins), a descriptor that another thread closes between the
//! open and this hook, and opens that fail.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use runner_agent_common::egress::{rule, verdict};
use runner_agent_common::guard::operation;
use runner_agent_common::offsets::{SYSCALLS, action};
use runner_agent_common::record::{Connect, IoUring, flag, kind, probe};
use zerocopy::FromBytes;

use crate::doors;
use crate::emit;
use crate::file;
use crate::guard;
use crate::kernel::{self, Address, file_on, offset, pointer, read, read_user};
use crate::maps::{RING_CRITICAL, SYSCALL_ACTIONS};
use crate::task::{self, Member};
use crate::verdict as rules;
use crate::watch::{self, watched};

use super::{attempt, network, privilege, reach};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_PACKET: u32 = 17;
const SOCK_PACKET: u32 = 10;
/// Bits of the type; the others of the argument are flags.
const SOCK_TYPE_MASK: u32 = 0xf;

/// `__X32_SYSCALL_BIT` of asm/unistd.h: 64-bit calls with 32-bit pointers, by the same numbers. No number has it elsewhere.
const X32: u64 = 1 << 30;

/// All system calls return here; all but a few leave in the first instructions.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let regs: Address = ctx.arg(0);
    // As the kernel itself takes it: four bytes, whatever stands behind them, and without the mark of x32.
    let number = read::<u64>(regs + offset!(regs_syscall)) & !X32 & u64::from(u32::MAX);
    if number >= SYSCALLS as u64 {
        return 0;
    }
    // SAFETY: `number` is below the table's length.
    let entry = unsafe { SYSCALL_ACTIONS.as_ptr().add(number as usize) };
    // SAFETY: as above; volatile because user space replaces the table before loading.
    let actions = unsafe { core::ptr::read_volatile(entry) };
    if actions == 0 {
        return 0;
    }
    let task = task::current();
    // Numbers that mean something in the 32-bit table only are common ones in the native table (fstat is 32-bit open).
    if actions & NATIVE == 0 && !task::is_compat(task) {
        return 0;
    }
    let result: u64 = ctx.arg(1);
    let result = result as i64;
    // Whoever moves something: what lies below it may be watched now. Nothing is kept of who it was.
    let by_compat = actions >> COMPAT_SHIFT;
    if actions & NATIVE == action::MOVE || by_compat == action::MOVE {
        if result == 0 {
            watch::forget_unwatched();
        }
        // A number that means something else in the other table: 302 is prlimit64(2) in the native one, 264 is clock_settime(2)
        // in the 32-bit one.
        if actions & NATIVE != action::GUARD && by_compat != action::GUARD {
            return 0;
        }
    }
    if matches!(actions & NATIVE, action::READ | action::WRITE | action::MOVE_BYTES) {
        if result > 0 {
            doors::passed(task, regs, actions & NATIVE);
        }
        return 0;
    }
    // The most frequent one; who opened, and by which table, is asked of few.
    let is_open = if matches!(by_compat, action::IGNORE | action::OPEN) {
        actions & NATIVE == action::OPEN || by_compat == action::OPEN
    } else {
        actions & NATIVE == action::OPEN && !task::is_compat(task)
    };
    if is_open {
        if result >= 0 && (task::is_in_latest_job() || task::current_member().is_some()) {
            opened(task, result as u64, number as u32, actions);
        }
        return 0;
    }
    // These matter only where the cgroup hooks don't run, but that a connect may lead to a daemon of this machine.
    let by_hooks = match actions & NATIVE {
        action::CONNECT => result != 0 || !guard::is_told_afterwards(operation::ENGINE),
        other => matches!(other, action::SENDTO | action::SENDMSG),
    };
    if by_hooks && task::is_in_latest_job() {
        if result > 0 && attempt::is_told(number) {
            network::sent(regs, actions & NATIVE);
        }
        return 0;
    }
    returned(regs, number, result, actions);
    0
}

/// What matters less often. A function of its own, because a probe's stack is short.
#[inline(never)]
fn returned(regs: Address, number: u64, result: i64, actions: u8) {
    let Some(member) = task::current_member() else {
        if result == 0 && (actions & NATIVE == action::FORK || actions >> COMPAT_SHIFT == action::FORK) {
            doors::born_unknown();
        }
        return;
    };
    let compat = task::is_compat(member.task);
    let action = if compat { actions >> COMPAT_SHIFT } else { actions & NATIVE };
    let flags = if compat { flag::COMPAT } else { 0 };
    match action {
        action::GUARD => attempt::told(&member, regs, number, result, compat),
        action::FORK if result >= 0 => {
            if result == 0 {
                doors::born(&member);
            }
            attempt::told(&member, regs, number, result, compat);
        }
        action::SOCKET_32 if result >= 0 => doors::socket_created_32(&member, result as u64),
        action::SOCKET if result >= 0 => socket_created(&member, regs, flags),
        action::IO_URING if result >= 0 => io_uring_created(&member, regs, flags),
        action::CONNECT | action::SENDTO | action::SENDMSG => {
            if result > 0 && attempt::is_told(number) {
                network::sent(regs, action);
            }
            addressed(&member, regs, action, flags);
            if action == action::CONNECT && result == 0 && guard::is_told_afterwards(operation::ENGINE) {
                privilege::connected(&member, read(regs + offset!(regs_arg0)));
            }
        }
        _ => {}
    }
}

/// Bits of a table entry for native numbers; those for 32-bit numbers stand above.
const NATIVE: u8 = 0xf;
const COMPAT_SHIFT: u8 = 4;

/// A file was opened by somebody in a job's cgroup or lineage. Whoever it is, is asked of few. A function of its own, because
/// a probe's stack is short.
#[inline(never)]
fn opened(task: Address, descriptor: u64, syscall: u32, actions: u8) {
    opened_here(task, descriptor, syscall, actions);
    kernel::returns_nothing();
}

#[inline(always)]
fn opened_here(task: Address, descriptor: u64, syscall: u32, actions: u8) {
    let file = file_on(task, descriptor);
    if rules::may_block() {
        doors::door_opened(file);
    }
    let mode: u32 = read(file + offset!(file_mode));
    let watched = file::watched(file);
    if watched == watched::NOT && mode & file::WRITE == 0 && !reach::is_disk(file) {
        return;
    }
    // Numbers of one table mean something else in the other.
    let compat = task::is_compat(task);
    if compat && actions >> COMPAT_SHIFT != action::OPEN {
        return;
    }
    let Some(member) = task::current_member() else { return };
    // Only told: the file is open.
    reach::opened(&member, file, mode);
    if watched == watched::NOT {
        return;
    }
    let mut flags = if compat { flag::COMPAT } else { 0 };
    if watched == watched::BY_INODE {
        flags |= flag::BY_INODE;
    }
    file::tell(&member, file, syscall, flags);
}

/// The cgroup hook sees sockets of the IP families only; packet, VSOCK and the rest are seen here, where no hook sees them made.
#[inline(never)]
fn socket_created(member: &Member, regs: Address, flags: u32) {
    let argument = |register| read::<u64>(regs + register) as u32;
    let (mut family, socket_type) = (argument(offset!(regs_arg0)), argument(offset!(regs_arg1)));
    // An old way to ask for a packet socket, which the kernel still takes.
    if family == u32::from(AF_INET) && socket_type & SOCK_TYPE_MASK == SOCK_PACKET {
        family = AF_PACKET;
    }
    if !doors::leads_out(family) {
        return;
    }
    let made = [family, socket_type, argument(offset!(regs_arg2))];
    // No hook on the way of this socket could refuse anything; the process doesn't come to use it.
    if doors::socket_made(member, made, flags, flag::KILLED) {
        task::end_current();
    }
}

#[inline(never)]
fn io_uring_created(member: &Member, regs: Address, flags: u32) {
    let entries: u64 = read(regs + offset!(regs_arg0));
    let mut record = IoUring {
        header: task::header(member, kind::IO_URING, probe::IO_URING, size_of::<IoUring>()),
        entries: entries as u32,
        reserved: 0,
    };
    record.header.flags |= flags;
    emit::fixed(&RING_CRITICAL, probe::IO_URING, &record);
}

/// A `sockaddr_in` or `sockaddr_in6`, as far as it matters.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct SocketAddress {
    family: u16,
    port: [u8; 2],
    /// IPv4 address, or IPv6 flow label.
    first: [u8; 4],
    /// IPv6 address.
    second: [u8; 16],
}

/// The front of a `msghdr`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct MessageHeader {
    name: Address,
    name_len: u64,
}

/// A job process that left the job's cgroup: the cgroup hooks don't run for it, so the address is read as it was passed.
/// The program could have changed it since; that it left at all is a finding of its own.
#[inline(never)]
fn addressed(member: &Member, regs: Address, action: u8, flags: u32) {
    if !task::is_out_of_reach(member) {
        return;
    }
    let address: u64 = match action {
        action::SENDTO => read(regs + offset!(regs_arg4)),
        action::SENDMSG if flags == 0 => {
            let header: u64 = read(regs + offset!(regs_arg1));
            match read_user::<MessageHeader>(header) {
                Some(header) => header.name,
                None => return,
            }
        }
        action::CONNECT => read(regs + offset!(regs_arg1)),
        _ => return,
    };
    if address == 0 {
        return;
    }
    // An IPv4 address is shorter than what is read here and may end its page; fall back to its own length.
    let socket_address = match read_user::<SocketAddress>(address) {
        Some(whole) => whole,
        None => match read_user::<[u8; 8]>(address) {
            Some([f0, f1, p0, p1, a, b, c, d]) => SocketAddress {
                family: u16::from_ne_bytes([f0, f1]),
                port: [p0, p1],
                first: [a, b, c, d],
                second: [0; 16],
            },
            None => return,
        },
    };
    let mut destination = [0; 16];
    match socket_address.family {
        AF_INET => destination[..4].copy_from_slice(&socket_address.first),
        AF_INET6 => destination = socket_address.second,
        _ => return,
    }
    let descriptor: u64 = read(regs + offset!(regs_arg0));
    let socket = pointer(file_on(member.task, descriptor), offset!(file_private_data));
    let mut record = Connect {
        header: task::header(member, kind::CONNECT, probe::SYSCALL_CONNECT, size_of::<Connect>()),
        address: destination,
        socket: 0,
        cgroup: task::current_cgroup(),
        family: socket_address.family,
        port: u16::from_be_bytes(socket_address.port),
        // The protocol asked for is not kept where it is cheap to read; stream and datagram are told apart by type.
        protocol: 0,
        socket_type: read(socket + offset!(socket_type)),
        rule: rule::DEFAULT,
        verdict: verdict::NONE,
        reserved: 0,
    };
    record.header.flags |= flags | flag::OUTSIDE_CGROUP;
    emit::fixed(&RING_CRITICAL, probe::SYSCALL_CONNECT, &record);
}
