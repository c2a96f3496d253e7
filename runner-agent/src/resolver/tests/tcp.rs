use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use super::fake::{DEADLINE, Fake, Running, framed, read_framed, start};
use super::{host_rules, question};
use crate::resolver::{Limits, Transport};

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.handle.endpoints().v4).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn ids(stream: &mut TcpStream) -> Vec<u16> {
    let mut ids: Vec<u16> = std::iter::from_fn(|| read_framed(stream))
        .map(|bytes| Message::from_vec(&bytes).unwrap().metadata.id)
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn questions_in_one_segment_are_each_decided_and_answered() {
    let fake = Fake::with_address(60, [203, 0, 113, 9]);
    let mut running = start(host_rules(&["mirror.example.org"]), &[fake.address], Limits::default());
    let mut stream = connect(&running);
    let asked = [(1, "mirror.example.org"), (2, "drop.example"), (3, "localhost"), (4, "mirror.example.org")];
    let segment: Vec<u8> = asked.iter().flat_map(|(id, asked)| framed(&question(*id, asked, RecordType::A))).collect();
    stream.write_all(&segment).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ids(&mut stream), [1, 2, 3, 4]);
    assert_eq!(fake.names(), ["mirror.example.org."]);
    assert_eq!(running.answered().transport, Transport::Tcp);
}

#[test]
fn more_questions_than_are_worked_on_at_once_are_all_answered() {
    let limits = Limits { tcp_pipeline: 3, ..Limits::default() };
    let running = start(host_rules(&[]), &[], limits);
    let mut stream = connect(&running);
    let segment: Vec<u8> = (0..500).flat_map(|id| framed(&question(id, "localhost", RecordType::A))).collect();
    stream.write_all(&segment).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ids(&mut stream), (0..500).collect::<Vec<_>>());
}

#[test]
fn a_question_that_comes_byte_by_byte_is_answered() {
    let running = start(host_rules(&[]), &[], Limits::default());
    let mut stream = connect(&running);
    stream.set_nodelay(true).unwrap();
    for byte in framed(&question(5, "localhost", RecordType::A)) {
        stream.write_all(&[byte]).unwrap();
    }
    let answer = Message::from_vec(&read_framed(&mut stream).unwrap()).unwrap();
    assert_eq!((answer.metadata.id, answer.answers.len()), (5, 1));
}

#[test]
fn a_silent_connection_and_one_with_an_endless_question_are_closed() {
    let limits = Limits { tcp_idle: Duration::from_millis(50), ..Limits::default() };
    let running = start(host_rules(&[]), &[], limits);
    let begin = Instant::now();
    assert_eq!(connect(&running).read(&mut [0]).unwrap(), 0);
    assert!(begin.elapsed() < Duration::from_secs(5));
    let running = start(host_rules(&[]), &[], Limits::default());
    let mut stream = connect(&running);
    stream.write_all(&60_000_u16.to_be_bytes()).unwrap();
    // Closed with a reset if what was sent is unread.
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_connection_too_many_is_closed_and_the_others_go_on() {
    let limits = Limits { tcp_connections: 2, ..Limits::default() };
    let running = start(host_rules(&[]), &[], limits);
    let mut kept: Vec<TcpStream> = (0..2).map(|_| connect(&running)).collect();
    assert!(matches!(connect(&running).read(&mut [0]), Ok(0) | Err(_)));
    for stream in &mut kept {
        stream.write_all(&framed(&question(5, "localhost", RecordType::A))).unwrap();
        assert!(read_framed(stream).is_some());
    }
}
