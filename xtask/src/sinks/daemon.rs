//! A receiver of the distribution's, unpacked and not installed: started for a test, on the loopback, as nobody where that can
//! be chosen, with a folder of its own, and gone with its handle.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{setup, step};

/// How long a receiver may take to start, or to write down what it got.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The user and group that own nothing, on Debian and its relatives.
const NOBODY: u32 = 65534;

/// A folder with a copy of the receivers, which the user that runs them can reach.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("runner-agent-receiver-").tempdir().context("a folder")?;
        let root = folder.path().join("root");
        step::output(Command::new("cp").arg("-a").arg(setup::receivers::folder()?).arg(&root))?;
        if step::is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).context("a folder for nobody")?;
        }
        Ok(Self { folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that the receiver reads.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// The folder of libraries: below `usr/lib`, named by the machine's architecture.
    pub fn libraries(&self) -> Result<PathBuf> {
        let lib = self.path("root/usr/lib");
        let entries = fs::read_dir(&lib).with_context(|| lib.display().to_string())?;
        let found =
            entries.filter_map(Result::ok).find(|entry| entry.file_name().to_string_lossy().contains("-linux-"));
        Ok(found.context("no folder of libraries was unpacked")?.path())
    }

    /// A program that finds what its package has below `/usr/share`, in a mount namespace of its own. Who isn't root has none,
    /// and a receiver that looks for such files says so.
    fn command(&self, program: &str) -> Command {
        const OVER: &str = "mount -t overlay overlay -o \"lowerdir=$0:/usr/share\" /usr/share && \
                            exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
        let program = self.path("root").join(program);
        if !step::is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", OVER]).arg(self.path("root/usr/share")).arg(program);
        command
    }

    /// Starts one of the receivers.
    pub fn start(&self, program: &str, arguments: &[&Path]) -> Result<Daemon> {
        let log = fs::File::create(self.path("log")).context("the receiver's log")?;
        let mut command = self.command(program);
        command.args(arguments).current_dir(self.folder.path()).env("LD_LIBRARY_PATH", self.libraries()?);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{program} can't be started"))?;
        Ok(Daemon::of(child, self.path("log")))
    }
}

/// A running receiver.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// One that was started elsewhere; what it says goes to `log`.
    pub fn of(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which somebody has asked for.
    pub fn wait(&mut self) {
        // Ours by its handle: there is somebody to wait for, or was.
        let _ = self.child.wait();
    }

    /// Waits until something is there, and fails with the receiver's last words when it ends or takes too long.
    pub fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            let ended = self.child.try_wait().context("the receiver")?;
            if ended.is_some() || Instant::now() > deadline {
                let words = fs::read_to_string(&self.log).unwrap_or_default();
                let why = ended.map_or_else(|| "did not come in time".to_owned(), |status| format!("ended: {status}"));
                bail!("{what}: the receiver {why}\n{}", words.trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it listens.
    pub fn connect(&mut self, address: SocketAddr) -> Result<TcpStream> {
        let stream = self.wait_for("connecting", || TcpStream::connect(address).ok())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is ours by its handle; that it is gone already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback that nobody listened on a moment ago.
pub fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port of the loopback")?;
    Ok(listener.local_addr()?)
}
