//! A made-up upstream on loopback that answers by a script, and a resolver in front of it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::RecordType;

use super::{Remembering, a, question};
use crate::event::ProcessKey;
use crate::policy::EgressPolicy;
use crate::resolver::{Answered, Asker, Askers, Handle, Limits, Network, Options, Report, Resolver, Transport};

/// Longest wait for what must come.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Messages in answer to one; the address is the sender's.
pub type Script = Arc<dyn Fn(&Message, Transport, SocketAddr) -> Vec<Message> + Send + Sync>;

pub struct Fake {
    pub address: SocketAddr,
    /// What arrived, in order.
    pub seen: Arc<Mutex<Vec<(Message, Transport)>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Fake {
    pub fn new(script: Script) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let (seen, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let handle = {
            let seen = seen.clone();
            move |bytes: &[u8], transport, from| -> Vec<Vec<u8>> {
                let message = Message::from_vec(bytes).unwrap();
                seen.lock().unwrap().push((message.clone(), transport));
                script(&message, transport, from).iter().map(|answer| answer.to_vec().unwrap()).collect()
            }
        };
        let (over_udp, udp_handle) = (is_over.clone(), handle.clone());
        let datagrams = move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer)
                && !over_udp.load(Ordering::SeqCst)
            {
                for answer in udp_handle(&buffer[..length], Transport::Udp, from) {
                    udp.send_to(&answer, from).unwrap();
                }
            }
        };
        let over_tcp = is_over.clone();
        let connections = move || {
            while let Ok((mut stream, from)) = tcp.accept()
                && !over_tcp.load(Ordering::SeqCst)
            {
                let asked = read_framed(&mut stream).unwrap();
                for answer in handle(&asked, Transport::Tcp, from) {
                    stream.write_all(&framed(&answer)).unwrap();
                }
            }
        };
        let threads = vec![std::thread::spawn(datagrams), std::thread::spawn(connections)];
        Self { address, seen, is_over, threads }
    }

    /// An upstream that gives every name the same address.
    pub fn with_address(ttl: u32, address: [u8; 4]) -> Self {
        Self::new(Arc::new(move |asked, _, _| vec![answer(asked, ttl, address)]))
    }

    pub fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(message, _)| message.queries[0].name.to_ascii()).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(&[], self.address);
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// The answer to a message, with one address.
pub fn answer(asked: &Message, ttl: u32, address: [u8; 4]) -> Message {
    let mut answer = asked.clone();
    answer.metadata.message_type = MessageType::Response;
    answer.add_answer(a(&asked.queries[0].name.to_ascii(), ttl, address));
    answer
}

/// Knows everybody, by port.
pub struct ByPort;

impl Askers for ByPort {
    fn who(&self, from: SocketAddr, _: Transport, _: Network) -> Option<Asker> {
        let process = ProcessKey::default();
        let wanted = Ipv4Addr::new(192, 0, 2, 53).into();
        Some(Asker { process, wanted, socket: u64::from(from.port()), holds_secret: false })
    }
}

pub struct Running {
    pub handle: Handle,
    pub admit: Remembering,
    pub client: UdpSocket,
}

pub fn start(policy: EgressPolicy, upstreams: &[SocketAddr], limits: Limits) -> Running {
    let admit = Remembering::default();
    let search = vec!["corp.example".to_owned()];
    let upstreams = Some(upstreams.to_vec());
    let resolver =
        Resolver::bind(Options { policy: Arc::new(policy), upstreams, search, limits, ..Options::default() }).unwrap();
    let handle = resolver.start(Box::new(admit.clone()), Box::new(ByPort)).unwrap();
    let client = client(handle.endpoints().v4);
    Running { handle, admit, client }
}

pub fn client(to: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind((if to.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
    client.connect(to).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

impl Running {
    pub fn send(&self, id: u16, asked: &str, query_type: RecordType) {
        self.client.send(&question(id, asked, query_type)).unwrap();
    }

    pub fn receive(&self) -> Message {
        let mut buffer = [0; 4096];
        let length = self.client.recv(&mut buffer).unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    pub fn ask(&self, asked: &str, query_type: RecordType) -> Message {
        self.send(7, asked, query_type);
        self.receive()
    }

    /// The next report; it is told before the answer, so it is there when the answer is.
    pub fn report(&mut self) -> Report {
        self.handle.reports().try_recv().unwrap()
    }

    pub fn answered(&mut self) -> Answered {
        match self.report() {
            Report::Question(answered) => answered,
            other => panic!("{other:?}"),
        }
    }
}

pub fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// One message, or nothing when the other side closes.
pub fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Waits for a condition that another thread brings about.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}
