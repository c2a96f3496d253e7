//! 32-bit system calls from a 64-bit process, by `int 0x80`: what they are told lies below 4 GiB.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("open", open),
    ("connect", connect),
    ("stream", stream),
    ("datagram", datagram),
    ("frame", frame),
    ("kill", kill),
    ("unshare", unshare),
    ("clone", clone),
    ("restart-wrongly", restart_wrongly),
];

// Numbers of the 32-bit table: arch/x86/entry/syscalls/syscall_32.tbl.
const WRITE_32: u32 = 4;
const OPEN_32: u32 = 5;
const KILL_32: u32 = 37;
const REBOOT_32: u32 = 88;
const CLONE_32: u32 = 120;
const UNSHARE_32: u32 = 310;
const SOCKET_32: u32 = 359;
const CONNECT_32: u32 = 362;
const SENDMSG_32: u32 = 370;

/// Bytes in memory that a 32-bit address reaches. Never freed.
fn low(bytes: &[u8]) -> io::Result<u32> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: a new mapping at an address of the kernel's choice; nothing is unmapped by it.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 8192, access, kind, -1, 0) };
    if at == libc::MAP_FAILED || bytes.len() > 8192 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has room for the bytes, and nothing else refers to it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast(), bytes.len()) };
    u32::try_from(at as usize).map_err(|_| io::Error::other("the mapping lies above 4 GiB"))
}

fn call(number: u32, first: u32, second: u32, third: u32) -> io::Result<i32> {
    let result: i32;
    // SAFETY: a system call that touches no memory but what its arguments say; rbx, which the compiler keeps for itself,
    // is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {first:e}",
            "int 0x80",
            "pop rbx",
            first = in(reg) first,
            inlateout("eax") number => result,
            in("ecx") second,
            in("edx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// FILE
fn open(arguments: &[OsString]) -> io::Result<()> {
    let mut path = arguments[0].as_bytes().to_vec();
    path.push(0);
    call(OPEN_32, low(&path)?, libc::O_RDONLY as u32, 0).map(drop)
}

/// `struct sockaddr_in`.
fn destination(arguments: &[OsString]) -> io::Result<[u8; 16]> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let port: u16 = parsed(arguments, 1)?;
    let mut destination = [0_u8; 16];
    destination[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    destination[2..4].copy_from_slice(&port.to_be_bytes());
    destination[4..8].copy_from_slice(&address.octets());
    Ok(destination)
}

/// ADDRESS PORT
fn connect(arguments: &[OsString]) -> io::Result<()> {
    let destination = destination(arguments)?;
    let socket = call(SOCKET_32, libc::AF_INET as u32, libc::SOCK_STREAM as u32, 0)?;
    match call(CONNECT_32, socket as u32, low(&destination)?, 16) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => Ok(()),
        result => result.map(drop),
    }
}

/// ADDRESS PORT PAYLOAD
fn stream(arguments: &[OsString]) -> io::Result<()> {
    let payload = text(arguments, 2)?.as_bytes();
    let socket = call(SOCKET_32, libc::AF_INET as u32, libc::SOCK_STREAM as u32, 0)? as u32;
    call(CONNECT_32, socket, low(&destination(arguments)?)?, 16)?;
    call(WRITE_32, socket, low(payload)?, payload.len() as u32).map(drop)
}

/// ADDRESS PORT PAYLOAD: a message with an address of its own.
fn datagram(arguments: &[OsString]) -> io::Result<()> {
    let payload = text(arguments, 2)?.as_bytes();
    let socket = call(SOCKET_32, libc::AF_INET as u32, libc::SOCK_DGRAM as u32, 0)? as u32;
    let piece = [low(payload)?, payload.len() as u32].map(u32::to_ne_bytes).concat();
    // `struct compat_msghdr`: name, its length, pieces, their number, control, its length, flags.
    let message = [low(&destination(arguments)?)?, 16, low(&piece)?, 1, 0, 0, 0].map(u32::to_ne_bytes).concat();
    call(SENDMSG_32, socket, low(&message)?, 0).map(drop)
}

/// ADDRESS PORT PAYLOAD DEVICE: a frame over a packet socket that such a call has made.
fn frame(arguments: &[OsString]) -> io::Result<()> {
    let made = call(SOCKET_32, libc::AF_PACKET as u32, libc::SOCK_DGRAM as u32, 0)?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    crate::raw::frame_over(&unsafe { OwnedFd::from_raw_fd(made) }, arguments)
}

/// PID SIGNAL
fn kill(arguments: &[OsString]) -> io::Result<()> {
    call(KILL_32, parsed::<i32>(arguments, 0)? as u32, parsed(arguments, 1)?, 0).map(drop)
}

/// FLAGS
fn unshare(arguments: &[OsString]) -> io::Result<()> {
    call(UNSHARE_32, parsed(arguments, 0)?, 0, 0).map(drop)
}

/// FLAGS: a child in namespaces of its own, which ends at once.
fn clone(arguments: &[OsString]) -> io::Result<()> {
    let child = call(CLONE_32, parsed::<u32>(arguments, 0)? | libc::SIGCHLD as u32, 0, 0)?;
    if child == 0 {
        std::process::exit(0);
    }
    // SAFETY: waits for the child made above; no memory is handed over.
    returned(i64::from(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) })).map(drop)
}

/// With magic numbers that the kernel knows nothing of.
fn restart_wrongly(_: &[OsString]) -> io::Result<()> {
    call(REBOOT_32, 0, 0, 0).map(drop)
}
