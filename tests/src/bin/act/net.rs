//! Destinations reached for in every way: `act net TRICK ADDRESS PORT`. Whether anybody answers doesn't matter; that the
//! kernel took the attempt does.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::AsRawFd as _;

use crate::socket::{Address, address, connect, family, message, new_socket, send_to};
use crate::{Trick, parsed, returned, text};

/// What goes out where it doesn't matter what.
const PAYLOAD: &[u8] = b"dummy";

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
    ("flood", flood),
    ("socket", socket),
    ("ping", ping),
];

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

/// Data with the first packet: no connect(2) is called.
fn tcp_fast_open(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    attempted(send_to(&new_socket(family(&to), libc::SOCK_STREAM, 0)?, libc::MSG_FASTOPEN, PAYLOAD, to))
}

fn mptcp(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    attempted(connect(&new_socket(family(&to), libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?, to))
}

fn udp_sendto(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    attempted(send_to(&new_socket(family(&to), libc::SOCK_DGRAM, 0)?, 0, PAYLOAD, to))
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
    attempted(socket.connect(to).and_then(|()| socket.send(PAYLOAD)).map(drop))
}

/// An IPv4 address, sent to over an IPv6 socket.
fn udp_mapped(arguments: &[OsString]) -> io::Result<()> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let socket = new_socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    attempted(send_to(&socket, 0, PAYLOAD, SocketAddr::new(address.to_ipv6_mapped().into(), parsed(arguments, 1)?)))
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

/// ADDRESS PORT: attempts by one socket without end; where a rule refuses them, nothing else is done so fast.
fn flood(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_STREAM, 0)?;
    loop {
        let _ = connect(&socket, to);
    }
}

/// FAMILY TYPE PROTOCOL: such a socket, made and closed.
fn socket(arguments: &[OsString]) -> io::Result<()> {
    new_socket(parsed(arguments, 0)?, parsed(arguments, 1)?, parsed(arguments, 2)?).map(drop)
}

/// ADDRESS: a datagram socket for ICMP, and one echo request.
fn ping(arguments: &[OsString]) -> io::Result<()> {
    let to = SocketAddr::new(parsed(arguments, 0)?, 0);
    send_to(&new_socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP)?, 0, PAYLOAD, to)
        .or_else(|error| if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) })
}
