//! Proof that what a policy forbids is refused: a child under a policy of its own reaches for a loopback listener of the
//! agent that this policy closes, and asks for a name. No packet ever leaves the machine for it.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::policy::egress::{AddressClass, DenyRule, EgressPolicy, Ports, ProtocolMatch};
use crate::policy::{Mode, Policy};

/// The name that the child asks for: below a domain that no policy can allow, because nobody can have it (RFC 6761).
pub const NAME: &str = "self-check.runner-agent.invalid";

/// A resolver that nobody runs (TEST-NET-1): only a redirected question is answered from there.
const FAR_RESOLVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), 53);

/// How long the answer to a question may take that is refused without asking anybody. It is there at once, unless the machine is busy,
/// which is no reason not to arm.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A TCP and a UDP listener on one loopback port that the check's policy closes.
pub(in crate::agent) struct ClosedPort {
    tcp: TcpListener,
    udp: UdpSocket,
    port: u16,
}

impl ClosedPort {
    /// Listens.
    pub(in crate::agent) fn listen() -> io::Result<Self> {
        const TRIES: usize = 16;
        let mut refused = io::Error::other("no port");
        for _ in 0..TRIES {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = tcp.local_addr()?.port();
            // The same port may be somebody's for UDP.
            match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(udp) => {
                    tcp.set_nonblocking(true)?;
                    udp.set_nonblocking(true)?;
                    return Ok(Self { tcp, udp, port });
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The port.
    pub(in crate::agent) fn port(&self) -> u16 {
        self.port
    }

    /// The policy that closes it.
    pub(in crate::agent) fn policy(&self) -> Policy {
        let closed = DenyRule {
            id: "self-check/egress.deny[0]".into(),
            class: Some(AddressClass::Loopback),
            cidr: None,
            ports: Ports::one(self.port),
            protocol: ProtocolMatch::Any,
            why: "the self-check".into(),
        };
        Policy {
            name: "self-check".to_owned(),
            mode: Mode::Block,
            egress: EgressPolicy { deny: vec![closed], ..EgressPolicy::default() },
            ..Policy::default()
        }
    }

    /// Fails if anything arrived.
    pub(super) fn saw_nothing(&self) -> Result<(), String> {
        match self.tcp.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(_) => return Err("a connection that the policy forbids arrived".to_owned()),
            Err(error) => return Err(format!("the listener of the probe failed: {error}")),
        }
        match self.udp.recv(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(_) => Err("a datagram that the policy forbids arrived".to_owned()),
            Err(error) => Err(format!("the listener of the probe failed: {error}")),
        }
    }
}

/// What the child does about it: everything must be refused, and the question answered as if from where it was sent.
pub(super) fn act(port: u16) -> Result<(), String> {
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    must_be_refused("a connect", TcpStream::connect(closed).map(drop))?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no socket: {error}"))?;
    must_be_refused("a datagram", socket.send_to(b"forbidden", closed).map(drop))?;
    let connected = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no socket: {error}"))?;
    must_be_refused("a datagram socket's connect", connected.connect(closed))?;
    ask().map_err(|error| format!("a DNS question did not reach the agent's resolver: {error}"))
}

fn must_be_refused(what: &str, result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Ok(()) => Err(format!("{what} that the policy forbids succeeded")),
        Err(error) => Err(format!("{what} that the policy forbids failed with {error}, not with EPERM")),
    }
}

fn ask() -> io::Result<()> {
    let wrong = |what: &str| io::Error::other(what.to_owned());
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut question =
        Message::new(u16::try_from(std::process::id() & 0xffff).unwrap_or(1), MessageType::Query, OpCode::Query);
    let name = Name::from_ascii(NAME).map_err(|_| wrong("the name is no name"))?;
    question.add_query(Query::query(name, RecordType::A));
    let question = question.to_vec().map_err(|_| wrong("the question can't be written"))?;
    socket.send_to(&question, FAR_RESOLVER)?;
    let mut answer = [0; 512];
    let (len, from) = socket.recv_from(&mut answer)?;
    if from != FAR_RESOLVER {
        return Err(wrong(&format!("the answer came from {from}")));
    }
    let answer = Message::from_vec(&answer[..len]).map_err(|error| wrong(&error.to_string()))?;
    match answer.metadata.response_code {
        ResponseCode::NXDomain | ResponseCode::Refused => Ok(()),
        other => Err(wrong(&format!("the answer is {other:?}"))),
    }
}

/// Whether a question is the child's, and no business of the job's.
pub(in crate::agent) fn is_own(name: &Arc<str>) -> bool {
    **name == *NAME
}
