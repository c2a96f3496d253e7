//! From options to a running resolver: sockets first, so that the kernel side knows the port before anybody asks.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use super::serve::serve;
use super::service::Service;
use super::upstream::Upstream;
use super::{Admit, Askers, Limits, Report};
use crate::policy::EgressPolicy;
use crate::policy::egress::DNS_PORT;

/// Tries to find a port that is free for both transports and both families.
const PORT_TRIES: usize = 64;

/// Questions that the kernel holds while we are busy: a few thousand.
const RECEIVE_BUFFER: usize = 1 << 20;

/// What a resolver is made of.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whose host rules decide, and whose `resolvers` are asked.
    pub policy: Arc<EgressPolicy>,
    /// Asked in place of the policy's resolvers.
    pub upstreams: Option<Vec<SocketAddr>>,
    /// The runner's search domains, from its `resolv.conf`.
    pub search: Vec<String>,
    /// The port that a predecessor had; any free one otherwise.
    pub port: Option<u16>,
    /// Bounds.
    pub limits: Limits,
}

/// Where a resolver answers, over UDP and TCP alike; both addresses have the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// On IPv4 loopback.
    pub v4: SocketAddr,
    /// On IPv6 loopback, where the machine has that.
    pub v6: Option<SocketAddr>,
}

/// A resolver that has its port and answers nobody yet.
#[derive(Debug)]
pub struct Resolver {
    options: Options,
    endpoints: Endpoints,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

/// A running resolver. It stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    endpoints: Endpoints,
    reports: mpsc::Receiver<Report>,
    lost: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Takes the port.
    pub fn bind(options: Options) -> io::Result<Self> {
        let mut tries = if options.port.is_some() { 1 } else { PORT_TRIES };
        let (endpoints, udp, tcp) = loop {
            tries -= 1;
            match bind_both(options.port.unwrap_or(0)) {
                // Free for one of the four only; another port may be for all.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                done => break done?,
            }
        };
        Ok(Self { options, endpoints, udp, tcp })
    }

    /// Where it will answer.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    /// Answers from now on, on a thread of its own.
    pub fn start(self, admit: Box<dyn Admit>, askers: Box<dyn Askers>) -> io::Result<Handle> {
        let Self { options: Options { policy, upstreams, search, limits, .. }, endpoints, udp, tcp } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let guard = runtime.enter();
        let udp = udp.into_iter().map(tokio::net::UdpSocket::from_std).collect::<io::Result<Vec<_>>>()?;
        let tcp = tcp.into_iter().map(tokio::net::TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        drop(guard);
        let (sender, reports) = mpsc::channel(limits.reports.max(1));
        let (stop, stopped) = oneshot::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let told = (sender, lost.clone());
        let work = move || {
            let own = || policy.resolvers.iter().map(|&address| SocketAddr::new(address, DNS_PORT)).collect();
            let upstream = Upstream::new(upstreams.unwrap_or_else(own), &limits);
            let desk = Desk::new(policy, &search, &limits);
            let service = Service::new(desk, admit, askers, upstream, told, limits);
            runtime.block_on(serve(udp, tcp, Rc::new(RefCell::new(service)), stopped));
        };
        let thread = std::thread::Builder::new().name("resolver".to_owned()).spawn(work)?;
        Ok(Handle { endpoints, reports, lost, stop: Some(stop), thread: Some(thread) })
    }
}

impl Handle {
    /// Where it answers.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    /// What it tells; what is still unread after [`Self::stop`] stays readable.
    pub fn reports(&mut self) -> &mut mpsc::Receiver<Report> {
        &mut self.reports
    }

    /// Whether it answers.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// How many reports found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Stops answering and waits until its thread has ended.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody listens when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the resolver's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

type Bound = (Endpoints, Vec<UdpSocket>, Vec<TcpListener>);

/// One port for both transports, on both families as far as the machine has them.
fn bind_both(port: u16) -> io::Result<Bound> {
    let (udp, tcp) = bind_one(IpAddr::V4(Ipv4Addr::LOCALHOST), port)?;
    let v4 = udp.local_addr()?;
    let mut bound = (Endpoints { v4, v6: None }, vec![udp], vec![tcp]);
    match bind_one(IpAddr::V6(Ipv6Addr::LOCALHOST), v4.port()) {
        Ok((udp, tcp)) => {
            bound.0.v6 = Some(udp.local_addr()?);
            bound.1.push(udp);
            bound.2.push(tcp);
        }
        Err(error) if has_no_ipv6(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(bound)
}

fn bind_one(address: IpAddr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((address, port))?;
    // The standard library sets SO_REUSEADDR on listeners: connections of a predecessor don't keep the port.
    let tcp = TcpListener::bind((address, udp.local_addr()?.port()))?;
    // The kernel gives less than asked for where its own bound is lower.
    let _ = set_socket_recv_buffer_size(&udp, RECEIVE_BUFFER);
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    missing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
