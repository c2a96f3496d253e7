//! Asking the runner's own resolvers: a message of our own making, from a port of its own, and only its own answer.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::is_answer_to;
use super::limits::Limits;
use super::reply::OUR_UDP_SIZE;

/// What is taken of a datagram. More than we announce, because some servers don't look.
const MAX_DATAGRAM: usize = 4096;

/// The upstreams, and how they are asked.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    tries: u32,
    /// The server that answered last is asked first.
    preferred: Cell<usize>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What became of each try.
    pub detail: String,
    /// Whether no server said anything. One that answers SERVFAIL is there.
    pub is_outage: bool,
}

impl Upstream {
    /// These servers, asked in turn.
    pub fn new(servers: Vec<SocketAddr>, limits: &Limits) -> Self {
        Self { servers, timeout: limits.upstream_timeout, tries: limits.upstream_tries.max(1), preferred: Cell::new(0) }
    }

    /// Asks until a server says what the name is, or that there is none.
    pub async fn ask(&self, name: &Name, query_type: RecordType) -> Result<Message, Failure> {
        let count = self.servers.len();
        if count == 0 {
            let detail = "no upstream is known; the runner's resolv.conf should name one".to_owned();
            return Err(Failure { detail, is_outage: true });
        }
        let first = self.preferred.get();
        let mut told: Vec<String> = Vec::new();
        let mut is_outage = true;
        for attempt in 0..self.tries as usize {
            if attempt >= count && !is_outage {
                break;
            }
            let index = (first + attempt) % count;
            let server = self.servers[index];
            match self.exchange(server, name, query_type).await {
                Ok(message) => {
                    let code = message.metadata.response_code;
                    if matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
                        self.preferred.set(index);
                        return Ok(message);
                    }
                    is_outage = false;
                    told.push(format!("{server} answered {code:?}"));
                }
                Err(error) => told.push(format!("{server}: {error}")),
            }
        }
        Err(Failure { detail: told.join("; "), is_outage })
    }

    async fn exchange(&self, server: SocketAddr, name: &Name, query_type: RecordType) -> io::Result<Message> {
        let message = self.in_time(over_udp(server, name, query_type)).await?;
        if message.metadata.truncation { self.in_time(over_tcp(server, name, query_type)).await } else { Ok(message) }
    }

    async fn in_time<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:?}", self.timeout));
        timeout(self.timeout, work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// A question with nothing of the client's in it but the name and the type.
fn question(name: &Name, query_type: RecordType) -> io::Result<(u16, Vec<u8>)> {
    let mut id = [0; 2];
    getrandom(&mut id, GetRandomFlags::empty())?;
    let id = u16::from_ne_bytes(id);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), query_type));
    let mut edns = Edns::new();
    edns.set_max_payload(OUR_UDP_SIZE);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(io::Error::other)?;
    Ok((id, bytes))
}

async fn over_udp(server: SocketAddr, name: &Name, query_type: RecordType) -> io::Result<Message> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let (id, bytes) = question(name, query_type)?;
    // A socket for each question: the port is then as hard to guess as the id, and the kernel drops other senders.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What doesn't fit may be forged: the real answer may still come.
        if let Ok(message) = Message::from_vec(&buffer[..length])
            && is_answer_to(&message, id, name, query_type)
        {
            return Ok(message);
        }
    }
}

async fn over_tcp(server: SocketAddr, name: &Name, query_type: RecordType) -> io::Result<Message> {
    let (id, bytes) = question(name, query_type)?;
    let stream = TcpStream::connect(server).await?;
    write_framed(&stream, &bytes).await?;
    let mut length = [0; 2];
    read_all(&stream, &mut length).await?;
    let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_all(&stream, &mut buffer).await?;
    let message = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if is_answer_to(&message, id, name, query_type) {
        Ok(message)
    } else {
        Err(io::Error::other("its answer over TCP belongs to another question"))
    }
}

/// Writes a message with its length in front, in one segment where possible.
pub(super) async fn write_framed(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), bytes].concat();
    let mut rest = framed.as_slice();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn read_all(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.readable().await?;
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
