//! Files that somebody else has opened, by their descriptors: `act descriptor TRICK …`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::pass::carry;
use crate::{Trick, say, text};

pub const TRICKS: &[(&str, Trick)] =
    &[("open", open), ("map", map), ("give", give), ("take", take), ("receive", receive)];

/// FILE PROGRAM ARGUMENTS…: opens the file, and becomes the program that has it as its input.
fn open(arguments: &[OsString]) -> io::Result<()> {
    let file = File::open(text(arguments, 0)?)?;
    Err(Command::new(text(arguments, 1)?).args(&arguments[2..]).stdin(file).exec())
}

/// Says what is in the input, which is a file, without a read.
fn map(_: &[OsString]) -> io::Result<()> {
    let len = usize::try_from(rustix::fs::fstat(io::stdin())?.st_size).map_err(io::Error::other)?;
    // SAFETY: a new mapping at an address of the kernel's choice; nothing is unmapped by it.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, 0, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is of that length, is never written to, and lives as long as the process.
    io::stdout().write_all(unsafe { std::slice::from_raw_parts(at.cast(), len) })
}

/// SOCKET FILE: opens the file, and hands it to each who calls.
fn give(arguments: &[OsString]) -> io::Result<()> {
    let file = File::open(text(arguments, 1)?)?;
    let listener = UnixListener::bind(text(arguments, 0)?)?;
    say("ready")?;
    loop {
        let (caller, _) = listener.accept()?;
        carry(&caller.into(), file.as_raw_fd(), true)?;
    }
}

fn taken(arguments: &[OsString]) -> io::Result<File> {
    let giver = UnixStream::connect(text(arguments, 0)?)?;
    let got = carry(&giver.into(), -1, false)?;
    // SAFETY: the descriptor came with the message, and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(got) }))
}

/// SOCKET: takes the file that is given there, and doesn't read it.
fn take(arguments: &[OsString]) -> io::Result<()> {
    taken(arguments).map(drop)
}

/// SOCKET: says what is in the file that is given there.
fn receive(arguments: &[OsString]) -> io::Result<()> {
    let mut content = Vec::new();
    taken(arguments)?.read_to_end(&mut content)?;
    io::stdout().write_all(&content)
}
