//! Sockets that somebody else made: inherited, handed over, taken.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::socket::{address, bind, connect, family, new_socket, send, send_to};
use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("with-sockets", with_sockets),
    ("inherited", inherited),
    ("inherited-to", inherited_to),
    ("inherited-accept", inherited_accept),
    ("inherited-in-flight", inherited_in_flight),
    ("used-datagrams", used_datagrams),
    ("used-stream", used_stream),
    ("give", give),
    ("received", received),
    ("handed", handed),
    ("taken", taken),
];

/// Where [`with_sockets`] leaves them.
const FIRST: i32 = 40;

fn fork() -> io::Result<i64> {
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    returned(i64::from(unsafe { libc::fork() }))
}

fn wait_for(child: i64) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: waits for a child of this process, and the status lives through the call.
    returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Ends a child with its error's number.
fn end(result: io::Result<()>) -> ! {
    std::process::exit(result.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EPROTO), |()| 0))
}

/// ADDRESS TCP-PORT UDP-PORT LISTENING-PORT PROGRAM ARGUMENTS…: becomes the program, with sockets that are open already:
/// a stream and datagrams that are connected, datagrams that aren't, a raw one, a stream that isn't, one that listens. Then a local socket with one more in flight, a ring that holds one, and a tunnel's device.
fn with_sockets(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let datagram_to = SocketAddr::new(to.ip(), parsed(arguments, 2)?);
    let family = family(&to);
    let sockets = [
        new_socket(family, libc::SOCK_STREAM, 0)?,
        new_socket(family, libc::SOCK_DGRAM, 0)?,
        new_socket(family, libc::SOCK_DGRAM, 0)?,
        new_socket(family, libc::SOCK_RAW, 253)?,
        new_socket(family, libc::SOCK_STREAM, 0)?,
        new_socket(family, libc::SOCK_STREAM, 0)?,
    ];
    connect(&sockets[0], to)?;
    connect(&sockets[1], datagram_to)?;
    bind(&sockets[5], SocketAddr::new(IpAddr::from([0; 4]), parsed(arguments, 3)?))?;
    // SAFETY: no memory is handed over.
    returned(i64::from(unsafe { libc::listen(sockets[5].as_raw_fd(), 4) }))?;
    let [here, there] = local_pair()?;
    carry(&there, sockets[1].as_raw_fd(), true)?;
    let ring = crate::uring::holding(&sockets[1])?;
    let tunnel = crate::raw::tunnel_device()?;
    for (number, socket) in (FIRST..).zip(sockets.iter().chain([&here, &ring, &tunnel])) {
        // SAFETY: the number is not in use: this program opens few files.
        returned(i64::from(unsafe { libc::dup2(socket.as_raw_fd(), number) }))?;
    }
    Err(Command::new(&arguments[4]).args(&arguments[5..]).exec())
}

/// A descriptor that came with the process; not closed with the value, as it may not be open at all.
fn came_with(number: i32) -> ManuallyDrop<OwnedFd> {
    // SAFETY: never closed by the value, and every call on it is allowed to fail.
    ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) })
}

/// NUMBER PAYLOAD: to whom the socket is connected.
fn inherited(arguments: &[OsString]) -> io::Result<()> {
    send(&came_with(parsed(arguments, 0)?), libc::MSG_NOSIGNAL, text(arguments, 1)?.as_bytes())
}

/// ADDRESS PORT PAYLOAD NUMBER: the socket is connected first if it is a stream.
fn inherited_to(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = came_with(parsed(arguments, 3)?);
    let payload = text(arguments, 2)?.as_bytes();
    match send_to(&socket, libc::MSG_NOSIGNAL, payload, to) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ENOTCONN)) => {
            connect(&socket, to)?;
            send(&socket, libc::MSG_NOSIGNAL, payload)
        }
        result => result,
    }
}

/// NUMBER PAYLOAD: takes a call on a listening socket, and hands out the payload.
fn inherited_accept(arguments: &[OsString]) -> io::Result<()> {
    let socket = came_with(parsed(arguments, 0)?);
    let mut wait = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    crate::say("ready")?;
    // SAFETY: there is one entry, and it lives through the call.
    returned(i64::from(unsafe { libc::poll(&raw mut wait, 1, 3000) }))?;
    if wait.revents & libc::POLLIN == 0 {
        return Err(io::Error::from_raw_os_error(if wait.revents == 0 { libc::ETIMEDOUT } else { libc::EBADF }));
    }
    // SAFETY: the caller's address is not asked for.
    let caller = unsafe { libc::accept(socket.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) };
    let caller = returned(i64::from(caller))?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    let caller = unsafe { OwnedFd::from_raw_fd(caller as i32) };
    send(&caller, libc::MSG_NOSIGNAL, text(arguments, 1)?.as_bytes())
}

/// A message of one byte with one descriptor: `struct cmsghdr` (length, level, kind), the number, filling.
#[repr(C, align(8))]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    descriptor: i32,
    filling: i32,
}

/// Sends a descriptor, or receives one. One that the receiver may not have doesn't arrive, and the message says that something was
/// cut off (unix(7)): there is room for it, so that is a refusal.
pub fn carry(over: &OwnedFd, descriptor: i32, send: bool) -> io::Result<i32> {
    let mut control = Control { len: 20, level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, descriptor, filling: 0 };
    let mut byte = [0_u8];
    let mut piece = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: a message header of zeros is a message header without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let done = if send {
        // SAFETY: the message and what it points to live through the call.
        unsafe { libc::sendmsg(over.as_raw_fd(), &raw const message, 0) }
    } else {
        // SAFETY: as above.
        unsafe { libc::recvmsg(over.as_raw_fd(), &raw mut message, 0) }
    };
    returned(done as i64)?;
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    if control.kind == libc::SCM_RIGHTS { Ok(control.descriptor) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn local_pair() -> io::Result<[OwnedFd; 2]> {
    let mut pair = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    returned(i64::from(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) }))?;
    // SAFETY: the descriptors were just returned to us by the kernel, and nobody else has them.
    Ok(pair.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// NUMBER PAYLOAD: takes the socket that is in flight, and sends to whom it is connected.
fn inherited_in_flight(arguments: &[OsString]) -> io::Result<()> {
    let got = carry(&came_with(parsed(arguments, 0)?), -1, false)?;
    // SAFETY: the descriptor came with the message, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(got) };
    send(&socket, libc::MSG_NOSIGNAL, text(arguments, 1)?.as_bytes())
}

/// Becomes the program with the socket as its descriptor [`FIRST`].
fn become_with(socket: &OwnedFd, arguments: &[OsString]) -> io::Result<()> {
    // SAFETY: the number is not in use: this program opens few files.
    returned(i64::from(unsafe { libc::dup2(socket.as_raw_fd(), FIRST) }))?;
    Err(Command::new(&arguments[0]).args(&arguments[1..]).exec())
}

/// ADDRESS PORT PROGRAM ARGUMENTS…: sends something, then becomes the program, which has the socket.
fn used_datagrams(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_DGRAM, 0)?;
    send_to(&socket, 0, b"first", to)?;
    become_with(&socket, &arguments[2..])
}

/// ADDRESS PORT PROGRAM ARGUMENTS…: connects, then becomes the program, which has the socket.
fn used_stream(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_STREAM, 0)?;
    connect(&socket, to)?;
    become_with(&socket, &arguments[2..])
}

/// PATH: hands a datagram socket to each who calls at PATH.
fn give(arguments: &[OsString]) -> io::Result<()> {
    let listener = std::os::unix::net::UnixListener::bind(text(arguments, 0)?)?;
    crate::say("ready")?;
    loop {
        let (caller, _) = listener.accept()?;
        let socket = new_socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        carry(&caller.into(), socket.as_raw_fd(), true)?;
    }
}

/// ADDRESS PORT PAYLOAD PATH: takes a socket from who gives at PATH, and uses it.
fn received(arguments: &[OsString]) -> io::Result<()> {
    let giver = std::os::unix::net::UnixStream::connect(text(arguments, 3)?)?;
    let got = carry(&giver.into(), -1, false)?;
    // SAFETY: the descriptor came with the message, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(got) };
    send_to(&socket, 0, text(arguments, 2)?.as_bytes(), address(arguments)?)
}

/// ADDRESS PORT PAYLOAD: a child makes the socket and hands it over; this process uses it.
fn handed(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let [here, there] = local_pair()?;
    let child = fork()?;
    if child == 0 {
        let made = new_socket(family(&to), libc::SOCK_DGRAM, 0);
        end(made.and_then(|socket| carry(&there, socket.as_raw_fd(), true).map(drop)));
    }
    let got = carry(&here, -1, false)?;
    wait_for(child)?;
    // SAFETY: the descriptor came with the message, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(got) };
    send_to(&socket, 0, text(arguments, 2)?.as_bytes(), to)
}

/// ADDRESS PORT PAYLOAD: a child makes the socket; this process takes it out of the child and uses it.
fn taken(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let (mut told, mut tells) = io::pipe()?;
    let (stays, goes) = io::pipe()?;
    let child = fork()?;
    if child == 0 {
        drop(goes);
        let mut stays = stays;
        end(new_socket(family(&to), libc::SOCK_DGRAM, 0).and_then(|socket| {
            tells.write_all(&socket.as_raw_fd().to_ne_bytes())?;
            // Until the other end is closed: the socket has been taken.
            stays.read_to_end(&mut Vec::new()).map(drop)
        }));
    }
    let mut number = [0; 4];
    told.read_exact(&mut number)?;
    // SAFETY: no memory is handed over.
    let process = returned(unsafe { libc::syscall(libc::SYS_pidfd_open, child as i32, 0) })?;
    // SAFETY: no memory is handed over.
    let got = returned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, i32::from_ne_bytes(number), 0) });
    drop(goes);
    wait_for(child)?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(got? as i32) };
    send_to(&socket, 0, text(arguments, 2)?.as_bytes(), to)
}
