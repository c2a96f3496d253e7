//! Frames past every socket that is judged: `act device TRICK ADDRESS PORT PAYLOAD DEVICE`.

use std::ffi::{CString, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use crate::raw::{IPPROTO_UDP, ethernet, packet, payload, udp};
use crate::socket::{address, new_socket};
use crate::{Trick, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[("macvtap", macvtap), ("old-packet-socket", old_packet_socket)];

fn frame(to: SocketAddr, arguments: &[OsString]) -> io::Result<Vec<u8>> {
    let bytes = packet(to.ip(), IPPROTO_UDP, &[], 0, &udp(to.port(), payload(arguments)?));
    Ok(ethernet(to.ip(), &bytes))
}

/// Written to a device of the job's own that stands beside DEVICE on the same wire.
fn macvtap(arguments: &[OsString]) -> io::Result<()> {
    const NAME: &str = "ra-mt";
    /// `struct virtio_net_hdr`, which comes first.
    const FRONT: [u8; 10] = [0; 10];
    let frame = [&FRONT[..], &frame(address(arguments)?, arguments)?].concat();
    let on = text(arguments, 3)?;
    for step in [&["link", "add", "link", on, "name", NAME, "type", "macvtap"][..], &["link", "set", NAME, "up"]] {
        if !Command::new("ip").args(step).status()?.success() {
            return Err(io::Error::other("the device can't be made"));
        }
    }
    let written = written(NAME, &frame);
    // Others of the job make one too.
    Command::new("ip").args(["link", "del", NAME]).status()?;
    written
}

fn written(name: &str, frame: &[u8]) -> io::Result<()> {
    let wrong = || io::Error::other("the device has no number");
    // What lies in /sys is about the network of whoever mounted it.
    let number = crate::space::with_own_sysfs(|sys| {
        let mut entries = fs::read_dir(sys.join("class/net").join(name))?.flatten();
        let tap = entries.find(|entry| entry.file_name().as_encoded_bytes().starts_with(b"tap"));
        fs::read_to_string(tap.ok_or_else(wrong)?.path().join("dev"))
    })?;
    let (major, minor) = number.trim().split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| text.parse().map_err(|_| wrong());
    let device = libc::makedev(number(major)?, number(minor)?);
    let file = std::env::temp_dir().join(format!("runner-agent-e2e-tap-{}", std::process::id()));
    let path = CString::new(file.to_str().expect("a temporary path is text"))?;
    // SAFETY: the path ends in NUL and lives through the call.
    returned(i64::from(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, device) }))?;
    let opened = OpenOptions::new().read(true).write(true).open(&file);
    fs::remove_file(&file)?;
    opened?.write_all(frame)
}

/// Written to the device over a packet socket that was asked for as one of IPv4, as programs did before Linux 2.2.
fn old_packet_socket(arguments: &[OsString]) -> io::Result<()> {
    /// `SOCK_PACKET`, which the C library's headers advise against.
    const SOCK_PACKET: i32 = 10;
    let to = address(arguments)?;
    let frame = frame(to, arguments)?;
    let socket = new_socket(libc::AF_INET, SOCK_PACKET, 0)?;
    // `struct sockaddr_pkt`: family, the device's name, protocol.
    let mut place = [0_u8; 18];
    place[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
    let name = text(arguments, 3)?.as_bytes();
    place[2..2 + name.len()].copy_from_slice(name);
    place[16..].copy_from_slice(&[8, 0]);
    // SAFETY: frame and address live through the call and have the lengths given.
    let sent = unsafe {
        let place_len = place.len() as u32;
        libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, place.as_ptr().cast(), place_len)
    };
    returned(sent as i64).map(drop)
}
