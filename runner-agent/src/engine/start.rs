//! From options to a running gate: the socket first, so that the guard knows it before anybody asks.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::binds::{self, Binds};
use super::gate::{self, Client};
use super::made::Made;
use super::upstream::Upstream;
use super::{Asked, Peers};
use crate::policy::Mode;

/// Connections at once, streams among them. A build with a container for each processor has a few for each.
const CONNECTIONS: usize = 128;

/// Reports that may lie unread.
const REPORTS: usize = 256;

/// Wait after a failed accept: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(50);

/// What a gate is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where gates of jobs have their sockets.
    pub folder: PathBuf,
    /// Name of the job.
    pub name: String,
    /// The engine's socket.
    pub engine: PathBuf,
    /// Whether requests are refused.
    pub mode: Mode,
    /// Name of the policy, for messages.
    pub policy: String,
    /// Folders of which containers may see something.
    pub roots: Vec<PathBuf>,
    /// Paths that lie in none of these folders.
    pub not_within: Vec<PathBuf>,
}

/// A gate that has its socket and answers nobody yet.
#[derive(Debug)]
pub struct Gate {
    options: Options,
    socket: Socket,
    listener: UnixListener,
    binds: Binds,
}

/// A running gate. It ends, and its socket goes, when this is dropped.
#[derive(Debug)]
pub struct Handle {
    socket: Socket,
    reports: mpsc::Receiver<Asked>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The name of a socket, which goes with the value.
#[derive(Debug)]
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Gate {
    /// Takes the socket. Sockets and mounts of gates that are gone are cleared away.
    pub fn bind(options: Options) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&options.folder)?;
        // The job's user has to get to the socket, and no further.
        for folder in [Some(options.folder.as_path()), options.folder.parent()].into_iter().flatten() {
            let mode = fs::metadata(folder)?.permissions().mode();
            fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o111))?;
        }
        clear_orphans(&options.folder);
        let new = options.folder.join(format!("{}.new", options.name));
        let socket = Socket(options.folder.join(format!("{}.sock", options.name)));
        let listener = UnixListener::bind(&new)
            .and_then(|listener| {
                fs::set_permissions(&new, fs::Permissions::from_mode(0o666))?;
                listener.set_nonblocking(true)?;
                // Under its name it listens already: whoever finds nobody there may take it away.
                fs::rename(&new, &socket.0)?;
                Ok(listener)
            })
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", new.display())))?;
        let mounts = options.folder.join(format!("{}.mounts", options.name));
        binds::clear(&mounts);
        fs::DirBuilder::new().mode(0o711).create(&mounts)?;
        let binds = Binds::new(&options.roots, &options.not_within, mounts);
        Ok(Self { options, socket, listener, binds })
    }

    /// Where the job finds it.
    pub fn socket(&self) -> &Path {
        &self.socket.0
    }

    /// The folders of its socket and of what it mounts for containers.
    pub fn folders(&self) -> [&Path; 2] {
        [&self.options.folder, self.binds.folder()]
    }

    /// Answers from now on, on a thread of its own.
    pub fn start(self, peers: Box<dyn Peers>) -> io::Result<Handle> {
        let Self { options, socket, listener, binds } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = {
            let _guard = runtime.enter();
            tokio::net::UnixListener::from_std(listener)?
        };
        let (sender, reports) = mpsc::channel(REPORTS);
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            let gate = Rc::new(gate::Gate {
                upstream: Upstream { socket: options.engine },
                mode: options.mode,
                policy: options.policy,
                made: RefCell::new(Made::default()),
                binds: RefCell::new(binds),
                reports: sender,
            });
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, gate, peers) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("engine-gate".to_owned()).spawn(work)?;
        Ok(Handle { socket, reports, stop: Some(stop), thread: Some(thread) })
    }
}

impl Handle {
    /// Where the job finds it.
    pub fn socket(&self) -> &Path {
        &self.socket.0
    }

    /// What it tells.
    pub fn reports(&mut self) -> &mut mpsc::Receiver<Asked> {
        &mut self.reports
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nobody takes reports any more, so none is waited for.
        self.reports.close();
        if let Some(stop) = self.stop.take() {
            // Nobody listens when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the container engine's gate panicked");
        }
    }
}

async fn accept(listener: tokio::net::UnixListener, gate: Rc<gate::Gate>, peers: Box<dyn Peers>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Without a number for whoever is outside this process's own pid namespace.
        let Ok(credentials) = stream.peer_cred() else { continue };
        let pid = credentials.pid().map_or(0, i32::cast_unsigned);
        if pid == 0 || !peers.is_of_job(pid) {
            tracing::warn!("pid {pid} is not of the job, and was turned away from the container engine's gate");
            continue;
        }
        // One connection too many is closed at once: the job holds all the others itself.
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            let client = Client { pid, user: credentials.uid(), slot: Rc::new(slot) };
            spawn_local(gate::serve(gate.clone(), stream, client));
        }
    }
}

/// Clears away what gates left whose agent was killed: sockets at which nobody listens, and the mounts beside them.
fn clear_orphans(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_socket = path.extension().is_some_and(|extension| extension == "sock");
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(&path).is_err_and(refused) {
            binds::clear(&path.with_extension("mounts"));
            let _ = fs::remove_file(&path);
        }
    }
}
