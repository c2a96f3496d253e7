//! The other side of the planted dependency: a resolver that knows one name, and a listener that swallows what comes. Both
//! count all that reaches them.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

/// The name that the resolver knows; `.example` is reserved (RFC 2606).
pub const NAME: &str = "drop.example";
/// Where the listener waits.
pub const PORT: u16 = 443;
/// The first line of output: both sockets are bound.
pub const READY: &str = "ready";
/// What a sender hears when everything it sent is counted.
pub const SWALLOWED: &[u8] = b"swallowed\n";

#[derive(Args)]
pub struct Options {
    /// The address to listen on and to answer with
    #[arg(long)]
    address: Ipv4Addr,
}

/// What reached the drop host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub questions: usize,
    pub connections: usize,
    pub bytes: usize,
}

impl Received {
    /// Reads it back from the line that the drop host prints.
    pub fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { questions: next()?, connections: next()?, bytes: next()? })
    }
}

impl Display for Received {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { questions, connections, bytes } = self;
        write!(f, "{bytes} bytes ({connections} connections, {questions} questions)")
    }
}

#[derive(Default)]
struct Counters {
    questions: AtomicUsize,
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

/// Runs until standard input is closed; then prints how many questions, connections and bytes came.
pub fn run(options: &Options) -> Result<()> {
    let address = options.address;
    let resolver = UdpSocket::bind((address, 53)).context("the resolver's socket")?;
    let listener = TcpListener::bind((address, PORT)).context("the listener's socket")?;
    let received = Arc::new(Counters::default());
    let counters = Arc::clone(&received);
    thread::spawn(move || resolve(&resolver, address, &counters));
    let counters = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            counters.connections.fetch_add(1, Relaxed);
            swallow(stream, &counters);
        }
    });
    println!("{READY}");
    io::copy(&mut io::stdin(), &mut io::sink()).context("standard input")?;
    // Whoever started this may be gone by now.
    let Counters { questions, connections, bytes } = &*received;
    let [questions, connections, bytes] = [questions, connections, bytes].map(|counter| counter.load(Relaxed));
    let _ = writeln!(io::stdout(), "{questions} {connections} {bytes}");
    Ok(())
}

/// Says at the end that all of it was counted.
fn swallow(mut stream: TcpStream, counters: &Counters) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        counters.bytes.fetch_add(length, Relaxed);
    }
    // Who sent it may have gone.
    let _ = stream.write_all(SWALLOWED);
}

fn resolve(socket: &UdpSocket, address: Ipv4Addr, counters: &Counters) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        counters.questions.fetch_add(1, Relaxed);
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
    fn what_was_received_is_read_back_from_its_line() {
        let received = Received { questions: 1, connections: 2, bytes: 30 };
        assert_eq!(Received::parse("1 2 30\n"), Some(received));
        assert_eq!(Received::parse("1 2"), None);
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
