//! What the tests of faults need: a job that goes on while its agent dies, name servers that fail, links let go of.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use crate::{Trick, parsed, returned, say, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("connects", connects),
    ("reach", reach),
    ("moody", moody),
    ("plenty", plenty),
    ("ask", ask),
    ("ask-many", ask_many),
    ("detach", detach),
];

const HEADER: usize = 12;

/// COUNT ECHO OPEN CLOSED: holds a connection to the port ECHO, and makes so many connections in turn to the ports OPEN
/// and CLOSED of loopback. Says `half` in the middle, and at the end how many of each came about and how many were
/// refused for want of permission; then `echo` if the connection that it held still answers.
fn connects(arguments: &[OsString]) -> io::Result<()> {
    let count: u32 = parsed(arguments, 0)?;
    let at = |place| Ok::<_, io::Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, parsed::<u16>(arguments, place)?)));
    let (echo, places) = (at(1)?, [at(2)?, at(3)?]);
    let mut held = TcpStream::connect(echo)?;
    held.set_read_timeout(Some(Duration::from_secs(5)))?;
    echoed(&mut held, 1)?;
    let (mut came_about, mut refused) = ([0_u32; 2], [0_u32; 2]);
    for number in 0..count {
        let which = (number % 2) as usize;
        match TcpStream::connect(places[which]) {
            Ok(_) => came_about[which] += 1,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => refused[which] += 1,
            Err(error) => return Err(error),
        }
        if number == count / 2 {
            say("half")?;
        }
    }
    say(&format!("open {} {} closed {} {}", came_about[0], refused[0], came_about[1], refused[1]))?;
    echoed(&mut held, 2)?;
    say("echo")?;
    // Stays, so that its cgroup does.
    io::stdin().lock().lines().next();
    Ok(())
}

fn echoed(held: &mut TcpStream, byte: u8) -> io::Result<()> {
    held.write_all(&[byte])?;
    let mut back = [0];
    held.read_exact(&mut back)?;
    if back == [byte] { Ok(()) } else { Err(io::Error::other("another byte came back")) }
}

/// PORTS…: connects to each on loopback, and says `open` or `closed` of each.
fn reach(arguments: &[OsString]) -> io::Result<()> {
    for place in 0..arguments.len() {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, parsed(arguments, place)?)) {
            Ok(_) => say("open")?,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => say("closed")?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The question again with these addresses behind it.
fn answer(message: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *message.get(end)? != 0 {
        end += 1 + usize::from(message[end]);
    }
    let mut answer = message.get(..end + 5)?.to_vec();
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    for address in addresses {
        // RFC 1035: the name by a pointer, type A, class IN, ten minutes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// ADDRESS FILE: a name server that answers as the file says at the moment: nothing when there is `silent` in it, noise
/// for `noise`, another question's answer for `wrong`, an address else.
fn moody(arguments: &[OsString]) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(parsed(arguments, 0)?, 53))?;
    say("ready")?;
    let mut buffer = [0; 1500];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        let mut answer = answer(&buffer[..len], &[Ipv4Addr::new(203, 0, 113, 5)]).unwrap_or_default();
        match fs::read_to_string(&arguments[1]).unwrap_or_default().trim() {
            "silent" => continue,
            "noise" => answer = vec![0xff; 300],
            "wrong" => answer[1] ^= 1,
            _ => {}
        }
        socket.send_to(&answer, from)?;
    }
}

/// ADDRESS: a name server that has sixty-four addresses for every name, and never one of them twice.
fn plenty(arguments: &[OsString]) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(parsed(arguments, 0)?, 53))?;
    say("ready")?;
    let mut buffer = [0; 1500];
    let mut next = Ipv4Addr::new(8, 0, 0, 1).to_bits();
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        let addresses: Vec<Ipv4Addr> = (next..next + 64).map(Ipv4Addr::from_bits).collect();
        next += 64;
        if let Some(answer) = answer(&buffer[..len], &addresses) {
            socket.send_to(&answer, from)?;
        }
    }
}

/// The code of the answer to a question for an address.
fn asked(server: IpAddr, name: &str) -> io::Result<u8> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect(SocketAddr::new(server, 53))?;
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    socket.send(&message)?;
    let mut buffer = [0; 1500];
    let len = socket.recv(&mut buffer)?;
    if len > HEADER { Ok(buffer[3] & 0xf) } else { Err(io::Error::other("an answer without a header")) }
}

/// SERVER NAME: says the code of the answer.
fn ask(arguments: &[OsString]) -> io::Result<()> {
    say(&asked(parsed(arguments, 0)?, text(arguments, 1)?)?.to_string())
}

/// SERVER COUNT DOMAIN: asks for so many names of the domain; says how many answers had the code 0 before the first that
/// had not, and that code.
fn ask_many(arguments: &[OsString]) -> io::Result<()> {
    let (server, count, domain) = (parsed(arguments, 0)?, parsed::<u32>(arguments, 1)?, text(arguments, 2)?);
    for number in 0..count {
        let code = asked(server, &format!("n{number}.{domain}"))?;
        if code != 0 {
            return say(&format!("{number} {code}"));
        }
    }
    say(&format!("{count} 0"))
}

/// ID: lets a link go of its hook, as an administrator can.
fn detach(arguments: &[OsString]) -> io::Result<()> {
    const BPF_LINK_GET_FD_BY_ID: u32 = 30;
    const BPF_LINK_DETACH: u32 = 34;
    // `union bpf_attr` for the first: id, next id, flags; for the second: the descriptor.
    let by_id = [parsed::<u32>(arguments, 0)?, 0, 0];
    // SAFETY: the attributes live through the call, and the size is theirs.
    let descriptor =
        returned(unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_GET_FD_BY_ID, by_id.as_ptr(), size_of_val(&by_id)) })?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    let which = [link.as_raw_fd()];
    // SAFETY: as above.
    returned(unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, which.as_ptr(), size_of_val(&which)) }).map(drop)
}
