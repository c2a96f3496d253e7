//! What is done to files by requests of io_uring, which no system call returns: `act uring-file TRICK PATH …`.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use crate::Trick;
use crate::uring::{IORING_SETUP_SQPOLL, IOSQE_ASYNC, Request, Ring, completed};

pub const TRICKS: &[(&str, Trick)] = &[
    ("open", open),
    ("open-by-worker", open_by_worker),
    ("open-by-poller", open_by_poller),
    ("open-for-writing", open_for_writing),
    ("remove", remove),
    ("rename", rename),
    ("link", link),
];

const IORING_OP_OPENAT: u8 = 18;
/// `IORING_OP_RENAMEAT` and `IORING_OP_UNLINKAT`, since 5.11.
const IORING_OP_RENAMEAT: u8 = 35;
const IORING_OP_UNLINKAT: u8 = 36;
/// `IORING_OP_LINKAT`, since 5.15.
const IORING_OP_LINKAT: u8 = 39;

fn path(arguments: &[OsString], at: usize) -> io::Result<CString> {
    let word = arguments.get(at).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(CString::new(word.as_bytes())?)
}

/// Runs a request about one path. The kernel answers the same for a request that it doesn't know as for one that makes no
/// sense; these do.
fn about(ring: &Ring, path: &CString, request: Request) -> io::Result<()> {
    let request = Request { descriptor: libc::AT_FDCWD, address: path.as_ptr() as u64, ..request };
    match completed(ring.run(request)?) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        result => result.map(drop),
    }
}

/// The same about two, of which the second is none yet.
fn about_two(opcode: u8, arguments: &[OsString]) -> io::Result<()> {
    let (from, to) = (path(arguments, 0)?, path(arguments, 1)?);
    let second = Request { opcode, offset: to.as_ptr() as u64, len: libc::AT_FDCWD as u32, ..Request::default() };
    about(&Ring::new()?, &from, second)
}

fn opened(ring: &Ring, how: u8, access: i32, arguments: &[OsString]) -> io::Result<()> {
    let request =
        Request { opcode: IORING_OP_OPENAT, flags: how, operation_flags: access as u32, ..Request::default() };
    about(ring, &path(arguments, 0)?, request)
}

/// FILE
fn open(arguments: &[OsString]) -> io::Result<()> {
    opened(&Ring::new()?, 0, libc::O_RDONLY, arguments)
}

/// FILE: by a worker of the kernel.
fn open_by_worker(arguments: &[OsString]) -> io::Result<()> {
    opened(&Ring::new()?, IOSQE_ASYNC, libc::O_RDONLY, arguments)
}

/// FILE: by a thread of the kernel that looks for requests.
fn open_by_poller(arguments: &[OsString]) -> io::Result<()> {
    opened(&Ring::with(IORING_SETUP_SQPOLL)?, 0, libc::O_RDONLY, arguments)
}

/// FILE
fn open_for_writing(arguments: &[OsString]) -> io::Result<()> {
    opened(&Ring::new()?, 0, libc::O_WRONLY, arguments)
}

/// FILE
fn remove(arguments: &[OsString]) -> io::Result<()> {
    about(&Ring::new()?, &path(arguments, 0)?, Request { opcode: IORING_OP_UNLINKAT, ..Request::default() })
}

/// FROM TO
fn rename(arguments: &[OsString]) -> io::Result<()> {
    about_two(IORING_OP_RENAMEAT, arguments)
}

/// FROM TO: another name, by which the file is opened for writing and then let go.
fn link(arguments: &[OsString]) -> io::Result<()> {
    about_two(IORING_OP_LINKAT, arguments)?;
    let opened = open_for_writing(&arguments[1..]);
    std::fs::remove_file(&arguments[1])?;
    opened
}
