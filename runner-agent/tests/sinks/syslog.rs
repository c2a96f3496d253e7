//! Syslog: messages counted in octets over TCP, one a datagram over a Unix socket, and a server that goes and comes back.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use runner_agent::sink::settings::{Address, Settings, Target};
use runner_agent::sink::wire::format::Format;
use runner_agent::sink::{Deliveries, Outbox};

use super::{about, finding, settings};

fn start(address: Address, folder: &Path) -> (Deliveries, Outbox) {
    let settings =
        Settings { target: Target::Syslog(address), format: Format::Syslog, ..settings("sys", "http://127.0.0.1:9/") };
    let deliveries = Deliveries::start(&[settings], folder).unwrap();
    let outbox = deliveries.outboxes(&about("job")).unwrap().remove(0);
    (deliveries, outbox)
}

/// The number of the notice that a message is of.
fn seq_of(message: &[u8]) -> u64 {
    let text = str::from_utf8(message).unwrap();
    assert!(text.starts_with('<'), "a message begins with its priority: {text}");
    let rest = text.split_once(" seq=\"").unwrap().1;
    rest.split_once('"').unwrap().0.parse().unwrap()
}

/// The next message of a stream, by the length that stands before it.
fn message(stream: &mut BufReader<TcpStream>) -> u64 {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).unwrap();
    let length: usize = str::from_utf8(&length).unwrap().trim_end().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    seq_of(&body)
}

#[test]
fn over_tcp_each_message_has_its_length_before_it_and_a_closed_connection_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (deliveries, outbox) = start(Address::Tcp("127.0.0.1".to_owned(), port), folder.path());
    outbox.offer(&finding(&"job".into(), 1));
    outbox.offer(&finding(&"job".into(), 2));
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    assert_eq!([message(&mut stream), message(&mut stream)], [1, 2]);
    drop(stream);
    outbox.offer(&finding(&"job".into(), 3));
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    assert_eq!(message(&mut stream), 3, "seen to be closed before anything was written to it");
    outbox.finish();
    assert_eq!(deliveries.drain(None), []);
}

#[test]
fn over_a_unix_socket_each_message_is_a_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (deliveries, outbox) = start(Address::Unix(path), &folder.path().join("spool"));
    for seq in 1..=3 {
        outbox.offer(&finding(&"job".into(), seq));
    }
    outbox.finish();
    assert_eq!(deliveries.drain(None), []);
    let mut bytes = [0; 4096];
    let seqs = [(); 3].map(|()| {
        let count = socket.recv(&mut bytes).unwrap();
        seq_of(&bytes[..count])
    });
    assert_eq!(seqs, [1, 2, 3]);
}
