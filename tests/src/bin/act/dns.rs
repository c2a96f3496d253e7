//! Questions put in every way: `act dns TRICK SERVER NAME …`. Says what was answered; a refusal is an error.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::{Trick, parsed, say, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("udp", udp),
    ("tcp", tcp),
    ("unconnected", unconnected),
    ("pipelined", pipelined),
    ("two-questions", two_questions),
    ("option", option),
    ("trailing", trailing),
    ("additional", additional),
    ("operation", operation),
    ("chaos", chaos),
    ("many", many),
    ("forge", forge),
];

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(2);

fn server(arguments: &[OsString]) -> io::Result<SocketAddr> {
    Ok(SocketAddr::new(parsed(arguments, 0)?, 53))
}

fn type_of(name: &str) -> io::Result<u16> {
    match name {
        "A" => Ok(1),
        "NULL" => Ok(10),
        "PTR" => Ok(12),
        "TXT" => Ok(16),
        "AAAA" => Ok(28),
        "SRV" => Ok(33),
        "HTTPS" => Ok(65),
        "ANY" => Ok(255),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no such type")),
    }
}

fn name_of(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    labels.chain([0]).collect()
}

/// A question of class IN.
fn question(name: &str, kind: u16) -> Vec<u8> {
    [name_of(name), kind.to_be_bytes().to_vec(), vec![0, 1]].concat()
}

/// A message with these counts of questions, answers, authorities and additional records.
fn message(counts: [u16; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0];
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend(parts.concat());
    bytes
}

/// SERVER NAME TYPE
fn asked(arguments: &[OsString]) -> io::Result<Vec<u8>> {
    Ok(message([1, 0, 0, 0], &[question(text(arguments, 1)?, type_of(text(arguments, 2)?)?)]))
}

fn datagram_socket(like: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(if like.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(WITHIN))?;
    Ok(socket)
}

fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let socket = datagram_socket(to)?;
    socket.connect(to)?;
    socket.send(bytes)?;
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer)?;
    judge(&buffer[..len])
}

/// Says an answer's code, and its last four bytes as an address if it has records.
fn judge(answer: &[u8]) -> io::Result<()> {
    let [.., a, b, c, d] = answer[..] else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let code = answer.get(3).map_or(15, |byte| byte & 0xf);
    match code {
        0 if answer[7] > 0 => say(&format!("answered {}", Ipv4Addr::new(a, b, c, d))),
        0 => say("answered without records"),
        1 => Err(io::Error::other("FORMERR")),
        2 => Err(io::Error::other("SERVFAIL")),
        3 => Err(io::Error::other("NXDOMAIN")),
        4 => Err(io::Error::other("NOTIMP")),
        5 => Err(io::Error::other("REFUSED")),
        other => Err(io::Error::other(format!("answer code {other}"))),
    }
}

fn udp(arguments: &[OsString]) -> io::Result<()> {
    exchange(server(arguments)?, &asked(arguments)?)
}

fn unconnected(arguments: &[OsString]) -> io::Result<()> {
    let to = server(arguments)?;
    let socket = datagram_socket(to)?;
    socket.send_to(&asked(arguments)?, to)?;
    let mut buffer = [0; 4096];
    let (len, from) = socket.recv_from(&mut buffer)?;
    if from != to {
        return Err(io::Error::other(format!("{from} answered")));
    }
    judge(&buffer[..len])
}

fn conversation(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    Ok(stream)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    judge(&answer)
}

fn tcp(arguments: &[OsString]) -> io::Result<()> {
    let mut stream = conversation(server(arguments)?)?;
    stream.write_all(&framed(&asked(arguments)?))?;
    read_answer(&mut stream)
}

/// SERVER NAME TYPE FIRST: FIRST and NAME in one segment.
fn pipelined(arguments: &[OsString]) -> io::Result<()> {
    let mut stream = conversation(server(arguments)?)?;
    let first = message([1, 0, 0, 0], &[question(text(arguments, 3)?, type_of(text(arguments, 2)?)?)]);
    stream.write_all(&[framed(&first), framed(&asked(arguments)?)].concat())?;
    // Answers may come in any order: the refusal of one is no answer to the other.
    let (one, other) = (read_answer(&mut stream), read_answer(&mut stream));
    one.and(other)
}

/// SERVER NAME TYPE FIRST: both in one message.
fn two_questions(arguments: &[OsString]) -> io::Result<()> {
    let kind = type_of(text(arguments, 2)?)?;
    let both = [question(text(arguments, 3)?, kind), question(text(arguments, 1)?, kind)];
    exchange(server(arguments)?, &message([2, 0, 0, 0], &both))
}

/// SERVER NAME TYPE DATA: with an EDNS option of the private range that holds DATA (RFC 6891).
fn option(arguments: &[OsString]) -> io::Result<()> {
    let data = text(arguments, 3)?.as_bytes();
    let asked = question(text(arguments, 1)?, type_of(text(arguments, 2)?)?);
    let len = data.len() as u16;
    let mut record = vec![0, 0, 41, 4, 0xd0, 0, 0, 0, 0];
    record.extend((len + 4).to_be_bytes());
    record.extend(65_001_u16.to_be_bytes());
    record.extend(len.to_be_bytes());
    record.extend(data);
    exchange(server(arguments)?, &message([1, 0, 0, 1], &[asked, record]))
}

/// SERVER NAME TYPE DATA: with DATA behind the message's end.
fn trailing(arguments: &[OsString]) -> io::Result<()> {
    let bytes = [asked(arguments)?, text(arguments, 3)?.as_bytes().to_vec()].concat();
    exchange(server(arguments)?, &bytes)
}

/// SERVER NAME TYPE DATA: with a record of its own, whose name is DATA.
fn additional(arguments: &[OsString]) -> io::Result<()> {
    let asked = question(text(arguments, 1)?, type_of(text(arguments, 2)?)?);
    let record = [name_of(text(arguments, 3)?), vec![0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]].concat();
    exchange(server(arguments)?, &message([1, 0, 0, 1], &[asked, record]))
}

/// SERVER NAME TYPE: as an update (RFC 2136), which is no question.
fn operation(arguments: &[OsString]) -> io::Result<()> {
    let mut bytes = asked(arguments)?;
    bytes[2] = 5 << 3;
    exchange(server(arguments)?, &bytes)
}

/// SERVER NAME TYPE: in the class CHAOS.
fn chaos(arguments: &[OsString]) -> io::Result<()> {
    let mut bytes = asked(arguments)?;
    let last = bytes.len() - 1;
    bytes[last] = 3;
    exchange(server(arguments)?, &bytes)
}

/// SERVER NAME TYPE COUNT: so many other names below the same one first.
fn many(arguments: &[OsString]) -> io::Result<()> {
    let to = server(arguments)?;
    let name = text(arguments, 1)?;
    let kind = type_of(text(arguments, 2)?)?;
    let count: u32 = parsed(arguments, 3)?;
    let (_, parent) = name.split_once('.').ok_or(io::ErrorKind::InvalidInput)?;
    for number in 0..count {
        // Only the last question's answer matters.
        let _ = exchange(to, &message([1, 0, 0, 0], &[question(&format!("w{number}.{parent}"), kind)]));
    }
    exchange(to, &asked(arguments)?)
}

/// SERVER NAME TYPE ADDRESS: a server of its own at SERVER, which says that NAME has ADDRESS; and asks it.
fn forge(arguments: &[OsString]) -> io::Result<()> {
    let to = server(arguments)?;
    let address: IpAddr = parsed(arguments, 3)?;
    let IpAddr::V4(address) = address else { return Err(io::ErrorKind::InvalidInput.into()) };
    let asked = asked(arguments)?;
    let own = UdpSocket::bind(to)?;
    own.set_read_timeout(Some(Duration::from_millis(500)))?;
    let serving = std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let Ok((len, from)) = own.recv_from(&mut buffer) else { return };
        let mut answer = buffer[..len].to_vec();
        answer[2] = 0x81;
        answer[3] = 0x80;
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
        let _ = own.send_to(&answer, from);
    });
    let answered = exchange(to, &asked);
    let _ = serving.join();
    answered
}
