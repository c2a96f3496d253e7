//! A syslog server: over TCP with each message counted in octets (RFC 6587, 3.4.1), or over a Unix socket.
//!
//! Syslog has no answers. What was handed to the kernel counts as delivered; what was on its way when the server went away
//! is lost, and nobody can know.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixDatagram, UnixStream};

use super::{Attempt, Parcel};
use crate::sink::settings::Address;

/// A syslog server.
pub struct Server {
    address: Address,
    timeout: Duration,
    connection: Option<Connection>,
}

enum Connection {
    Tcp(TcpStream),
    Stream(UnixStream),
    Datagrams(UnixDatagram),
}

impl Server {
    pub(super) fn new(address: &Address, timeout: Duration) -> Self {
        Self { address: address.clone(), timeout, connection: None }
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Attempt {
        let sent = tokio::time::timeout(self.timeout, self.write(parcel)).await;
        let why = match sent {
            Ok(Ok(())) => return Attempt::Delivered,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no progress within {:?}", self.timeout),
        };
        // Half a message may be out: the next one begins on another connection.
        self.connection = None;
        Attempt::Failed { why, wait: None }
    }

    async fn write(&mut self, parcel: &Parcel) -> std::io::Result<()> {
        if let Some(connection) = &self.connection
            && connection.is_closed()
        {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            place => place.insert(connect(&self.address).await?),
        };
        match connection {
            Connection::Tcp(stream) => stream.write_all(&counted(parcel)).await,
            Connection::Stream(stream) => stream.write_all(&counted(parcel)).await,
            Connection::Datagrams(socket) => {
                for item in &parcel.items {
                    socket.send(item).await?;
                }
                Ok(())
            }
        }
    }
}

impl Connection {
    /// Whether the other side has closed it: the first write after that would succeed and go nowhere.
    fn is_closed(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let read = match self {
            Self::Tcp(stream) => recv(stream, byte.as_mut_slice(), flags),
            Self::Stream(stream) => recv(stream, byte.as_mut_slice(), flags),
            Self::Datagrams(_) => return false,
        };
        match read {
            Ok((read, _)) => read == 0,
            Err(error) => error != rustix::io::Errno::AGAIN,
        }
    }
}

async fn connect(address: &Address) -> std::io::Result<Connection> {
    match address {
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::Tcp(stream))
        }
        Address::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                Ok(()) => Ok(Connection::Datagrams(socket)),
                // A socket of the other kind.
                Err(_) => Ok(Connection::Stream(UnixStream::connect(path).await?)),
            }
        }
    }
}

/// Messages as a stream has them: the length in decimal, a space, the message.
fn counted(parcel: &Parcel) -> Vec<u8> {
    let mut out = Vec::with_capacity(parcel.body.len() + 8 * parcel.items.len());
    for item in &parcel.items {
        out.extend(format!("{} ", item.len()).as_bytes());
        out.extend(&**item);
    }
    out
}
