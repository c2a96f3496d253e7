//! The gate to a container engine as the agent has it: bound where the policy wants one, told to the job, and heard.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use super::run::{RunError, io_error};
use crate::engine::{self, Asked, Gate, Options, Peers, socket_of};
use crate::event::EngineRequest;
use crate::kernel::cgroup::{Hierarchy, JobCgroup};
use crate::kernel::procfs::Snapshot;
use crate::pipeline::EngineAsked;
use crate::policy::{EngineAccess, Mode, Policy};

/// Says to clients of Docker's API where the engine is.
const DOCKER_HOST: &str = "DOCKER_HOST";

/// The same for podman.
const CONTAINER_HOST: &str = "CONTAINER_HOST";

/// Where engines listen that serve Docker's API.
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];

/// A gate with its socket, if the policy wants one.
pub(super) fn bind(policy: &Policy, runtime: &Path, name: &str) -> Result<Option<Gate>, RunError> {
    if policy.guard.docker != EngineAccess::Gate {
        return Ok(None);
    }
    let engine = match engine() {
        Ok(engine) => engine,
        Err(reason) if policy.mode == Mode::Audit => {
            tracing::warn!("no gate to the container engine: {reason}");
            return Ok(None);
        }
        Err(reason) => return Err(io_error("be the gate to the container engine")(io::Error::other(reason))),
    };
    let named = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let gate = Gate::bind(Options {
        folder: runtime.join("gates"),
        name: name.to_owned(),
        engine,
        mode: policy.mode,
        policy: policy.name.clone(),
        roots: [env::current_dir().ok(), named("GITHUB_WORKSPACE"), named("RUNNER_TEMP")]
            .into_iter()
            .flatten()
            .collect(),
        not_within: named("HOME").into_iter().chain([runtime.to_owned()]).collect(),
    });
    gate.map(Some).map_err(io_error("make the gate to the container engine"))
}

/// The engine's socket: the one that the environment names, or one that is there.
fn engine() -> Result<PathBuf, String> {
    let named = [DOCKER_HOST, CONTAINER_HOST].map(|name| (name, env::var(name).unwrap_or_default()));
    let mut found: Option<PathBuf> = None;
    for (name, host) in named.iter().filter(|(_, host)| !host.is_empty()) {
        let Some(socket) = socket_of(host) else {
            return Err(format!("{name} is {host:?}, and only a Unix socket (unix:///…) can be gated"));
        };
        if found.as_deref().is_some_and(|other| other != socket) {
            return Err(format!(
                "{DOCKER_HOST} and {CONTAINER_HOST} name two engines, and there is one gate; leave one unset"
            ));
        }
        found = Some(socket.to_owned());
    }
    let there = || SOCKETS.iter().map(Path::new).find(|path| path.exists());
    Ok(found.unwrap_or_else(|| there().unwrap_or(Path::new(SOCKETS[0])).to_owned()))
}

/// Lets it answer.
pub(super) fn start(gate: Gate, hierarchy: &Hierarchy, cgroup: &JobCgroup) -> Result<engine::Handle, RunError> {
    let below = cgroup.path().strip_prefix(&hierarchy.mount).unwrap_or(cgroup.path());
    gate.start(Box::new(Members(Path::new("/").join(below))))
        .map_err(io_error("start the gate to the container engine"))
}

/// What a job's environment says in place of the agent's.
pub(super) fn environment(gate: &engine::Handle) -> Vec<(&'static str, String)> {
    let host = format!("unix://{}", gate.socket().display());
    // A variable that nobody set turns podman into a client of an engine that isn't there.
    let podman = env::var_os(CONTAINER_HOST).filter(|host| !host.is_empty()).map(|_| (CONTAINER_HOST, host.clone()));
    [(DOCKER_HOST, host)].into_iter().chain(podman).collect()
}

/// Processes in the job's cgroup.
struct Members(PathBuf);

impl Peers for Members {
    fn is_of_job(&self, pid: u32) -> bool {
        Snapshot::read(pid).is_some_and(|process| Path::new(&process.cgroup).starts_with(&self.0))
    }
}

/// What the gate told, in the pipeline's words.
pub(super) fn asked(asked: Asked) -> EngineAsked {
    let asks = asked.asks.iter().map(|ask| ask.to_string().into()).collect();
    EngineAsked {
        at_ns: asked.at_ns,
        pid: asked.pid,
        request: EngineRequest { name: asked.request, asks },
        verdict: asked.verdict,
    }
}
