//! The resolver's sockets: one port for both transports, on both loopbacks, in this network namespace or in another.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ip_freebind, set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Network;
use super::start::Endpoints;

/// Tries to find a port that is free for both transports and both families.
const PORT_TRIES: usize = 64;

/// Questions that the kernel holds while we are busy: a few thousand.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Bound, and not answered on yet.
#[derive(Debug, Default)]
pub struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    /// On this port, or on a free one.
    pub fn bind(port: Option<u16>) -> io::Result<(Endpoints, Self)> {
        let mut tries = if port.is_some() { 1 } else { PORT_TRIES };
        loop {
            tries -= 1;
            match bind_both(port.unwrap_or(0)) {
                // Free for one of the four only; another port may be for all.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                done => return done,
            }
        }
    }

    /// On this port in a network namespace, which a file stands for (`/proc/PID/ns/net`). The process may have gone to another
    /// since it was asked where it is: then that is the error, and nothing is bound.
    pub fn bind_in(network: Network, namespace: &Path, port: u16) -> io::Result<Self> {
        let namespace = File::open(namespace)?;
        if namespace.metadata()?.ino() != u64::from(network) {
            return Err(io::Error::other("its process has gone to another network"));
        }
        // A thread that has moved is of no use to anybody else.
        let enter = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Self::bind(Some(port)).map(|(_, sockets)| sockets)
        };
        let thread = std::thread::Builder::new().name("join-network".to_owned()).spawn(enter)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    }

    /// For a runtime to wait on.
    pub fn listening(self) -> io::Result<(Vec<tokio::net::UdpSocket>, Vec<tokio::net::TcpListener>)> {
        let udp = self.udp.into_iter().map(tokio::net::UdpSocket::from_std).collect::<io::Result<_>>()?;
        let tcp = self.tcp.into_iter().map(tokio::net::TcpListener::from_std).collect::<io::Result<_>>()?;
        Ok((udp, tcp))
    }
}

/// One port for both transports, on both families as far as the machine has them.
fn bind_both(port: u16) -> io::Result<(Endpoints, Sockets)> {
    let (udp, tcp) = bind_one(IpAddr::V4(Ipv4Addr::LOCALHOST), port)?;
    let v4 = udp.local_addr()?;
    let mut bound = (Endpoints { v4, v6: None }, Sockets { udp: vec![udp], tcp: vec![tcp] });
    match bind_one(IpAddr::V6(Ipv6Addr::LOCALHOST), v4.port()) {
        Ok((udp, tcp)) => {
            bound.0.v6 = Some(udp.local_addr()?);
            bound.1.udp.push(udp);
            bound.1.tcp.push(tcp);
        }
        Err(error) if has_no_ipv6(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(bound)
}

fn bind_one(address: IpAddr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::from(bound(SocketType::DGRAM, SocketAddr::new(address, port))?);
    let tcp = bound(SocketType::STREAM, SocketAddr::new(address, udp.local_addr()?.port()))?;
    listen(&tcp, BACKLOG)?;
    // The kernel gives less than asked for where its own bound is lower.
    let _ = set_socket_recv_buffer_size(&udp, RECEIVE_BUFFER);
    Ok((udp, TcpListener::from(tcp)))
}

fn bound(kind: SocketType, address: SocketAddr) -> io::Result<std::os::fd::OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if kind == SocketType::STREAM {
        // Connections of a predecessor don't keep the port.
        set_socket_reuseaddr(&socket, true)?;
    }
    if address.is_ipv4() {
        // A new namespace may not have loopback up yet.
        set_ip_freebind(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    missing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_its_process_has_left_is_not_entered() {
        let own = Path::new("/proc/self/ns/net");
        let another = std::fs::metadata(own).unwrap().ino() as Network + 1;
        let error = Sockets::bind_in(another, own, 0).unwrap_err();
        assert_eq!(error.to_string(), "its process has gone to another network");
    }
}
