//! Payloads over TCP: `act tcp TRICK ADDRESS PORT PAYLOAD`. A trick ends when the other side has closed, so that what it
//! sent is out by then.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::socket::{Address, address, bind, connect, family, new_socket, send, send_to, set_bytes, set_number};
use crate::{Trick, parsed, returned, say, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("connect", plain),
    ("by-name", by_name),
    ("mapped", mapped),
    ("bound", bound),
    ("nonblocking", nonblocking),
    ("again", again),
    ("thread", thread),
    ("fast-open", fast_open),
    ("fast-open-connect", fast_open_connect),
    ("mptcp", mptcp),
    ("sendfile", sendfile),
    ("splice", splice),
    ("zerocopy", zerocopy),
    ("marked", marked),
    ("on-device", on_device),
    ("transparent", transparent),
    ("source-routed", source_routed),
    ("serve", serve),
    ("before-reading", before_reading),
];

/// How long a conversation may take. Who is refused learns it at once; who is dropped must give up some time.
const SECONDS: i64 = 2;

/// `TCP_FASTOPEN_CONNECT` of linux/tcp.h.
const TCP_FASTOPEN_CONNECT: i32 = 30;

fn payload(arguments: &[OsString]) -> io::Result<&[u8]> {
    Ok(text(arguments, 2)?.as_bytes())
}

/// A stream socket that waits for nothing longer than [`SECONDS`].
fn stream(family: i32, protocol: i32) -> io::Result<OwnedFd> {
    let socket = new_socket(family, libc::SOCK_STREAM, protocol)?;
    let time = [SECONDS.to_ne_bytes(), 0_i64.to_ne_bytes()].concat();
    set_bytes(&socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &time)?;
    set_bytes(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)?;
    Ok(socket)
}

fn stream_to(to: SocketAddr) -> io::Result<OwnedFd> {
    stream(family(&to), 0)
}

/// Closes the sending side and waits for the other to close too.
fn finish(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no memory is handed over.
    returned(i64::from(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }))?;
    let mut rest = [0_u8; 64];
    loop {
        // SAFETY: the buffer lives through the call and has the length given.
        let read = unsafe { libc::recv(socket.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len(), 0) };
        if returned(read as i64)? == 0 {
            return Ok(());
        }
    }
}

fn deliver(socket: &OwnedFd, payload: &[u8]) -> io::Result<()> {
    send(socket, libc::MSG_NOSIGNAL, payload)?;
    finish(socket)
}

fn plain(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

/// NAME PORT PAYLOAD: by way of the system's resolver.
fn by_name(arguments: &[OsString]) -> io::Result<()> {
    let found = (text(arguments, 0)?, parsed::<u16>(arguments, 1)?).to_socket_addrs()?.next();
    let to = found.ok_or_else(|| io::Error::other("the name has no address"))?;
    let socket = stream_to(to)?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

/// An IPv4 address, reached over an IPv6 socket.
fn mapped(arguments: &[OsString]) -> io::Result<()> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let socket = stream(libc::AF_INET6, 0)?;
    connect(&socket, SocketAddr::new(address.to_ipv6_mapped().into(), parsed(arguments, 1)?))?;
    deliver(&socket, payload(arguments)?)
}

fn any_address(like: SocketAddr) -> SocketAddr {
    SocketAddr::new(if like.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) }, 0)
}

fn bound(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    bind(&socket, any_address(to))?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

fn nonblocking(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    match connect(&socket, to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        result => result?,
    }
    let mut wait = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: there is one entry, and it lives through the call.
    if returned(i64::from(unsafe { libc::poll(&raw mut wait, 1, SECONDS as i32 * 1000) }))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    send(&socket, libc::MSG_NOSIGNAL, payload(arguments)?)?;
    wait = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: as above.
    returned(i64::from(unsafe { libc::poll(&raw mut wait, 1, SECONDS as i32 * 1000) })).map(drop)
}

/// ADDRESS PORT PAYLOAD FIRST: connected to FIRST, let go of it, connected again.
fn again(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    connect(&socket, SocketAddr::new(parsed(arguments, 3)?, to.port()))?;
    let nobody = Address { bytes: [0; 28], len: 16 };
    // SAFETY: the address lives through the call and has the length given; zeros are AF_UNSPEC.
    returned(i64::from(unsafe { libc::connect(socket.as_raw_fd(), nobody.bytes.as_ptr().cast(), nobody.len) }))?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

fn thread(arguments: &[OsString]) -> io::Result<()> {
    let arguments = arguments.to_vec();
    let thread = std::thread::spawn(move || plain(&arguments));
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// Data with the first packet: no connect(2) is called.
fn fast_open(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    send_to(&socket, libc::MSG_FASTOPEN, payload(arguments)?, to)?;
    finish(&socket)
}

/// A connect that sends nothing until there is data to send.
fn fast_open_connect(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    set_number(&socket, libc::IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

fn mptcp(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream(family(&to), libc::IPPROTO_MPTCP)?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

/// The payload as a file in memory.
fn file_of(payload: &[u8]) -> io::Result<File> {
    let name = CString::new("payload")?;
    // SAFETY: the name ends in NUL and lives through the call.
    let descriptor = returned(i64::from(unsafe { libc::memfd_create(name.as_ptr(), 0) }))?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
    file.write_all(payload)?;
    Ok(file)
}

fn sendfile(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let payload = payload(arguments)?;
    let file = file_of(payload)?;
    let socket = stream_to(to)?;
    connect(&socket, to)?;
    let mut from = 0;
    // SAFETY: the offset lives through the call.
    returned(unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut from, payload.len()) } as i64)?;
    finish(&socket)
}

fn splice(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let payload = payload(arguments)?;
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(payload)?;
    let socket = stream_to(to)?;
    connect(&socket, to)?;
    let (from, into) = (reader.as_raw_fd(), socket.as_raw_fd());
    // SAFETY: pipe and socket have no offsets, so none is given.
    returned(unsafe { libc::splice(from, std::ptr::null_mut(), into, std::ptr::null_mut(), payload.len(), 0) } as i64)?;
    finish(&socket)
}

fn zerocopy(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    set_number(&socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
    connect(&socket, to)?;
    send(&socket, libc::MSG_ZEROCOPY | libc::MSG_NOSIGNAL, payload(arguments)?)?;
    finish(&socket)
}

fn marked(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    set_number(&socket, libc::SOL_SOCKET, libc::SO_MARK, 0x1234)?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

/// ADDRESS PORT PAYLOAD DEVICE
fn on_device(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    set_bytes(&socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, text(arguments, 3)?.as_bytes())?;
    connect(&socket, to)?;
    deliver(&socket, payload(arguments)?)
}

/// ADDRESS PORT PAYLOAD SOURCE: from an address that isn't this machine's; nobody will answer.
fn transparent(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    set_number(&socket, libc::SOL_IP, libc::IP_TRANSPARENT, 1)?;
    bind(&socket, SocketAddr::new(parsed(arguments, 3)?, 0))?;
    match connect(&socket, to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// ADDRESS PORT PAYLOAD END: connects to END by way of ADDRESS, which is where the packets go.
fn source_routed(arguments: &[OsString]) -> io::Result<()> {
    let via: Ipv4Addr = parsed(arguments, 0)?;
    let to = SocketAddr::new(parsed(arguments, 3)?, parsed(arguments, 1)?);
    let socket = stream_to(to)?;
    // RFC 791, loose source route: type, length, pointer, one station; filled up to a multiple of four.
    let option = [&[131, 7, 4][..], &via.octets(), &[0]].concat();
    set_bytes(&socket, libc::SOL_IP, libc::IP_OPTIONS, &option)?;
    match connect(&socket, to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// ADDRESS PORT PAYLOAD FILE: connects, reads the file, and sends only then.
fn before_reading(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = stream_to(to)?;
    connect(&socket, to)?;
    std::fs::read(text(arguments, 3)?)?;
    deliver(&socket, payload(arguments)?)
}

/// ADDRESS PORT PAYLOAD CALLED: waits at PORT for whoever calls, and hands out the payload. CALLED is there when the caller has given up:
/// one who tries once more when the listener is gone is told by the kernel itself that nobody listens.
fn serve(arguments: &[OsString]) -> io::Result<()> {
    let at = SocketAddr::new(IpAddr::from([0; 4]), parsed(arguments, 1)?);
    let socket = stream_to(at)?;
    set_number(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    bind(&socket, at)?;
    // SAFETY: no memory is handed over.
    returned(i64::from(unsafe { libc::listen(socket.as_raw_fd(), 4) }))?;
    say("ready")?;
    let has_given_up = || Ok::<_, io::Error>(std::path::Path::new(text(arguments, 3)?).exists());
    let caller = loop {
        let is_over = has_given_up()?;
        // SAFETY: the caller's address is not asked for.
        let caller = unsafe { libc::accept(socket.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) };
        match returned(i64::from(caller)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_over => {}
            result => break result?,
        }
    };
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    let caller = unsafe { OwnedFd::from_raw_fd(caller as i32) };
    send(&caller, libc::MSG_NOSIGNAL, payload(arguments)?)
}
