//! Proof before the job starts that the probes read this kernel right: a child of our own does what a job does, and
//! what the probes say of it is compared with what `/proc` says.

mod refusals;

use std::ffi::OsString;
use std::io::ErrorKind::WouldBlock;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use runner_agent_common::record::{Exec, ProcessKey, flag};

use super::child::OWN_PROGRAM;
use super::launch;
use crate::decode::{Record, decode};
use crate::job::Scope;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::procfs::{Snapshot, TICK_NS};
use crate::kernel::{Kernel, LoadError};

pub(super) use refusals::{ClosedPort, is_own};

/// Slot of the check; jobs have smaller ones.
pub(super) const SLOT: u32 = u32::MAX;

/// Name of the file that the child opens; watched, and like nothing else on a machine.
pub(super) const CANARY: &str = "runner-agent-self-check.canary";

/// How long what the child has done may take to be seen.
const WITHIN: Duration = Duration::from_secs(5);

/// How long the child may take to do it: a busy machine is no reason to say that the probes are wrong.
const CHILD_WITHIN: Duration = Duration::from_mins(1);

/// Port that the child's datagram socket is connected to; nothing is ever sent there.
const PORT: u16 = 9;

/// What the child does, in the process that is started as `runner-agent self-check`. With a port that its policy closes, it
/// tries that too.
pub fn act(canary: &Path, closed: Option<u16>) -> std::io::Result<()> {
    std::fs::File::open(canary)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", PORT))?;
    let refused = closed.map_or(Ok(()), refusals::act);
    // From here on what the probes have not seen they won't see.
    writeln!(std::io::stdout(), "done")?;
    // Stays alive until the agent has looked at it in /proc.
    std::io::stdin().lines().next();
    refused.map_err(std::io::Error::other)
}

/// What the probes said of the child.
#[derive(Default)]
struct Seen {
    exec: Option<(Exec, Vec<u8>, Vec<u8>)>,
    path: Option<Vec<u8>>,
    connected: bool,
    exited: bool,
}

/// What came in during the check.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// How many records, those of the check included: they stand in the account.
    pub(super) count: u64,
    /// Those that are not the check's: of the runner, where it is in scope.
    pub(super) others: Vec<Vec<u8>>,
}

/// Runs the check, with what must be refused if anything must. Where the hooks are on the topmost cgroup they are not put on
/// the check's own.
pub(super) fn run(
    kernel: &mut Kernel,
    hierarchy: &Hierarchy,
    runtime: &Path,
    closed: Option<&ClosedPort>,
    scope: Scope,
) -> Result<Received, LoadError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| LoadError::SelfCheck(format!("{what}: {error}"));
    let scratch =
        Scratch::create(runtime).map_err(|error| failed("can't make a directory for the canary file", &error))?;
    let canary = scratch.path.join(CANARY);
    std::fs::write(&canary, "").map_err(|error| failed("can't write the canary file", &error))?;
    let cgroup = hierarchy.create_job(&format!("runner-agent-check-{}", std::process::id()))?;
    if scope == Scope::Job {
        kernel.hook(cgroup.path(), SLOT, closed.is_some(), None)?;
    }
    kernel.add_job(&cgroup, SLOT)?;
    let mut command: Vec<OsString> = vec![OWN_PROGRAM.into(), "self-check".into(), canary.clone().into()];
    if let Some(closed) = closed {
        command.extend(["--closed".into(), closed.port().to_string().into()]);
    }
    let mut child = Command::new(OWN_PROGRAM)
        .args(launch::arguments(cgroup.path(), &command, launch::Confinement::default()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("can't start a child", &error))?;
    let mut done = Done::of(child.stdout.take()).map_err(|error| failed("can't listen to the child", &error))?;
    let mut seen = Seen::default();
    let mut received = Received::default();
    let saw_enough = wait(kernel, &mut seen, &mut received, &mut done, |seen| {
        seen.exec.is_some() && seen.path.is_some() && seen.connected
    });
    let is_too_busy = !saw_enough && !done.is_told();
    if is_too_busy {
        let _ = child.kill();
    }
    let snapshot = Snapshot::read(child.id());
    drop(child.stdin.take());
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    let status = child.wait().map_err(|error| failed("can't wait for the child", &error))?;
    wait(kernel, &mut seen, &mut received, &mut Done::now(), |seen| seen.exited);
    kernel.remove_job(SLOT)?;
    cgroup.remove()?;
    if is_too_busy {
        return Err(LoadError::TooBusy { within: CHILD_WITHIN });
    }
    if !status.success() {
        let said = said.trim().trim_start_matches("runner-agent: ");
        return Err(LoadError::SelfCheck(format!("the child ended with {status}: {said}")));
    }
    if let Some(closed) = closed {
        closed.saw_nothing().map_err(LoadError::SelfCheck)?;
    }
    let snapshot = snapshot.ok_or_else(|| LoadError::SelfCheck("the child is not in /proc".to_owned()))?;
    compare(&seen, &snapshot, &canary).map_err(LoadError::SelfCheck)?;
    Ok(received)
}

/// A directory of this check alone, gone with it. Other agents check at the same time and with the same file name, and
/// in a directory that everybody writes to, somebody else's link could stand where the file is to be written.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(below: &Path) -> std::io::Result<Self> {
        // A pid comes back, and what a killed agent left must not be in the way.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let name = format!("runner-agent-check-{}-{}-{}", std::process::id(), now.tv_sec, now.tv_nsec);
        let path = below.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!("can't remove {}: {error}", self.path.display());
        }
    }
}

/// The child's word that it has done everything, and until when what it did may be seen.
struct Done {
    word: Option<ChildStdout>,
    until: Instant,
}

impl Done {
    /// Waits for the word of a child.
    fn of(word: Option<ChildStdout>) -> std::io::Result<Self> {
        if let Some(word) = &word {
            rustix::io::ioctl_fionbio(word, true)?;
        }
        Ok(Self { word, until: Instant::now() + CHILD_WITHIN })
    }

    /// Everything has just been done.
    fn now() -> Self {
        Self { word: None, until: Instant::now() + WITHIN }
    }

    /// Whether the child has said so, or is gone.
    fn is_told(&self) -> bool {
        self.word.is_none()
    }

    fn is_time_up(&mut self) -> bool {
        let has_word =
            |word: &mut ChildStdout| !matches!(word.read(&mut [0]), Err(error) if error.kind() == WouldBlock);
        if self.word.as_mut().is_some_and(has_word) {
            *self = Self::now();
        }
        Instant::now() >= self.until
    }
}

/// Drains the rings until enough was seen, or the time is up: whether it was enough.
fn wait(
    kernel: &mut Kernel,
    seen: &mut Seen,
    received: &mut Received,
    done: &mut Done,
    enough: impl Fn(&Seen) -> bool,
) -> bool {
    while !enough(seen) && !done.is_time_up() {
        kernel.wait_readable(Duration::from_millis(1));
        kernel.drain(|bytes| {
            received.count += 1;
            match decode(bytes) {
                Ok(record) if record.header().job != SLOT => received.others.push(bytes.to_vec()),
                // The launcher's own exec comes first; the child's replaces it.
                Ok(Record::Exec { fixed, exe, argv, .. }) => seen.exec = Some((fixed, exe.to_vec(), argv.to_vec())),
                Ok(Record::File { path, .. }) if path.ends_with(CANARY.as_bytes()) => seen.path = Some(path.to_vec()),
                Ok(Record::Connect(connect)) => {
                    seen.connected |= connect.port == PORT && connect.address[..4] == [127, 0, 0, 1];
                }
                Ok(Record::Exit(_)) => seen.exited = true,
                _ => {}
            }
        });
    }
    enough(seen)
}

/// Everything that the probes said against `/proc`.
fn compare(seen: &Seen, truth: &Snapshot, canary: &Path) -> Result<(), String> {
    let Some((exec, exe, argv)) = &seen.exec else { return Err("no exec of the child was seen".to_owned()) };
    let key: ProcessKey = exec.header.process;
    same("pid", &key.tgid, &truth.pid)?;
    same("parent", &exec.parent.tgid, &truth.parent)?;
    same("start time (ticks)", &(key.start_ns / TICK_NS), &truth.start_ticks)?;
    same("uid", &exec.uid, &truth.program.uid)?;
    same("executable", &String::from_utf8_lossy(exe).as_ref(), &&*truth.program.exe)?;
    same("arguments", &argv, &&truth.cmdline)?;
    same("mount namespace", &exec.mount_namespace, &truth.program.mount_namespace)?;
    if exec.header.flags & flag::OUTSIDE_CGROUP != 0 {
        return Err("the child's cgroup was not recognised; run the agent in the machine's own cgroup namespace".into());
    }
    let path = seen.path.as_deref().ok_or("the child's open was not seen")?;
    let canary = canary.canonicalize().unwrap_or_else(|_| canary.to_owned());
    same("opened path", &String::from_utf8_lossy(path).as_ref(), &canary.to_string_lossy().as_ref())?;
    if !seen.connected {
        return Err("the child's connect was not seen".to_owned());
    }
    if !seen.exited {
        return Err("the child's exit was not seen".to_owned());
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, probe: &T, truth: &T) -> Result<(), String> {
    if probe == truth { Ok(()) } else { Err(format!("{what} is {truth:?} and was seen as {probe:?}")) }
}
