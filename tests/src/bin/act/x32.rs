//! System calls by the numbers of x32, which any 64-bit program may use where the kernel has it: those of the native table with a
//! mark. Other kernels have no such calls (ENOSYS).

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] =
    &[("kill", kill), ("open", open), ("open-for-writing", open_for_writing), ("unshare", unshare)];

/// `__X32_SYSCALL_BIT` of asm/unistd.h.
const X32: i64 = 0x4000_0000;

/// PID SIGNAL
fn kill(arguments: &[OsString]) -> io::Result<()> {
    let (pid, signal): (i32, i32) = (parsed(arguments, 0)?, parsed(arguments, 1)?);
    // SAFETY: no memory is handed over.
    returned(unsafe { libc::syscall(X32 | libc::SYS_kill, pid, signal) }).map(drop)
}

fn opened(arguments: &[OsString], flags: i32) -> io::Result<()> {
    let path = CString::new(text(arguments, 0)?)?;
    // SAFETY: the path ends in NUL and lives through the call.
    let opened = unsafe { libc::syscall(X32 | libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
    let descriptor = returned(opened)?;
    // SAFETY: the kernel has just returned it to us, and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
    Ok(())
}

/// FILE
fn open(arguments: &[OsString]) -> io::Result<()> {
    opened(arguments, libc::O_RDONLY)
}

/// FILE: nothing is written.
fn open_for_writing(arguments: &[OsString]) -> io::Result<()> {
    opened(arguments, libc::O_WRONLY)
}

/// FLAGS
fn unshare(arguments: &[OsString]) -> io::Result<()> {
    let flags: i32 = parsed(arguments, 0)?;
    // SAFETY: no memory is handed over; this program has one thread.
    returned(unsafe { libc::syscall(X32 | libc::SYS_unshare, flags) }).map(drop)
}
