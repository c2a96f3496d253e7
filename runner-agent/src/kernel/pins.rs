//! Where a job's links and maps are pinned, so that its rules outlive the agent: one folder a job, on a BPF file system.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::LoadError;

/// `f_type` of a BPF file system, from linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Where the system has its BPF file system, if it has one.
const SYSTEM: &str = "/sys/fs/bpf";

/// How folders of agents that are going begin; their number follows.
const PARTING: &str = "parting-";

/// A folder that holds the folders of jobs.
#[derive(Clone, Debug)]
pub struct PinRoot {
    path: PathBuf,
    /// The agent mounted the file system, and takes it away with the last job.
    is_ours: bool,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoadError {
    let path = path.to_owned();
    move |source| LoadError::Pins { action, path, source }
}

impl PinRoot {
    /// The folder asked for, which must be on a BPF file system; else one on the system's; else one on a file system that
    /// is mounted at `bpf` below `runtime` for this.
    fn find(asked: Option<&Path>, runtime: &Path) -> Result<Self, LoadError> {
        if let Some(path) = asked {
            let above = path.ancestors().find(|above| above.exists()).unwrap_or(path);
            if !is_bpf_fs(above) {
                let error = io::Error::other("it is not on a BPF file system; mount one with: mount -t bpf bpf DIR");
                return Err(failed("pin to", path)(error));
            }
            return Self { path: path.to_owned(), is_ours: false }.made();
        }
        if let Some(mounted) = Self::mounted(runtime) {
            return mounted.made();
        }
        let path = runtime.join("bpf");
        make_folder(&path)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("bpf", &path, "bpf", flags, Some(c"mode=0700"))
            .map_err(|error| failed("mount a BPF file system at", &path)(error.into()))?;
        Self { path, is_ours: true }.made()
    }

    /// Makes the folder, and sees to it that only root can enter: who can open a pin can take a rule away.
    fn made(self) -> Result<Self, LoadError> {
        make_folder(&self.path)?;
        let metadata = fs::metadata(&self.path).map_err(failed("look at", &self.path))?;
        if metadata.uid() != 0 {
            let error = io::Error::other("it belongs to another user than root; choose a folder of root's");
            return Err(failed("pin to", &self.path)(error));
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700))
            .map_err(failed("close to others", &self.path))?;
        Ok(self)
    }

    /// The folder of a job, which may not exist.
    pub fn job(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Finds the folder and makes that of a job in it, which goes away with the value.
    pub fn claim(asked: Option<&Path>, runtime: &Path, name: &str) -> Result<Pins, LoadError> {
        let _turn = Turn::take(runtime)?;
        let root = Self::find(asked, runtime)?;
        let folder = root.job(name);
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed("make", &folder))?;
        Ok(Pins { folder, root, keep: false })
    }

    /// The folder that an agent before has used, if there still is one.
    pub fn existing(asked: Option<&Path>, runtime: &Path) -> Option<Self> {
        let asked = asked.map(|path| Self { path: path.to_owned(), is_ours: false });
        asked.or_else(|| Self::mounted(runtime)).filter(|found| is_bpf_fs(&found.path))
    }

    /// The folder, which may not exist, on a file system that does.
    fn mounted(runtime: &Path) -> Option<Self> {
        if is_bpf_fs(Path::new(SYSTEM)) {
            return Some(Self { path: Path::new(SYSTEM).join("runner-agent"), is_ours: false });
        }
        let path = runtime.join("bpf");
        is_bpf_fs(&path).then_some(Self { path, is_ours: true })
    }

    /// A folder for the links of an agent that goes and has pinned nothing; none where the system has no BPF file system, because
    /// nothing is mounted for this. (Linux 6.1 takes a link away before unlink(2) returns, so that there one waits all the same.)
    pub fn at_parting(runtime: &Path) -> Option<Pins> {
        Self::clear_parted(runtime);
        let made = Self::mounted(runtime)?.made().and_then(|root| {
            let folder = root.job(&format!("{PARTING}{}", std::process::id()));
            fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed("make", &folder))?;
            Ok(Pins { folder, root, keep: false })
        });
        made.inspect_err(|error| tracing::debug!("hooks are let go one after the other: {error}")).ok()
    }

    /// Removes such folders of agents that died before they had.
    pub fn clear_parted(runtime: &Path) {
        let Some(root) = Self::existing(None, runtime) else { return };
        let own = std::process::id().to_string();
        for entry in fs::read_dir(&root.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PARTING));
            if let Some(pid) = pid
                && (pid == own || !Path::new("/proc").join(pid).exists())
            {
                drop(root.take_over(&format!("{PARTING}{pid}")));
            }
        }
    }

    /// Takes the folder of a job over, if it is there; it goes away with the value.
    pub fn take_over(&self, name: &str) -> Option<Pins> {
        let folder = self.job(name);
        folder.is_dir().then(|| Pins { folder, root: self.clone(), keep: false })
    }
}

/// Held while the file system is mounted or unmounted, and while a job's folder is made or removed: two agents that start
/// at once would mount it twice, and one that ends could take it from under one that starts.
struct Turn {
    _lock: fs::File,
}

impl Turn {
    /// Waits for its turn; `runtime` is made if it isn't there.
    fn take(runtime: &Path) -> Result<Self, LoadError> {
        make_folder(runtime)?;
        let path = runtime.join("pins.lock");
        let lock = fs::File::create(&path).map_err(failed("open", &path))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed("lock", &path)(error.into()))?;
        Ok(Self { _lock: lock })
    }
}

fn make_folder(path: &Path) -> Result<(), LoadError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

fn is_bpf_fs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == i128::from(BPF_FS_MAGIC))
}

/// The folder of one job's pins. What is pinned there is let go when this is dropped.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    root: PinRoot,
    keep: bool,
}

impl Pins {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves everything pinned: the rules stay in force without an agent.
    pub fn keep(mut self) {
        self.keep = true;
    }

    fn remove(&self) -> io::Result<()> {
        let runtime = self.root.path.parent().filter(|_| self.root.is_ours);
        let _turn = runtime.map(Turn::take).transpose().map_err(io::Error::other)?;
        for entry in fs::read_dir(&self.folder)? {
            fs::remove_file(entry?.path())?;
        }
        fs::remove_dir(&self.folder)?;
        // Others may have jobs there, and then it stays. The file system has files of its own.
        let has_jobs = fs::read_dir(&self.root.path)?.flatten().any(|entry| entry.path().is_dir());
        if self.root.is_ours && !has_jobs {
            match unmount(&self.root.path, UnmountFlags::empty()) {
                // Busy: another agent has just opened it.
                Ok(()) | Err(rustix::io::Errno::BUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.remove()
        {
            tracing::warn!("can't remove the pins in {}: {error}", self.folder.display());
        }
    }
}
