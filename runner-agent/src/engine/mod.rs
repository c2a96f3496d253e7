//! The gate to a container engine: a job asks it instead of the engine, and it passes on what doesn't give the machine away.
//!
//! It serves the Docker Engine API (HTTP/1.1 over a Unix socket), which podman serves too. [`judge`] is the pure part: a method, a
//! target and a body in, a request that may be passed on and what it asks for too much out. What is passed on is written anew
//! from what was judged, never copied from what was read; what the judge doesn't know is refused. The rest is sockets.
//!
//! It misses what a container does once it runs: its network and its files are the engine's, and no rule of the job holds it.

mod ask;
mod target;
mod json;
mod resources;
mod mounts;
mod host;
mod container;
mod network;
mod route;
mod routes;
pub mod judge;
mod made;
mod binds;
mod upstream;
mod passing;
mod gate;
mod start;

use std::path::Path;
use std::sync::Arc;

pub use ask::{Ask, Kind};
pub use start::{Gate, Handle, Options};

use crate::policy::Verdict;

/// Who asks.
pub trait Peers: Send {
    /// Whether the process belongs to the job, so that it may ask.
    fn is_of_job(&self, pid: u32) -> bool;
}

/// A request that asked for too much, told before it is passed on or answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it came, nanoseconds since boot.
    pub at_ns: u64,
    /// The process that connected.
    pub pid: u32,
    /// Method and path, as they would have been passed on.
    pub request: Arc<str>,
    /// What it asked for.
    pub asks: Vec<Ask>,
    /// Refused, or audited and passed on.
    pub verdict: Verdict,
}

/// Where an engine listens, by the value of `DOCKER_HOST` or `CONTAINER_HOST`; nothing for an engine that is no Unix socket.
pub fn socket_of(host: &str) -> Option<&Path> {
    let path = Path::new(host.strip_prefix("unix://")?);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests;
