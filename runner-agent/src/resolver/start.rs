//! From options to a running resolver: sockets first, so that the kernel side knows the port before anybody asks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use super::serve::{Change, serve};
use super::service::Service;
use super::sockets::Sockets;
use super::upstream::Upstream;
use super::{Admit, Askers, Limits, Network, Report};
use crate::policy::EgressPolicy;
use crate::policy::egress::DNS_PORT;

/// Namespaces besides its own that it answers in: each takes four descriptors, and a job can make as many as it likes.
const MOST_JOINED: usize = 64;

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
    /// The network namespace that it is made in.
    pub network: Network,
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
    sockets: Sockets,
}

/// A running resolver. It stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    endpoints: Endpoints,
    reports: mpsc::Receiver<Report>,
    lost: Arc<AtomicU64>,
    /// Where it answers.
    networks: BTreeSet<Network>,
    own: Network,
    changes: mpsc::UnboundedSender<Change>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Takes the port.
    pub fn bind(options: Options) -> io::Result<Self> {
        let (endpoints, sockets) = Sockets::bind(options.port)?;
        Ok(Self { options, endpoints, sockets })
    }

    /// Where it will answer.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    /// Answers from now on, on a thread of its own.
    pub fn start(self, admit: Box<dyn Admit>, askers: Box<dyn Askers>) -> io::Result<Handle> {
        let Self { options: Options { policy, upstreams, search, network, limits, .. }, endpoints, sockets } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (sender, reports) = mpsc::channel(limits.reports.max(1));
        let (stop, stopped) = oneshot::channel();
        let (changes, to_come) = mpsc::unbounded_channel();
        let lost = Arc::new(AtomicU64::new(0));
        let told = (sender, lost.clone());
        let work = move || {
            let own = || policy.resolvers.iter().map(|&address| SocketAddr::new(address, DNS_PORT)).collect();
            let upstream = Upstream::new(upstreams.unwrap_or_else(own), &limits);
            let desk = Desk::new(policy, &search, &limits);
            let service = Service::new(desk, admit, askers, upstream, told, limits);
            runtime.block_on(serve((network, sockets), to_come, Rc::new(RefCell::new(service)), stopped));
        };
        let thread = std::thread::Builder::new().name("resolver".to_owned()).spawn(work)?;
        Ok(Handle {
            endpoints,
            reports,
            lost,
            networks: BTreeSet::from([network]),
            own: network,
            changes,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Handle {
    /// Where it answers.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    /// Answers in another network namespace too, on the same port; the file stands for it (`/proc/PID/ns/net`). One that it
    /// answers in already is left as it is.
    pub fn join(&mut self, network: Network, namespace: &Path) -> io::Result<()> {
        if self.networks.contains(&network) {
            return Ok(());
        }
        if self.networks.len() > MOST_JOINED {
            return Err(io::Error::other(format!("it answers in {MOST_JOINED} others already")));
        }
        let sockets = Sockets::bind_in(network, namespace, self.endpoints.v4.port())?;
        self.networks.insert(network);
        // Nobody listens when the thread has ended, which is told elsewhere.
        let _ = self.changes.send(Change::Join(network, sockets));
        Ok(())
    }

    /// Lets go of namespaces, its own aside, that nobody is in any more.
    pub fn stay_in(&mut self, alive: &BTreeSet<Network>) {
        let own = self.own;
        let changes = &self.changes;
        self.networks.retain(|network| {
            let stays = *network == own || alive.contains(network);
            if !stays {
                let _ = changes.send(Change::Leave(*network));
            }
            stays
        });
    }

    /// Whether it answers in namespaces besides its own.
    pub fn has_joined(&self) -> bool {
        self.networks.len() > 1
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
