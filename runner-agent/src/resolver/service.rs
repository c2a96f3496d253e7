//! What all sockets share: the desk, those who wait for upstream, and what is told.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::desk::{Desk, Key, Reply, Step, Waiting};
use super::limits::Limits;
use super::upstream::{Failure, Upstream};
use super::{Admit, Asker, Askers, Network, Report, Transport};

/// The way back to a client.
#[derive(Clone, Debug)]
pub enum Back {
    /// A datagram from this socket to there.
    Udp(Rc<UdpSocket>, SocketAddr, Network),
    /// The writer of this client's connection.
    Tcp(mpsc::Sender<Vec<u8>>, SocketAddr, Network),
}

/// One service for all sockets, on one thread.
pub type Shared = Rc<RefCell<Service>>;

/// See the module.
pub struct Service {
    desk: Desk,
    admit: Box<dyn Admit>,
    askers: Box<dyn Askers>,
    upstream: Rc<Upstream>,
    reports: mpsc::Sender<Report>,
    lost: Arc<AtomicU64>,
    waiting: HashMap<Key, Vec<Waiter>>,
    waiters: usize,
    limits: Limits,
    outage: Outage,
}

struct Waiter {
    waiting: Box<Waiting>,
    asker: Option<Asker>,
    back: Back,
}

/// Whether upstream is known to be away.
#[derive(Debug, Default)]
struct Outage {
    is_told: bool,
    last_answer_ns: u64,
}

impl Service {
    /// A service that nobody has asked yet.
    pub fn new(
        desk: Desk,
        admit: Box<dyn Admit>,
        askers: Box<dyn Askers>,
        upstream: Upstream,
        (reports, lost): (mpsc::Sender<Report>, Arc<AtomicU64>),
        limits: Limits,
    ) -> Self {
        Self {
            desk,
            admit,
            askers,
            upstream: Rc::new(upstream),
            reports,
            lost,
            waiting: HashMap::new(),
            waiters: 0,
            limits,
            outage: Outage::default(),
        }
    }

    /// Bounds for the sockets.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn finish(&mut self, mut reply: Reply, asker: Option<Asker>, back: &Back) {
        if let Some(error) = reply.admit_error.take() {
            let detail = error.to_string();
            self.tell(Report::AdmitFailed { name: reply.answered.name.clone(), detail });
        }
        reply.answered.asker = asker;
        self.tell(Report::Question(reply.answered));
        match back {
            // A full socket buffer loses datagrams, as networks do; the client asks again.
            Back::Udp(socket, to, _) => drop(socket.try_send_to(&reply.bytes, *to)),
            // The connection reserves room for each answer before it hands a question in.
            Back::Tcp(writer, ..) => drop(writer.try_send(reply.bytes)),
        }
    }

    fn tell(&mut self, report: Report) {
        if self.reports.try_send(report).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn settle(&mut self, key: Key, name: &Name, outcome: Result<Message, Failure>, asked_ns: u64) {
        let waiters = self.waiting.remove(&key).unwrap_or_default();
        self.waiters -= waiters.len();
        let now_ns = boot_ns();
        let message = match outcome {
            Ok(message) => {
                self.answered(now_ns);
                Some(message)
            }
            Err(failure) => {
                self.failed(failure, asked_ns, now_ns);
                None
            }
        };
        let learnt = message.map(|message| self.desk.learn(name, key.1, &message, now_ns));
        let mut entry = match learnt {
            Some(Ok(entry)) => Some(entry),
            Some(Err(error)) => {
                tracing::debug!(name = &*key.0, %error, "the upstream's answer can't be used");
                None
            }
            None => None,
        };
        for Waiter { waiting, asker, back } in waiters {
            let reply = match &mut entry {
                Some(entry) => self.desk.settle(&waiting, entry, now_ns, &mut *self.admit),
                None => self.desk.fail(&waiting),
            };
            self.finish(reply, asker, &back);
        }
        if let Some(entry) = entry {
            self.desk.keep(key, entry, now_ns);
        }
    }

    fn answered(&mut self, now_ns: u64) {
        self.outage.last_answer_ns = now_ns;
        if std::mem::take(&mut self.outage.is_told) {
            self.tell(Report::UpstreamRecovered);
        }
    }

    fn failed(&mut self, failure: Failure, asked_ns: u64, now_ns: u64) {
        if !failure.is_outage {
            self.answered(now_ns);
            return;
        }
        // One name whose servers are away makes an upstream silent too; others were answered meanwhile.
        let was_there = self.outage.last_answer_ns >= asked_ns;
        if !was_there && !self.outage.is_told {
            self.outage.is_told = true;
            self.tell(Report::UpstreamFailed { detail: failure.detail });
        }
    }
}

/// Takes in a message. Says whether an answer comes, now or later.
pub fn take_in(service: &Shared, bytes: &[u8], back: &Back) -> bool {
    let mut borrowed = service.borrow_mut();
    let this = &mut *borrowed;
    let (transport, from, network) = match back {
        Back::Udp(_, from, network) => (Transport::Udp, *from, *network),
        Back::Tcp(_, from, network) => (Transport::Tcp, *from, *network),
    };
    // Another job's process could ask here too, and would be judged by a policy that isn't its own.
    let Some(asker) = this.askers.who(from, transport, network) else { return false };
    let holds_secret = asker.holds_secret;
    let asker = Some(asker);
    let waiting = match this.desk.take(bytes, transport, holds_secret, boot_ns(), &mut *this.admit) {
        Step::Silent => return false,
        Step::Answer(reply) => {
            this.finish(*reply, asker, back);
            return true;
        }
        Step::Ask(waiting) => waiting,
    };
    let key = waiting.key();
    let is_asked = this.waiting.contains_key(&key);
    let has_room = this.waiters < this.limits.waiters && (is_asked || this.waiting.len() < this.limits.in_flight);
    let Some(name) = waiting.name().filter(|_| has_room) else {
        let reply = this.desk.fail(&waiting);
        this.finish(reply, asker, back);
        return true;
    };
    this.waiters += 1;
    this.waiting.entry(key.clone()).or_default().push(Waiter { waiting, asker, back: back.clone() });
    if !is_asked {
        let upstream = this.upstream.clone();
        let service = service.clone();
        tokio::task::spawn_local(async move {
            let asked_ns = boot_ns();
            let outcome = upstream.ask(&name, key.1).await;
            service.borrow_mut().settle(key, &name, outcome, asked_ns);
        });
    }
    true
}

/// Nanoseconds since boot, sleep included: the kernel side compares admissions with the same clock.
fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
