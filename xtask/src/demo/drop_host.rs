//! The other side of the planted dependency: a resolver that knows one name, and a listener that swallows what comes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

/// The name that the resolver knows; `.example` is reserved (RFC 2606).
pub const NAME: &str = "drop.example";
/// Where the listener waits.
pub const PORT: u16 = 443;
/// The first line of output: both sockets are bound.
pub const READY: &str = "ready";

#[derive(Args)]
pub struct Options {
    /// The address to listen on and to answer with
    #[arg(long)]
    address: Ipv4Addr,
}

/// Runs until standard input is closed; then prints how many bytes came.
pub fn run(options: &Options) -> Result<()> {
    let address = options.address;
    let resolver = UdpSocket::bind((address, 53)).context("the resolver's socket")?;
    let listener = TcpListener::bind((address, PORT)).context("the listener's socket")?;
    let received = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || resolve(&resolver, address));
    let counter = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            swallow(stream, &counter);
        }
    });
    println!("{READY}");
    io::copy(&mut io::stdin(), &mut io::sink()).context("standard input")?;
    // Whoever started this may be gone by now.
    let _ = writeln!(io::stdout(), "{}", received.load(Ordering::Relaxed));
    Ok(())
}

fn swallow(mut stream: TcpStream, received: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        received.fetch_add(length, Ordering::Relaxed);
    }
}

fn resolve(socket: &UdpSocket, address: Ipv4Addr) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if let Some(answer) = answer(&buffer[..length], address) {
            // A question whose answer can't be sent is asked again.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The answer to one question for an address (RFC 1035, section 4); `None` for what is no question.
fn answer(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let (name, question_end) = name_at(query, HEADER)?;
    let question = query.get(HEADER..question_end + 4)?;
    let is_address = question.ends_with(&[0, 1, 0, 1]);
    let known = name.eq_ignore_ascii_case(NAME);

    // Identifier of the query; a response, recursion as wished; no error, or no such name.
    let mut answer = vec![query[0], query[1], 0x81, if known { 0x80 } else { 0x83 }];
    // One question; one answer or none; no authority, no additional records.
    answer.extend([0, 1, 0, u8::from(known && is_address), 0, 0, 0, 0]);
    answer.extend(question);
    if known && is_address {
        // The question's name again (a pointer to offset 12), type A, class IN, a minute to live, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The dotted name at `at`, and the offset behind it.
fn name_at(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => return Some((labels.join("."), at)),
            1..=63 => labels.push(String::from_utf8_lossy(message.get(at..at + length)?).into_owned()),
            // A question has nothing to point back to.
            _ => return None,
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn the_one_known_name_has_an_address() {
        let answer = answer(&query("Drop.example", 1), Ipv4Addr::new(203, 0, 113, 66)).expect("an answer");
        assert_eq!(answer[..4], [0xab, 0xcd, 0x81, 0x80]);
        assert!(answer.ends_with(&[0, 4, 203, 0, 113, 66]));
    }

    #[test]
    fn other_names_do_not_exist_and_other_types_have_no_record() {
        let other = answer(&query("other.example", 1), Ipv4Addr::LOCALHOST).expect("an answer");
        assert_eq!((other[3] & 0x0f, other[7]), (3, 0));
        let ipv6 = answer(&query(NAME, 28), Ipv4Addr::LOCALHOST).expect("an answer");
        assert_eq!((ipv6[3] & 0x0f, ipv6[7]), (0, 0));
    }

    #[test]
    fn a_message_cut_anywhere_is_no_question() {
        let whole = query(NAME, 1);
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], Ipv4Addr::LOCALHOST), None, "{length} bytes");
        }
    }
}
