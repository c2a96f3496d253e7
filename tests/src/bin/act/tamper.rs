//! What a job may do to a process that isn't its own: `act tamper TRICK PID …`. Whoever calls says whose pid that is.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use end_to_end::host;

use crate::{Trick, parsed, returned};

pub const TRICKS: &[(&str, Trick)] = &[
    ("kill", kill),
    ("tgkill", tgkill),
    ("thread-kill", thread_kill),
    ("pidfd-signal", pidfd_signal),
    ("queue", queue),
    ("own-pipe", own_pipe),
    ("stop-everybody", stop_everybody),
    ("attach", attach),
    ("seize", seize),
    ("memory-read", memory_read),
    ("memory-write", memory_write),
    ("vm-read", vm_read),
    ("getfd", getfd),
    ("nice", nice),
    ("scheduler", scheduler),
    ("affinity", affinity),
    ("limit", limit),
    ("oom-score", oom_score),
    ("environ", environ),
    ("restore", restore),
];

fn pid(arguments: &[OsString]) -> io::Result<i64> {
    parsed(arguments, 0)
}

fn call(number: i64, arguments: [i64; 6]) -> io::Result<i64> {
    let [a0, a1, a2, a3, a4, a5] = arguments;
    // SAFETY: who calls hands over numbers alone, or addresses of what lives through the call.
    returned(unsafe { libc::syscall(number, a0, a1, a2, a3, a4, a5) })
}

/// PID SIGNAL
fn kill(arguments: &[OsString]) -> io::Result<()> {
    call(libc::SYS_kill, [pid(arguments)?, parsed(arguments, 1)?, 0, 0, 0, 0]).map(drop)
}

/// PID SIGNAL: to its first thread.
fn tgkill(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    call(libc::SYS_tgkill, [pid, pid, parsed(arguments, 1)?, 0, 0, 0]).map(drop)
}

/// PID SIGNAL: to its last thread, whose number is not the process's.
fn thread_kill(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let last = threads.filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok()).max();
    let last = last.filter(|&last| last != pid).ok_or_else(|| io::Error::other("it has one thread"))?;
    call(libc::SYS_tkill, [last, parsed(arguments, 1)?, 0, 0, 0, 0]).map(drop)
}

fn process(arguments: &[OsString]) -> io::Result<OwnedFd> {
    let descriptor = call(libc::SYS_pidfd_open, [pid(arguments)?, 0, 0, 0, 0, 0])?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// How long a process may take to stop that has been told to: its threads come to it one by one.
const STOPPED_WITHIN: Duration = Duration::from_secs(1);

/// Whether a process stops.
fn has_stopped(pid: i64) -> bool {
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    end_to_end::wait_until(host::patience(STOPPED_WITHIN), is_stopped)
}

/// PID SIGNAL: it becomes the owner of a pipe, which signals its owner when there is something to read. No call of that fails
/// where the signal doesn't go through, so what became of the process says whether it did.
fn own_pipe(arguments: &[OsString]) -> io::Result<()> {
    /// As the C library has it; `libc` doesn't name it.
    const F_SETSIG: i64 = 10;
    let (reader, mut writer) = io::pipe()?;
    let control = |command: i64, value: i64| {
        call(libc::SYS_fcntl, [i64::from(reader.as_raw_fd()), command, value, 0, 0, 0]).map(drop)
    };
    control(i64::from(libc::F_SETOWN), pid(arguments)?)?;
    control(F_SETSIG, parsed(arguments, 1)?)?;
    control(i64::from(libc::F_SETFL), i64::from(libc::O_ASYNC))?;
    writer.write_all(b"x")?;
    if has_stopped(pid(arguments)?) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

/// PID SIGNAL
fn pidfd_signal(arguments: &[OsString]) -> io::Result<()> {
    let process = process(arguments)?;
    let call_arguments = [i64::from(process.as_raw_fd()), parsed(arguments, 1)?, 0, 0, 0, 0];
    call(libc::SYS_pidfd_send_signal, call_arguments).map(drop)
}

/// PID SIGNAL: with a value, as sigqueue(3) sends it.
fn queue(arguments: &[OsString]) -> io::Result<()> {
    let signal: i32 = parsed(arguments, 1)?;
    let mut info = [0_i32; 32];
    // `siginfo_t`: number, error, code (SI_QUEUE), filling, sender's pid and user.
    info[..3].copy_from_slice(&[signal, 0, -1]);
    info[4] = std::process::id() as i32;
    call(libc::SYS_rt_sigqueueinfo, [pid(arguments)?, i64::from(signal), info.as_ptr() as i64, 0, 0, 0]).map(drop)
}

/// PID: everybody but this process is stopped, and goes on. The call succeeds whoever refuses his own signal, so it is that
/// process that is looked at. In guests alone, where a test says that this is one.
fn stop_everybody(arguments: &[OsString]) -> io::Result<()> {
    if !host::is_guest() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "everybody includes processes that aren't the test's"));
    }
    let pid = pid(arguments)?;
    let everybody = |signal: i32| call(libc::SYS_kill, [-1, i64::from(signal), 0, 0, 0, 0]);
    everybody(libc::SIGSTOP)?;
    let did_stop = has_stopped(pid);
    everybody(libc::SIGCONT)?;
    if did_stop { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

/// PID: and lets go again, if it got hold.
fn attach(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    call(libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), pid, 0, 0, 0, 0])?;
    // SAFETY: waits for the process that this one traces; no memory is handed over.
    returned(i64::from(unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), libc::__WALL) }))?;
    call(libc::SYS_ptrace, [i64::from(libc::PTRACE_DETACH), pid, 0, 0, 0, 0]).map(drop)
}

/// PID: this process's end lets go.
fn seize(arguments: &[OsString]) -> io::Result<()> {
    call(libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), pid(arguments)?, 0, 0, 0, 0]).map(drop)
}

/// Where a process's memory can be read: the first mapping of its map, or what its map's being closed means.
fn somewhere(pid: i64) -> io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let start = maps.split('-').next().unwrap_or_default();
    u64::from_str_radix(start, 16).map_err(|_| io::Error::other("its map is empty"))
}

/// PID
fn memory_read(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    memory.read_exact_at(&mut [0; 8], somewhere(pid)?)
}

/// PID: bytes as they were, so that nothing changes where nobody is in the way.
fn memory_write(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
    let (place, mut bytes) = (somewhere(pid)?, [0; 8]);
    memory.read_exact_at(&mut bytes, place)?;
    memory.write_all_at(&bytes, place)
}

/// PID
fn vm_read(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    // Without a look at its map, which is refused by itself: whether anything is there is asked after the right to look.
    let place = somewhere(pid).unwrap_or(0x40_0000);
    let mut bytes = [0_u8; 8];
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: place as *mut libc::c_void, iov_len: bytes.len() };
    let (here, there) = (&raw const here as i64, &raw const there as i64);
    call(libc::SYS_process_vm_readv, [pid, here, 1, there, 1, 0]).map(drop)
}

/// PID NUMBER: its descriptor of that number.
fn getfd(arguments: &[OsString]) -> io::Result<()> {
    let process = process(arguments)?;
    let number = parsed(arguments, 1)?;
    let got = call(libc::SYS_pidfd_getfd, [i64::from(process.as_raw_fd()), number, 0, 0, 0, 0])?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(got as i32) });
    Ok(())
}

/// PID
fn nice(arguments: &[OsString]) -> io::Result<()> {
    call(libc::SYS_setpriority, [i64::from(libc::PRIO_PROCESS), pid(arguments)?, 19, 0, 0, 0]).map(drop)
}

/// PID: runs only when nobody else wants to.
fn scheduler(arguments: &[OsString]) -> io::Result<()> {
    let priority = 0_i32;
    let at = &raw const priority as i64;
    call(libc::SYS_sched_setscheduler, [pid(arguments)?, i64::from(libc::SCHED_IDLE), at, 0, 0, 0]).map(drop)
}

/// PID: on the first processor alone.
fn affinity(arguments: &[OsString]) -> io::Result<()> {
    let first = 1_u64;
    call(libc::SYS_sched_setaffinity, [pid(arguments)?, 8, &raw const first as i64, 0, 0, 0]).map(drop)
}

/// PID: so many open files and no more.
fn limit(arguments: &[OsString]) -> io::Result<()> {
    let limit = [256_u64, 256];
    let which = i64::from(libc::RLIMIT_NOFILE);
    call(libc::SYS_prlimit64, [pid(arguments)?, which, limit.as_ptr() as i64, 0, 0, 0]).map(drop)
}

/// PID: the first to be ended when memory runs out.
fn oom_score(arguments: &[OsString]) -> io::Result<()> {
    fs::write(format!("/proc/{}/oom_score_adj", pid(arguments)?), "1000")
}

/// PID: what these tricks change, put back; called from outside the job.
fn restore(arguments: &[OsString]) -> io::Result<()> {
    let pid = pid(arguments)?;
    let (priority, every, limit) = (0_i32, u64::MAX, [20_000_u64, 20_000]);
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    for task in tasks.filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok()) {
        call(libc::SYS_sched_setscheduler, [task, i64::from(libc::SCHED_OTHER), &raw const priority as i64, 0, 0, 0])?;
        call(libc::SYS_sched_setaffinity, [task, 8, &raw const every as i64, 0, 0, 0])?;
        call(libc::SYS_setpriority, [i64::from(libc::PRIO_PROCESS), task, -10, 0, 0, 0])?;
    }
    let which = i64::from(libc::RLIMIT_NOFILE);
    call(libc::SYS_prlimit64, [pid, which, limit.as_ptr() as i64, 0, 0, 0]).map(drop)
}

/// PID
fn environ(arguments: &[OsString]) -> io::Result<()> {
    File::open(format!("/proc/{}/environ", pid(arguments)?))?.read_exact(&mut [0])
}
