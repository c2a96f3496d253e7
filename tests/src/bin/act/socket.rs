//! Socket calls that the tricks share.

use std::ffi::{CString, OsString};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::{parsed, returned};

/// An address as the socket calls take it, IPv4 or IPv6.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Address {
    pub bytes: [u8; 28],
    pub len: u32,
}

impl Address {
    pub fn of(address: SocketAddr) -> Self {
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                (libc::AF_INET, 16)
            }
            SocketAddr::V6(address) => {
                bytes[4..8].copy_from_slice(&address.flowinfo().to_ne_bytes());
                bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                (libc::AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, len }
    }
}

/// The first two arguments.
pub fn address(arguments: &[OsString]) -> io::Result<SocketAddr> {
    Ok(SocketAddr::new(parsed(arguments, 0)?, parsed(arguments, 1)?))
}

/// Its address family.
pub fn family(address: &SocketAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

/// A socket, closed with this value.
pub fn new_socket(family: i32, socket_type: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no preconditions.
    let descriptor = returned(i64::from(unsafe { libc::socket(family, socket_type, protocol) }))?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// Connects, blocking or not as the socket is.
pub fn connect(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let address = Address::of(address);
    // SAFETY: the address lives through the call and has the length given.
    returned(i64::from(unsafe { libc::connect(socket.as_raw_fd(), address.bytes.as_ptr().cast(), address.len) }))
        .map(drop)
}

/// Sends with an address; whole or not at all.
pub fn send_to(socket: &OwnedFd, flags: i32, payload: &[u8], to: SocketAddr) -> io::Result<()> {
    let to = Address::of(to);
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
    whole(returned(sent as i64)?, payload.len())
}

/// Sends to whom the socket is connected to; whole or not at all.
pub fn send(socket: &OwnedFd, flags: i32, payload: &[u8]) -> io::Result<()> {
    // SAFETY: the payload lives through the call and has the length given.
    let sent = unsafe { libc::send(socket.as_raw_fd(), payload.as_ptr().cast(), payload.len(), flags) };
    whole(returned(sent as i64)?, payload.len())
}

fn whole(sent: i64, len: usize) -> io::Result<()> {
    if sent == len as i64 { Ok(()) } else { Err(io::Error::other(format!("{sent} of {len} bytes were taken"))) }
}

/// Sets an option to a number.
pub fn set_number(socket: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_bytes(socket, level, option, &value.to_ne_bytes())
}

/// Sets an option to bytes.
pub fn set_bytes(socket: &OwnedFd, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let len = value.len() as u32;
    // SAFETY: the value lives through the call and has the length given.
    returned(i64::from(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), len) }))
        .map(drop)
}

/// Number of a network device.
pub fn device_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name ends in NUL and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Binds to an address of this machine, or to what the caller claims is one.
pub fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let address = Address::of(address);
    // SAFETY: the address lives through the call and has the length given.
    returned(i64::from(unsafe { libc::bind(socket.as_raw_fd(), address.bytes.as_ptr().cast(), address.len) })).map(drop)
}

/// One message with an address of its own. The two pieces must outlive it.
pub fn message(to: &mut Address, piece: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a message header of zeros is a message header without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.bytes.as_mut_ptr().cast();
    message.msg_namelen = to.len;
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message
}
