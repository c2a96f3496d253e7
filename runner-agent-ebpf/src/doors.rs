//! What a blocked job's system calls are looked at for, besides: devices and sockets that no hook sees, children that begin
//! outside, and secrets on their way through pipes. What can't be refused here ends its process before the call returns.

use runner_agent_common::egress::{DOORS, verdict};
use runner_agent_common::map::task_flag;
use runner_agent_common::offsets::action;
use runner_agent_common::record::{CgroupMove, Device, Socket, flag, kind, probe};

use crate::emit;
use crate::kernel::{Address, file_on, offset, pipe_on, pointer, read};
use crate::maps::{PIPES, RING_CRITICAL};
use crate::task::{self, Member};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Ends a process of a blocked job that has opened one of [`DOORS`], whatever it is called and wherever it lies.
#[inline(never)]
pub fn door_opened(file: Address) {
    let Some((major, minor)) = door(file) else { return };
    let Some(member) = task::current_member() else { return };
    if !task::is_blocking(member.job) {
        return;
    }
    task::end_current();
    tell(&member, major, minor, flag::KILLED);
}

/// Whether an open is to be refused because it is of one of [`DOORS`]; for a hook that can.
#[inline(always)]
pub fn opening(member: &Member, file: Address) -> bool {
    let Some((major, minor)) = door(file) else { return false };
    if !task::is_blocking(member.job) {
        return false;
    }
    tell(member, major, minor, flag::REFUSED);
    true
}

/// Major and minor number of an open file that is one of [`DOORS`].
#[inline(always)]
fn door(file: Address) -> Option<(u32, u32)> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFCHR: u16 = 0o020_000;
    const MINOR_BITS: u32 = 20;
    let inode = pointer(file, offset!(file_inode));
    if read::<u16>(inode + offset!(inode_mode)) & S_IFMT != S_IFCHR {
        return None;
    }
    let device: u32 = read(inode + offset!(inode_rdev));
    let number = (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1));
    DOORS.contains(&number).then_some(number)
}

#[inline(always)]
fn tell(member: &Member, major: u32, minor: u32, flags: u32) {
    let mut record =
        Device { header: task::header(member, kind::DEVICE, probe::DEVICE, size_of::<Device>()), major, minor };
    record.header.flags |= flags;
    emit::fixed(&RING_CRITICAL, probe::DEVICE, &record);
}

/// Whether sockets of a family can lead off the machine by themselves: AF_UNIX, AF_NETLINK and AF_ALG can't.
#[inline(always)]
pub fn leads_out(family: u32) -> bool {
    !matches!(family, 1 | 16 | 38)
}

/// A socket of this family, type and protocol was made. Tells of it if no hook about addresses judges it, and says whether it must not
/// be used: the job is blocked. What becomes of it then, or of its maker, is among the flags.
///
/// Those of the IP families are the cgroup hooks', as long as they run for this process, so that each is recorded once.
#[inline(always)]
pub fn socket_made(member: &Member, [family, socket_type, protocol]: [u32; 3], flags: u32, when_blocked: u32) -> bool {
    // `SOCK_CLOEXEC | SOCK_NONBLOCK`, which share the argument with the type.
    const SOCK_FLAGS: u32 = 0o2_004_000;
    let socket_type = socket_type & !SOCK_FLAGS;
    let is_outside = task::is_out_of_reach(member);
    let is_blocking = task::is_blocking(member.job);
    if matches!(family, 2 | 10) && !(is_outside && (is_blocking || !is_judged_by_address(socket_type, protocol))) {
        return false;
    }
    let mut record = Socket {
        header: task::header(member, kind::SOCKET, probe::SOCKET, size_of::<Socket>()),
        family,
        socket_type,
        protocol,
        verdict: if is_blocking { verdict::BLOCKED } else { verdict::NONE },
        reserved: 0,
    };
    record.header.flags |= flags;
    if is_outside {
        record.header.flags |= flag::OUTSIDE_CGROUP;
    }
    if is_blocking {
        record.header.flags |= when_blocked;
    }
    emit::fixed(&RING_CRITICAL, probe::SOCKET, &record);
    is_blocking
}

/// Whether the hooks about addresses judge a socket of the IP families. Raw, ping, SCTP and the rest are the hook's that sees sockets
/// made.
pub const fn is_judged_by_address(socket_type: u32, protocol: u32) -> bool {
    const SOCK_RAW: u32 = 3;
    const IPPROTO_IP: u32 = 0;
    const IPPROTO_TCP: u32 = 6;
    const IPPROTO_UDP: u32 = 17;
    const IPPROTO_UDPLITE: u32 = 136;
    const IPPROTO_MPTCP: u32 = 262;
    socket_type != SOCK_RAW
        && matches!(protocol, IPPROTO_IP | IPPROTO_TCP | IPPROTO_UDP | IPPROTO_UDPLITE | IPPROTO_MPTCP)
}

/// A 32-bit call made a socket, or took one (the number is socketcall's too); its family is read where it can't lie.
#[inline(never)]
pub fn socket_created_32(member: &Member, descriptor: u64) {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let file = file_on(member.task, descriptor);
    if read::<u16>(pointer(file, offset!(file_inode)) + offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return;
    }
    let socket = pointer(file, offset!(file_private_data));
    let family: u16 = read(pointer(socket, offset!(socket_sk)) + offset!(sock_family));
    let is_outside = task::is_out_of_reach(member);
    if !leads_out(u32::from(family)) || (matches!(family, AF_INET | AF_INET6) && !is_outside) {
        return;
    }
    if !task::is_blocking(member.job) {
        return;
    }
    let mut record = Socket {
        header: task::header(member, kind::SOCKET, probe::SOCKET, size_of::<Socket>()),
        family: u32::from(family),
        socket_type: u32::from(read::<u16>(socket + offset!(socket_type))),
        protocol: 0,
        verdict: verdict::BLOCKED,
        reserved: 0,
    };
    record.header.flags |= flag::COMPAT | flag::KILLED;
    task::end_current();
    emit::fixed(&RING_CRITICAL, probe::SOCKET, &record);
}

/// A child returns from the call that made it, before its first instruction. In a blocked job it ends there if it was born
/// outside the job's cgroup, or with another process's descriptors.
#[inline(never)]
pub fn born(member: &Member) {
    let is_outside = task::is_out_of_reach(member);
    let is_doomed = member.flags & task_flag::DOOMED != 0;
    if !(is_outside || is_doomed) || !task::is_blocking(member.job) {
        return;
    }
    task::end_current();
    let mut record = CgroupMove {
        header: task::header(member, kind::CGROUP_MOVE, probe::CGROUP_MOVE, size_of::<CgroupMove>()),
        by: task::key_of(pointer(member.task, offset!(task_real_parent))),
        to: task::current_cgroup(),
        inside: u32::from(!is_outside),
        reserved: 0,
    };
    record.header.flags |= flag::KILLED | if is_doomed { flag::SHARES_DESCRIPTORS } else { 0 };
    emit::fixed(&RING_CRITICAL, probe::CGROUP_MOVE, &record);
}

/// A child returns from the call that made it, and is nobody's: born outside the job's cgroup while there was no room to remember
/// whose it is. In a blocked job it ends there, for as long as its parent is there to be asked.
#[inline(never)]
pub fn born_unknown() {
    let parent = pointer(task::current(), offset!(task_real_parent));
    let parent = task::known(parent, read(parent + offset!(task_tgid)));
    if parent.is_some_and(|parent| parent.flags & task_flag::RUNNERS == 0 && task::is_blocking(parent.job)) {
        task::end_current();
    }
}

/// Bytes passed a descriptor. Who takes from a pipe that may carry a secret may hold it, and a pipe that a holder gives to
/// may carry it.
#[inline(never)]
pub fn passed(task: Address, regs: Address, action: u8) {
    let descriptor: u64 = read(regs + offset!(regs_arg0));
    let pipe = pipe_on(task, descriptor);
    if action == action::MOVE_BYTES {
        moved(task, regs, pipe);
        return;
    }
    if pipe == 0 {
        return;
    }
    // SAFETY: only whether the key exists is asked.
    let carries = unsafe { PIPES.get(pipe) }.is_some();
    if carries == (action == action::WRITE) {
        return;
    }
    let Some(member) = task::current_member() else { return };
    if action == action::READ {
        task::holds_secret(&member);
    } else if member.flags & task_flag::HOLDS_SECRET != 0 {
        task::taint_pipe(pipe);
    }
}

/// splice(2) and tee(2): from the first descriptor to the third, past the memory of whoever calls.
#[inline(always)]
fn moved(task: Address, regs: Address, from: u64) {
    let descriptor: u64 = read(regs + offset!(regs_arg2));
    let to = pipe_on(task, descriptor);
    // SAFETY: only whether the key exists is asked.
    let carries = from != 0 && unsafe { PIPES.get(from) }.is_some();
    let Some(member) = task::current_member() else { return };
    if carries {
        task::holds_secret(&member);
    }
    if carries || member.flags & task_flag::HOLDS_SECRET != 0 {
        task::taint_pipe(to);
    }
}
