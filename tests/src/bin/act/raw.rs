//! Packets made by hand: `act raw TRICK ADDRESS PORT PAYLOAD`. Checksums are left out: whoever sees a packet has it.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::socket::{address, device_index, family, new_socket, send_to};
use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("datagram", datagram),
    ("header", header),
    ("other-header", other_header),
    ("routed-header", routed_header),
    ("segment", segment),
    ("fragment", fragment),
    ("echo", echo),
    ("ping", ping),
    ("protocol", protocol),
    ("frame", frame),
    ("frame-body", frame_body),
    ("frame-shared", frame_shared),
    ("frame-raced", frame_raced),
    ("tun", tun),
    ("tun-inherited", tun_inherited),
];

const IPPROTO_RAW: i32 = 255;
pub const IPPROTO_UDP: u8 = 17;
const IPPROTO_TCP: u8 = 6;
/// The source of what is made by hand: the job's own addresses.
const FROM_V4: [u8; 4] = [192, 0, 2, 2];
const FROM_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// Where the frames go: the far end of the link.
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const JOB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub fn payload(arguments: &[OsString]) -> io::Result<&[u8]> {
    Ok(text(arguments, 2)?.as_bytes())
}

/// A UDP header and its data (RFC 768).
pub fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 5555_u16.to_be_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend(((8 + payload.len()) as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// A TCP SYN that carries data (RFC 9293).
fn syn(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 5555_u16.to_be_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// An IPv4 or IPv6 packet. `middle` stands between the address and the rest: options of IPv4.
pub fn packet(to: IpAddr, protocol: u8, middle: &[u8], fragment: u16, rest: &[u8]) -> Vec<u8> {
    match to {
        IpAddr::V4(to) => {
            let words = 5 + middle.len() / 4;
            let total = (words * 4 + rest.len()) as u16;
            let mut bytes = vec![0x40 | words as u8, 0];
            bytes.extend(total.to_be_bytes());
            bytes.extend([0, 7]);
            bytes.extend(fragment.to_be_bytes());
            bytes.extend([64, protocol, 0, 0]);
            bytes.extend(FROM_V4);
            bytes.extend(to.octets());
            bytes.extend(middle);
            // The kernel writes the sum where it sends the packet; where it only forwards, the sum must be right.
            let sum = sum_of(&bytes);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            bytes.extend(rest);
            bytes
        }
        IpAddr::V6(to) => {
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend((rest.len() as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend(FROM_V6);
            bytes.extend(to.octets());
            bytes.extend(rest);
            bytes
        }
    }
}

/// The checksum of the internet (RFC 1071).
fn sum_of(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Sends over a raw socket; its protocol stands where others have a port.
fn send_raw(to: IpAddr, protocol: i32, bytes: &[u8]) -> io::Result<()> {
    let to = SocketAddr::new(to, 0);
    let socket = new_socket(family(&to), libc::SOCK_RAW, protocol)?;
    send_to(&socket, 0, bytes, to)
}

fn datagram(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    send_raw(to.ip(), i32::from(IPPROTO_UDP), &udp(to.port(), payload(arguments)?))
}

/// With an IP header of its own.
fn header(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let bytes = packet(to.ip(), IPPROTO_UDP, &[], 0, &udp(to.port(), payload(arguments)?));
    send_raw(to.ip(), IPPROTO_RAW, &bytes)
}

/// ADDRESS PORT PAYLOAD CLAIMED: told to the kernel as a packet to CLAIMED.
fn other_header(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let bytes = packet(to.ip(), IPPROTO_UDP, &[], 0, &udp(to.port(), payload(arguments)?));
    send_raw(parsed(arguments, 3)?, IPPROTO_RAW, &bytes)
}

/// ADDRESS PORT PAYLOAD VIA: a packet to VIA, whose options ask for it to be sent on to ADDRESS.
fn routed_header(arguments: &[OsString]) -> io::Result<()> {
    let IpAddr::V4(to) = parsed(arguments, 0)? else { return Err(io::ErrorKind::InvalidInput.into()) };
    let via: IpAddr = parsed(arguments, 3)?;
    let option = [&[131, 7, 4][..], &to.octets(), &[0]].concat();
    let bytes = packet(via, IPPROTO_UDP, &option, 0, &udp(parsed(arguments, 1)?, payload(arguments)?));
    send_raw(via, IPPROTO_RAW, &bytes)
}

/// The first segment of a TCP conversation, with data.
fn segment(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let bytes = packet(to.ip(), IPPROTO_TCP, &[], 0, &syn(to.port(), payload(arguments)?));
    send_raw(to.ip(), IPPROTO_RAW, &bytes)
}

/// A later fragment, which has no ports.
fn fragment(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let bytes = packet(to.ip(), IPPROTO_UDP, &[], 0x2000 | 16, payload(arguments)?);
    send_raw(to.ip(), IPPROTO_RAW, &bytes)
}

/// An echo request with data: ICMP or ICMPv6.
fn echo_request(to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut bytes = [&[kind, 0, 0, 0, 0, 7, 0, 1], payload].concat();
    let sum = sum_of(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn icmp_of(to: IpAddr) -> i32 {
    if to.is_ipv4() { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 }
}

fn echo(arguments: &[OsString]) -> io::Result<()> {
    let to: IpAddr = parsed(arguments, 0)?;
    send_raw(to, icmp_of(to), &echo_request(to, payload(arguments)?))
}

/// The same over a socket that needs no privilege.
fn ping(arguments: &[OsString]) -> io::Result<()> {
    let to: IpAddr = parsed(arguments, 0)?;
    let at = SocketAddr::new(to, 0);
    let socket = new_socket(family(&at), libc::SOCK_DGRAM, icmp_of(to))?;
    send_to(&socket, 0, &echo_request(to, payload(arguments)?), at)
}

/// ADDRESS PORT PAYLOAD PROTOCOL: the payload as the body of that IP protocol.
fn protocol(arguments: &[OsString]) -> io::Result<()> {
    let number: u8 = parsed(arguments, 3)?;
    let inner = packet(IpAddr::from(FROM_V6), IPPROTO_UDP, &[], 0, &udp(9, payload(arguments)?));
    let body = match number {
        // 6in4: an IPv6 packet as it is. GRE: four bytes of header first (RFC 2784).
        41 => inner,
        47 => [&[0, 0, 0x86, 0xdd], &inner[..]].concat(),
        _ => payload(arguments)?.to_vec(),
    };
    send_raw(parsed(arguments, 0)?, i32::from(number), &body)
}

pub fn ethernet(to: IpAddr, packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if to.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
    [&GATEWAY_MAC[..], &JOB_MAC, &kind, packet].concat()
}

/// `struct sockaddr_ll`: family, protocol, device, three bytes about hardware, and the receiver's hardware address.
fn send_frame(socket: &OwnedFd, device: &str, to: IpAddr, bytes: &[u8]) -> io::Result<()> {
    let mut place = [0_u8; 20];
    place[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
    place[2..4].copy_from_slice(&if to.is_ipv4() { [8, 0] } else { [0x86, 0xdd] });
    place[4..8].copy_from_slice(&device_index(device)?.to_ne_bytes());
    place[11] = 6;
    place[12..18].copy_from_slice(&GATEWAY_MAC);
    // SAFETY: frame and address live through the call and have the lengths given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            place.as_ptr().cast(),
            place.len() as u32,
        )
    };
    returned(sent as i64).map(drop)
}

/// ADDRESS PORT PAYLOAD DEVICE: written to the device as a frame.
fn frame(arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let bytes = packet(to.ip(), IPPROTO_UDP, &[], 0, &udp(to.port(), payload(arguments)?));
    let socket = new_socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    send_frame(&socket, text(arguments, 3)?, to.ip(), &ethernet(to.ip(), &bytes))
}

/// ADDRESS PORT PAYLOAD DEVICE: the same, with a frame header by the kernel.
fn frame_body(arguments: &[OsString]) -> io::Result<()> {
    frame_over(&new_socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0)?, arguments)
}

/// The same over a socket that a child made, in the descriptor table that it shares.
fn frame_shared(arguments: &[OsString]) -> io::Result<()> {
    let share = || {
        let flags = (libc::CLONE_FILES | libc::SIGCHLD) as libc::c_ulong;
        // SAFETY: without CLONE_VM it is a fork; this program has one thread, so the child can go on as its parent would.
        returned(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
    };
    frame_over(&crate::space::made_by(share, libc::AF_PACKET)?, arguments)
}

/// The same by a second thread, which tries until the first has made the socket. A new process each time, because the one
/// that makes it may be ended for that.
fn frame_raced(arguments: &[OsString]) -> io::Result<()> {
    const TRIES: usize = 60;
    for _ in 0..TRIES {
        // SAFETY: this program has one thread here, so the child can go on as its parent would.
        let child = returned(i64::from(unsafe { libc::fork() }))?;
        if child == 0 {
            let next = std::fs::File::open("/dev/null")?.as_raw_fd();
            let arguments = arguments.to_vec();
            let (ready, go) = std::sync::mpsc::channel();
            let sender = std::thread::spawn(move || {
                // SAFETY: every call on it may fail until it is open; never closed by the value.
                let socket = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(next) });
                let _ = ready.send(());
                (0..5000).any(|_| frame_over(&socket, &arguments).is_ok())
            });
            let _ = go.recv();
            // SAFETY: no preconditions.
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0) };
            std::process::exit(i32::from(!sender.join().unwrap_or(false)));
        }
        let mut status = 0;
        // SAFETY: waits for the child made above, and the status lives through the call.
        returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
        if status == 0 {
            return Ok(());
        }
    }
    Err(io::Error::other("no thread was fast enough"))
}

/// The same over a socket that is there already.
pub fn frame_over(socket: &OwnedFd, arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let bytes = packet(to.ip(), IPPROTO_UDP, &[], 0, &udp(to.port(), payload(arguments)?));
    send_frame(socket, text(arguments, 3)?, to.ip(), &bytes)
}

/// A tunnel's device, up, and gone when the descriptor is closed.
pub fn tunnel_device() -> io::Result<OwnedFd> {
    // `TUNSETIFF`, `IFF_TUN | IFF_NO_PI` of linux/if_tun.h.
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = [0_u8; 40];
    // The kernel fills a number in.
    request[..6].copy_from_slice(b"ra-t%d");
    request[16..18].copy_from_slice(&0x1001_u16.to_ne_bytes());
    // SAFETY: the request lives through the call, and has the size of `struct ifreq`.
    returned(i64::from(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) }))?;
    let name = request[..16].split(|&byte| byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    if !std::process::Command::new("ip").args(["link", "set", &name, "up"]).status()?.success() {
        return Err(io::Error::other("the device stays down"));
    }
    Ok(device.into())
}

/// ADDRESS PORT PAYLOAD: given to the kernel as if it had come from another machine, to be forwarded.
fn tun(arguments: &[OsString]) -> io::Result<()> {
    forwarded(&tunnel_device()?, arguments)
}

/// ADDRESS PORT PAYLOAD NUMBER: over a device that came with the process.
fn tun_inherited(arguments: &[OsString]) -> io::Result<()> {
    let number: i32 = parsed(arguments, 3)?;
    // SAFETY: no memory is handed over; fails unless the descriptor came with the process.
    returned(i64::from(unsafe { libc::fcntl(number, libc::F_GETFD) }))?;
    // SAFETY: open by the check above; this program uses it here alone.
    forwarded(&unsafe { OwnedFd::from_raw_fd(number) }, arguments)
}

fn forwarded(device: &OwnedFd, arguments: &[OsString]) -> io::Result<()> {
    let to = address(arguments)?;
    let mut bytes = packet(to.ip(), IPPROTO_UDP, &[], 0, &udp(to.port(), payload(arguments)?));
    // Not from this machine, or the packet would be taken for one that came back.
    if to.is_ipv4() {
        bytes[12..16].copy_from_slice(&[192, 0, 2, 77]);
        bytes[10..12].copy_from_slice(&[0, 0]);
        let sum = sum_of(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    // SAFETY: the bytes live through the call and have the length given.
    returned(unsafe { libc::write(device.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as i64).map(drop)
}
