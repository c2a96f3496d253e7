//! Payloads as datagrams: `act udp TRICK ADDRESS PORT PAYLOAD`.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use crate::socket::{
    Address, address, bind, connect, device_index, family, message, new_socket, send, send_to, set_bytes, set_number,
};
use crate::{Trick, parsed, returned, say, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("sendto", sendto),
    ("sendmsg", sendmsg),
    ("sendmmsg", sendmmsg),
    ("connected", connected),
    ("reconnected", reconnected),
    ("elsewhere", elsewhere),
    ("mapped", mapped),
    ("flow", flow),
    ("lite", lite),
    ("segmented", segmented),
    ("broadcast", broadcast),
    ("multicast", multicast),
    ("zone", zone),
    ("packet-info", packet_info),
    ("spliced", spliced),
    ("source-routed", source_routed),
    ("source-routed-on", source_routed_on),
    ("segment-routed", segment_routed),
    ("destination-options", destination_options),
    ("before-reading", before_reading),
    ("answer", answer),
    ("flood", flood),
];

fn payload(arguments: &[OsString]) -> io::Result<&[u8]> {
    Ok(text(arguments, 2)?.as_bytes())
}

fn datagrams(to: SocketAddr) -> io::Result<OwnedFd> {
    new_socket(family(&to), libc::SOCK_DGRAM, 0)
}

fn sendto(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    send_to(&datagrams(to)?, 0, payload(arguments)?, to)
}

/// One message with an address of its own, and control data if there is any.
fn send_message(socket: &OwnedFd, payload: &[u8], to: SocketAddr, control: &mut [u8]) -> io::Result<()> {
    let mut payload = payload.to_vec();
    let mut piece = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut to = Address::of(to);
    let mut message = message(&mut to, &mut piece);
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len() as _;
    }
    // SAFETY: the message and what it points to live through the call.
    returned(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) } as i64).map(drop)
}

fn sendmsg(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    send_message(&datagrams(to)?, payload(arguments)?, to, &mut [])
}

/// ADDRESS PORT PAYLOAD FIRST: two messages in one call, the first to FIRST.
fn sendmmsg(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    let (mut first, mut payload) = (*b"first", payload(arguments)?.to_vec());
    let mut pieces = [
        libc::iovec { iov_base: first.as_mut_ptr().cast(), iov_len: first.len() },
        libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() },
    ];
    let mut addresses = [Address::of(SocketAddr::new(parsed(arguments, 3)?, to.port())), Address::of(to)];
    let [first_address, second_address] = &mut addresses;
    let [first_piece, second_piece] = &mut pieces;
    let mut messages = [message(first_address, first_piece), message(second_address, second_piece)]
        .map(|message| libc::mmsghdr { msg_hdr: message, msg_len: 0 });
    // SAFETY: the messages and what they point to live through the call, and there are two.
    let sent = returned(i64::from(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 2, 0) }))?;
    // The call tells of an error only when the first message met it.
    if sent == 2 { Ok(()) } else { send_message(&socket, &payload, to, &mut []) }
}

fn connected(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    connect(&socket, to)?;
    send(&socket, 0, payload(arguments)?)
}

/// ADDRESS PORT PAYLOAD FIRST: connected to FIRST, then to ADDRESS.
fn reconnected(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    connect(&socket, SocketAddr::new(parsed(arguments, 3)?, to.port()))?;
    send(&socket, 0, b"first")?;
    connect(&socket, to)?;
    send(&socket, 0, payload(arguments)?)
}

/// ADDRESS PORT PAYLOAD FIRST: connected to FIRST, with an address in the call.
fn elsewhere(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    connect(&socket, SocketAddr::new(parsed(arguments, 3)?, to.port()))?;
    send(&socket, 0, b"first")?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// An IPv4 address, sent to over an IPv6 socket.
fn mapped(arguments: &[OsString]) -> io::Result<()> {
    let address: Ipv4Addr = parsed(arguments, 0)?;
    let to = SocketAddr::new(address.to_ipv6_mapped().into(), parsed(arguments, 1)?);
    send_to(&new_socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD DEVICE: with a flow label and the number of a device, which a global address doesn't need.
fn flow(arguments: &[OsString]) -> io::Result<()> {
    let to: Ipv6Addr = parsed(arguments, 0)?;
    let socket = new_socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    // `struct in6_flowlabel_req`: destination, label, action GET, share ANY, flags CREATE, expiry, linger, padding.
    let label = 0x1_2345_u32.to_be();
    let mut request = [0_u8; 32];
    request[..16].copy_from_slice(&to.octets());
    request[16..20].copy_from_slice(&label.to_ne_bytes());
    request[21] = 255;
    request[22..24].copy_from_slice(&1_u16.to_ne_bytes());
    set_bytes(&socket, libc::SOL_IPV6, IPV6_FLOWLABEL_MGR, &request)?;
    set_number(&socket, libc::SOL_IPV6, IPV6_FLOWINFO_SEND, 1)?;
    let device = device_index(text(arguments, 3)?)?;
    let to = SocketAddrV6::new(to, parsed(arguments, 1)?, label, device);
    send_to(&socket, 0, payload(arguments)?, to.into())
}

const IPV6_FLOWLABEL_MGR: i32 = 32;
const IPV6_FLOWINFO_SEND: i32 = 33;
/// `UDP_SEGMENT` of linux/udp.h, and its level.
const UDP_SEGMENT: i32 = 103;
const SOL_UDP: i32 = 17;

fn lite(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = new_socket(family(&to), libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE)?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// One call, cut into datagrams by the kernel.
fn segmented(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    let payload = payload(arguments)?;
    set_number(&socket, SOL_UDP, UDP_SEGMENT, payload.len() as i32)?;
    send_to(&socket, 0, &payload.repeat(3), to).or_else(|error| {
        // A kernel that takes three segments counts the bytes of all.
        if error.kind() == io::ErrorKind::Other { Ok(()) } else { Err(error) }
    })
}

fn broadcast(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    set_number(&socket, libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD DEVICE
fn multicast(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    let device = device_index(text(arguments, 3)?)? as i32;
    if to.is_ipv4() {
        // `struct ip_mreqn`: group, own address, device.
        let request = [[0; 4], [0; 4], device.to_ne_bytes()].concat();
        set_bytes(&socket, libc::SOL_IP, libc::IP_MULTICAST_IF, &request)?;
    } else {
        set_number(&socket, libc::SOL_IPV6, libc::IPV6_MULTICAST_IF, device)?;
    }
    send_to(&socket, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD DEVICE: a link-local address, with its zone.
fn zone(arguments: &[OsString]) -> io::Result<()> {
    let to: Ipv6Addr = parsed(arguments, 0)?;
    let to = SocketAddrV6::new(to, parsed(arguments, 1)?, 0, device_index(text(arguments, 3)?)?);
    send_to(&new_socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?, 0, payload(arguments)?, to.into())
}

/// A control message: `struct cmsghdr`, then data, filled up to a multiple of eight.
fn control(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// ADDRESS PORT PAYLOAD DEVICE: the device is named with the message.
fn packet_info(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    // `struct in_pktinfo`: device, own address, address.
    let data = [(device_index(text(arguments, 3)?)? as i32).to_ne_bytes(), [0; 4], [0; 4]].concat();
    send_message(&datagrams(to)?, payload(arguments)?, to, &mut control(libc::SOL_IP, libc::IP_PKTINFO, &data))
}

fn spliced(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let payload = payload(arguments)?;
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(payload)?;
    let socket = datagrams(to)?;
    connect(&socket, to)?;
    let (from, into) = (reader.as_raw_fd(), socket.as_raw_fd());
    // SAFETY: pipe and socket have no offsets, so none is given.
    returned(unsafe { libc::splice(from, std::ptr::null_mut(), into, std::ptr::null_mut(), payload.len(), 0) } as i64)
        .map(drop)
}

/// ADDRESS PORT PAYLOAD END: a datagram to END by way of ADDRESS, which is where the packet goes.
fn source_routed(arguments: &[OsString]) -> io::Result<()> {
    let via: Ipv4Addr = parsed(arguments, 0)?;
    let to = SocketAddr::new(parsed(arguments, 3)?, parsed(arguments, 1)?);
    let socket = datagrams(to)?;
    // RFC 791, loose source route: type, length, pointer, one station; filled up to a multiple of four.
    let option = [&[131, 7, 4][..], &via.octets(), &[0]].concat();
    set_bytes(&socket, libc::SOL_IP, libc::IP_OPTIONS, &option)?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD FIRST END: a datagram to END by way of FIRST, where the packet goes, and then of ADDRESS.
fn source_routed_on(arguments: &[OsString]) -> io::Result<()> {
    let second: Ipv4Addr = parsed(arguments, 0)?;
    let first: Ipv4Addr = parsed(arguments, 3)?;
    let to = SocketAddr::new(parsed(arguments, 4)?, parsed(arguments, 1)?);
    let socket = datagrams(to)?;
    let option = [&[131, 11, 4][..], &first.octets(), &second.octets(), &[0]].concat();
    set_bytes(&socket, libc::SOL_IP, libc::IP_OPTIONS, &option)?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD END: a datagram to END by way of ADDRESS, with a segment routing header (RFC 8754).
fn segment_routed(arguments: &[OsString]) -> io::Result<()> {
    let via: Ipv6Addr = parsed(arguments, 0)?;
    let end: Ipv6Addr = parsed(arguments, 3)?;
    let to = SocketAddr::new(end.into(), parsed(arguments, 1)?);
    // Next header, length in eight bytes, type 4, segments left, last entry, flags, tag; segments, the last one first.
    let header = [&[0, 4, 4, 1, 1, 0, 0, 0][..], &[0; 16], &via.octets()].concat();
    let socket = datagrams(to)?;
    set_bytes(&socket, libc::SOL_IPV6, libc::IPV6_RTHDR, &header)?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// With a header of destination options before the datagram's.
fn destination_options(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    // Next header, length, and six bytes of filling (RFC 8200, 4.2).
    set_bytes(&socket, libc::SOL_IPV6, libc::IPV6_DSTOPTS, &[0, 0, 1, 4, 0, 0, 0, 0])?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD FILE: sends something, reads the file, and sends the payload the same way.
fn before_reading(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let socket = datagrams(to)?;
    send_to(&socket, 0, b"first", to)?;
    std::fs::read(text(arguments, 3)?)?;
    send_to(&socket, 0, payload(arguments)?, to)
}

/// ADDRESS PORT PAYLOAD: waits at PORT for a datagram, and sends the payload back to whom it came from.
fn answer(arguments: &[OsString]) -> io::Result<()> {
    let at = SocketAddr::new(IpAddr::from([0; 4]), parsed(arguments, 1)?);
    let socket = std::net::UdpSocket::from({
        let socket = datagrams(at)?;
        bind(&socket, at)?;
        socket
    });
    socket.set_read_timeout(Some(std::time::Duration::from_secs(3)))?;
    say("ready")?;
    let (_, from) = socket.recv_from(&mut [0; 64])?;
    socket.send_to(payload(arguments)?, from).map(drop)
}

/// ADDRESS PORT PAYLOAD COUNT: that many sockets, each connected and used once.
fn flood(arguments: &[OsString]) -> io::Result<()> {
    let count: u32 = parsed(arguments, 3)?;
    let mut last = Ok(());
    for _ in 0..count {
        last = connected(arguments);
    }
    last
}
