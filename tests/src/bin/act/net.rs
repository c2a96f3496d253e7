//! Destinations reached for in every way: `act net TRICK ADDRESS PORT`. Whether anybody answers doesn't matter; that the
//! kernel took the attempt does.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("tcp", tcp),
    ("after-input", after_input),
    ("after-reading", after_reading),
    ("tcp-mapped", tcp_mapped),
    ("tcp-fast-open", tcp_fast_open),
    ("mptcp", mptcp),
    ("udp-sendto", udp_sendto),
    ("udp-sendmsg", udp_sendmsg),
    ("udp-sendmmsg", udp_sendmmsg),
    ("udp-connected", udp_connected),
    ("udp-mapped", udp_mapped),
    ("by-name", by_name),
    ("storm", storm),
    ("socket", socket),
    ("ping", ping),
];

/// An address as the socket calls take it, IPv4 or IPv6.
#[repr(C)]
#[derive(Clone, Copy)]
struct Address {
    bytes: [u8; 28],
    len: u32,
}

impl Address {
    fn of(address: SocketAddr) -> Self {
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                (libc::AF_INET, 16)
            }
            SocketAddr::V6(address) => {
                bytes[8..24].copy_from_slice(&address.ip().octets());
                (libc::AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, len }
    }
}

fn address(arguments: &[OsString]) -> io::Result<SocketAddr> {
    Ok(SocketAddr::new(parsed(arguments, 0)?, parsed(arguments, 1)?))
}

fn family(address: &SocketAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn new_socket(family: i32, socket_type: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no preconditions.
    let descriptor = returned(i64::from(unsafe { libc::socket(family, socket_type, protocol) }))?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn connect(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let address = Address::of(address);
    // SAFETY: the address lives through the call and has the length given.
    returned(i64::from(unsafe { libc::connect(socket.as_raw_fd(), address.bytes.as_ptr().cast(), address.len) }))
        .map(drop)
}

/// That nobody listens, or that there is no way there, is as good as an answer.
fn attempted(result: io::Result<()>) -> io::Result<()> {
    match result.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(
            libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EINPROGRESS | libc::EADDRNOTAVAIL,
        )) => Ok(()),
        _ => result,
    }
}

fn tcp(arguments: &[OsString]) -> io::Result<()> {
    attempted(TcpStream::connect(address(arguments)?).map(drop))
}

/// Reads its input to the end, then connects, as an upload does.
fn after_input(arguments: &[OsString]) -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    tcp(arguments)
}

/// ADDRESS PORT FILE: reads the file, then connects.
fn after_reading(arguments: &[OsString]) -> io::Result<()> {
    std::fs::read(&arguments[2])?;
    tcp(arguments)
}

/// An IPv4 address, reached over an IPv6 socket.
fn tcp_mapped(arguments: &[OsString]) -> io::Result<()> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let socket = new_socket(libc::AF_INET6, libc::SOCK_STREAM, 0)?;
    attempted(connect(&socket, SocketAddr::new(address.to_ipv6_mapped().into(), parsed(arguments, 1)?)))
}

fn send_to(socket: &OwnedFd, flags: i32, to: SocketAddr) -> io::Result<()> {
    let to = Address::of(to);
    let payload = b"dummy";
    // SAFETY: payload and address live through the call and have the lengths given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            payload.as_ptr().cast(),
            payload.len(),
            flags,
            to.bytes.as_ptr().cast(),
            to.len,
        )
    };
    returned(sent as i64).map(drop)
}

/// Data with the first packet: no connect(2) is called.
fn tcp_fast_open(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    attempted(send_to(&new_socket(family(&to), libc::SOCK_STREAM, 0)?, libc::MSG_FASTOPEN, to))
}

fn mptcp(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    attempted(connect(&new_socket(family(&to), libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?, to))
}

fn udp_sendto(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    attempted(send_to(&new_socket(family(&to), libc::SOCK_DGRAM, 0)?, 0, to))
}

/// One message with an address of its own. The two pieces must outlive it.
fn message(to: &mut Address, piece: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a message header of zeros is a message header without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.bytes.as_mut_ptr().cast();
    message.msg_namelen = to.len;
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message
}

fn udp_sendmsg(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_DGRAM, 0)?;
    let mut payload = *b"dummy";
    let mut piece = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut to = Address::of(to);
    let message = message(&mut to, &mut piece);
    // SAFETY: the message and what it points to live through the call.
    attempted(returned(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) } as i64).map(drop))
}

/// Three messages in one call.
fn udp_sendmmsg(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_DGRAM, 0)?;
    let mut payload = *b"dummy";
    let mut piece = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut to = Address::of(to);
    let message = message(&mut to, &mut piece);
    let mut messages = [libc::mmsghdr { msg_hdr: message, msg_len: 0 }; 3];
    // SAFETY: the messages and what they point to live through the call, and there are three.
    attempted(returned(i64::from(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 3, 0) })).map(drop))
}

fn udp_connected(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    attempted(socket.connect(to).and_then(|()| socket.send(b"dummy")).map(drop))
}

/// An IPv4 address, sent to over an IPv6 socket.
fn udp_mapped(arguments: &[OsString]) -> io::Result<()> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let socket = new_socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    attempted(send_to(&socket, 0, SocketAddr::new(address.to_ipv6_mapped().into(), parsed(arguments, 1)?)))
}

/// NAME PORT: by way of the system's resolver.
fn by_name(arguments: &[OsString]) -> io::Result<()> {
    let port: u16 = parsed(arguments, 1)?;
    let Some(found) = (text(arguments, 0)?, port).to_socket_addrs()?.next() else {
        return Err(io::Error::other("the name has no address"));
    };
    attempted(TcpStream::connect(found).map(drop))
}

/// COUNT: closed ports of 127.64.0.0/16, each address once.
fn storm(arguments: &[OsString]) -> io::Result<()> {
    let count: u16 = parsed(arguments, 0)?;
    for number in 0..count {
        let [high, low] = number.to_be_bytes();
        let to = SocketAddr::from(([127, 64, high, low], 9));
        attempted(connect(&new_socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?, to))?;
    }
    Ok(())
}

/// FAMILY TYPE PROTOCOL: such a socket, made and closed.
fn socket(arguments: &[OsString]) -> io::Result<()> {
    new_socket(parsed(arguments, 0)?, parsed(arguments, 1)?, parsed(arguments, 2)?).map(drop)
}

/// ADDRESS: a datagram socket for ICMP, and one echo request.
fn ping(arguments: &[OsString]) -> io::Result<()> {
    let to = SocketAddr::new(parsed(arguments, 0)?, 0);
    send_to(&new_socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP)?, 0, to)
        .or_else(|error| if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) })
}
