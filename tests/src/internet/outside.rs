//! What stands outside: sinks at every address, and resolvers that know the test's names.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

use super::names::{self, Zone};
use super::{FOREIGN_RESOLVER, PORTS, RESOLVER_V4, RESOLVER_V6};
use crate::Namespace;

/// Serves until it is dropped.
pub(super) struct Outside {
    // Dropping one end wakes the thread that polls the other.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    /// Only so that nobody is told that nobody listens.
    _datagrams: Vec<UdpSocket>,
}

/// A socket that is served.
enum Station {
    /// Takes whatever comes.
    Sink(TcpListener),
    Stream(TcpStream),
    /// Answers questions.
    Datagrams(UdpSocket),
    Names(TcpListener),
    Questions(TcpStream, Vec<u8>),
}

impl Outside {
    /// Stands in the namespace that the calling thread stands in.
    pub(super) fn open(zone: Zone) -> Self {
        let mut stations = Vec::new();
        for resolver in [IpAddr::V4(RESOLVER_V4), RESOLVER_V6.into(), FOREIGN_RESOLVER.into()] {
            let at = SocketAddr::new(resolver, names::PORT);
            stations.push(Station::Datagrams(UdpSocket::bind(at).expect("a resolver's address is free")));
            stations.push(Station::Names(TcpListener::bind(at).expect("a resolver's address is free")));
        }
        let mut datagrams = Vec::new();
        for &port in PORTS {
            stations.push(Station::Sink(TcpListener::bind(("::", port)).expect("the port is free")));
            datagrams.push(UdpSocket::bind(("::", port)).expect("the port is free"));
        }
        for station in &stations {
            station.never_wait().expect("a socket can be told not to wait");
        }
        let (stop, stopped) = UnixStream::pair().expect("a pair of sockets");
        let thread = std::thread::spawn(move || serve(stations, &zone, &stopped));
        Self { stop: Some(stop), thread: Some(thread), _datagrams: datagrams }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stations: Vec<Station>, zone: &Zone, stopped: &UnixStream) {
    loop {
        let mut all: Vec<PollFd> = stations.iter().map(|station| PollFd::new(station, PollFlags::IN)).collect();
        all.push(PollFd::new(stopped, PollFlags::IN));
        if poll(&mut all, None).is_err() || all.last().is_some_and(|stop| !stop.revents().is_empty()) {
            return;
        }
        let ready: Vec<bool> = all.iter().map(|one| !one.revents().is_empty()).collect();
        let mut next = Vec::with_capacity(stations.len());
        for (mut station, ready) in stations.into_iter().zip(ready) {
            let goes_on = !ready || station.serve(zone, &mut next).is_ok();
            if goes_on {
                next.push(station);
            }
        }
        stations = next;
    }
}

impl AsFd for Station {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Sink(socket) | Self::Names(socket) => socket.as_fd(),
            Self::Stream(socket) | Self::Questions(socket, _) => socket.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}

impl Station {
    fn never_wait(&self) -> io::Result<()> {
        match self {
            Self::Sink(socket) | Self::Names(socket) => socket.set_nonblocking(true),
            Self::Stream(socket) | Self::Questions(socket, _) => socket.set_nonblocking(true),
            Self::Datagrams(socket) => socket.set_nonblocking(true),
        }
    }

    /// Does what there is to do; an error ends a conversation.
    fn serve(&mut self, zone: &Zone, new: &mut Vec<Self>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self {
            Self::Sink(socket) => {
                // Who went away before being accepted is no reason to stop listening.
                if let Ok((stream, _)) = socket.accept() {
                    stream.set_nonblocking(true)?;
                    new.push(Self::Stream(stream));
                }
            }
            Self::Names(socket) => {
                if let Ok((stream, _)) = socket.accept() {
                    stream.set_nonblocking(true)?;
                    new.push(Self::Questions(stream, Vec::new()));
                }
            }
            Self::Stream(stream) => {
                if stream.read(&mut buffer)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Self::Datagrams(socket) => {
                if let Ok((len, from)) = socket.recv_from(&mut buffer)
                    && let Some(answer) = zone.answer(&buffer[..len])
                {
                    let _ = socket.send_to(&answer, from);
                }
            }
            Self::Questions(stream, held) => {
                let len = stream.read(&mut buffer)?;
                held.extend(&buffer[..len]);
                while let Some(whole) = whole_message(held) {
                    if let Some(answer) = zone.answer(&whole) {
                        stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat())?;
                    }
                }
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }
}

/// Takes a message out of a stream, once it is whole (RFC 1035, 4.2.2).
fn whole_message(held: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes([*held.first()?, *held.get(1)?]));
    let whole = held.get(2..2 + len)?.to_vec();
    held.drain(..2 + len);
    Some(whole)
}

/// How many frames the link has carried from the job's side.
pub(super) fn frames_carried(outside: &Namespace) -> u64 {
    let mut command = Command::new("ip");
    command.args(["-n", outside.name(), "-json", "-statistics", "link", "show", "dev", "job"]);
    let output = command.output().expect("ip can be started").stdout;
    let shown: serde_json::Value = serde_json::from_slice(&output).expect("ip writes JSON");
    shown[0]["stats64"]["rx"]["packets"].as_u64().expect("a link has statistics")
}
