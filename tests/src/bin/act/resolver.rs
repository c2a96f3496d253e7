//! A name server that knows what it is told: `act resolver serve ADDRESS NAME=IPV4…`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::{Trick, parsed, say, text};

pub const TRICKS: &[(&str, Trick)] = &[("serve", serve), ("ask", ask)];

const TYPE_A: [u8; 2] = [0, 1];

fn serve(arguments: &[OsString]) -> io::Result<()> {
    let address: IpAddr = parsed(arguments, 0)?;
    let mut known: HashMap<String, Ipv4Addr> = HashMap::new();
    for word in &arguments[1..] {
        let pair = word.to_str().and_then(|word| word.split_once('='));
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "NAME=IPV4 is the form");
        let (name, address) = pair.ok_or_else(wrong)?;
        known.insert(name.to_owned(), address.parse().map_err(|_| wrong())?);
    }
    let socket = UdpSocket::bind(SocketAddr::new(address, 53))?;
    say("ready")?;
    let mut buffer = [0; 1500];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        if let Some(answer) = answer(&buffer[..len], &known) {
            socket.send_to(&answer, from)?;
        }
    }
}

/// The name in a question, and where the question ends.
fn question(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*message.get(at)?);
        if len == 0 {
            return Some((labels.join("."), at + 5));
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?).to_ascii_lowercase());
        at += 1 + len;
    }
}

/// RFC 1035: the question again, and an address if there is one.
fn answer(message: &[u8], known: &HashMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    let (name, end) = question(message)?;
    let found = known.get(&name);
    let address = found.filter(|_| message.get(end - 4..end - 2) == Some(&TYPE_A));
    let code = if found.is_some() { 0 } else { 3 };
    let mut answer = message[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(message.get(12..end)?);
    if let Some(address) = address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// SERVER NAME: asks that server, whatever the system's resolver is, and says the address.
fn ask(arguments: &[OsString]) -> io::Result<()> {
    let server: IpAddr = parsed(arguments, 0)?;
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    socket.connect(SocketAddr::new(server, 53))?;
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in text(arguments, 1)?.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    socket.send(&message)?;
    let mut buffer = [0; 1500];
    let len = socket.recv(&mut buffer)?;
    match buffer[..len] {
        [.., a, b, c, d] if len > message.len() => say(&Ipv4Addr::new(a, b, c, d).to_string()),
        _ => Err(io::Error::other("the name has no address")),
    }
}
