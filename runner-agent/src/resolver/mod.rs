//! The resolver that answers DNS for a job: it decides each name before anything leaves the machine.
//!
//! The kernel side takes every message of the job to port 53, whatever its address, to this resolver. [`desk::Desk`] is
//! the pure part: bytes and a time in, a decision and bytes out. The rest is sockets. What an answer names is given to
//! [`Admit`] before the answer is released, so that no program knows an address that the kernel doesn't.
//!
//! It misses what does not go to port 53: DNS over HTTPS or TLS to an allowed host, and a name service that resolves over
//! a Unix socket outside the job.

mod limits;
mod report;
mod question;
mod reply;
mod table;
mod tunnel;
mod budget;
mod rules;
mod canary;
mod derived;
mod decide;
mod answer;
mod grants;
pub mod desk;
mod upstream;
mod service;
mod serve;
mod sockets;
mod start;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use limits::Limits;
pub use report::{Answered, Refusal, Report};
pub use start::{Endpoints, Handle, Options, Resolver};
pub use tunnel::Measures;

use crate::event::ProcessKey;
use crate::policy::words;

/// What the resolver makes the kernel allow.
pub trait Admit: Send {
    /// Lets the job reach these addresses by these rules. In force when it returns `Ok`.
    ///
    /// `name` is the name that the job asked for. The rules are host rules whose pattern led to the address; ports,
    /// protocol and program are left to the connect, and so is the class wherever it depends on the port.
    fn admit(&mut self, name: &Arc<str>, addresses: &[Admission]) -> Result<(), AdmitError>;
}

/// An address that the job may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The address; IPv4-mapped IPv6 is IPv4.
    pub address: IpAddr,
    /// Indices into `EgressPolicy::allow`, ascending, never empty: host rules whose class is the address's.
    pub rules: Vec<usize>,
    /// When that ends, on the boot-time clock.
    pub until_ns: u64,
}

/// Why addresses could not be admitted; the answer that named them is then held back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AdmitError(pub String);

/// A network namespace, by the inode number of its file; addresses and ports are each one's own.
pub type Network = u32;

/// Who asked from a port: the kernel side remembers.
pub trait Askers: Send {
    /// Who sends from this address in that network namespace, if that is known.
    fn who(&self, from: SocketAddr, transport: Transport, network: Network) -> Option<Asker>;
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The process.
    pub process: ProcessKey,
    /// The server that the job addressed.
    pub wanted: IpAddr,
    /// Cookie of the socket.
    pub socket: u64,
    /// Whether it holds a secret that only rules for it may carry.
    pub holds_secret: bool,
}

/// What carried a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

words!(Transport, "udp, tcp", { Transport::Udp => "udp", Transport::Tcp => "tcp" });

#[cfg(test)]
mod tests;
