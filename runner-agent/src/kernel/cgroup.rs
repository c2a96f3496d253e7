//! The cgroup that a job lives in: found by its mount, made for the job, emptied and removed with it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};

use super::LoadError;

/// Where the v2 hierarchy is mounted, and where in it this process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The mount point.
    pub mount: PathBuf,
    /// The path of this process's own cgroup, below the mount point and without a leading slash.
    pub own: PathBuf,
}

impl Hierarchy {
    /// Finds both for this process.
    pub fn find() -> Result<Self, LoadError> {
        Self::find_in(Path::new("/proc/self"))
    }

    /// Finds both from the files of a process's directory in `/proc`.
    pub fn find_in(process: &Path) -> Result<Self, LoadError> {
        let mountinfo = process.join("mountinfo");
        let text = fs::read_to_string(&mountinfo).unwrap_or_default();
        let mount = mount_point(&text).ok_or(LoadError::NoCgroup2 { mountinfo })?;
        let own = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        Ok(Self { mount, own: PathBuf::from(own) })
    }

    /// How many levels below the root of the hierarchy a child of this process's own cgroup stands.
    pub fn job_level(&self) -> u32 {
        self.own.components().count() as u32 + 1
    }

    /// Makes a cgroup for a job, below this process's own, so that limits set from outside still hold.
    pub fn create_job(&self, name: &str) -> Result<JobCgroup, LoadError> {
        let path = self.mount.join(&self.own).join(name);
        let failed = |source| LoadError::Cgroup { action: "create the cgroup", path: path.clone(), source };
        fs::create_dir(&path).map_err(failed)?;
        JobCgroup::at(path.clone()).map_err(failed)
    }
}

/// The mount point of the first cgroup2 entry of a mountinfo text.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next() != Some("cgroup2") {
            return None;
        }
        // proc(5): the fifth field; spaces in it are written as \040.
        Some(PathBuf::from(before.split(' ').nth(4)?.replace("\\040", " ")))
    })
}

fn move_to(cgroup: &Path, pid: u32) -> Result<(), LoadError> {
    match fs::write(cgroup.join("cgroup.procs"), pid.to_string()) {
        Err(source) if source.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Err(LoadError::Cgroup { action: "move a process to", path: cgroup.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether a process is left in a cgroup or below it. In one that is gone there is none; of one that can't be read for another reason
/// (out of descriptors or memory) nobody knows, and it is not to be ended for that.
pub fn is_populated(path: &Path) -> bool {
    populated_by(fs::read_to_string(path.join("cgroup.events")))
}

/// The same by what its `cgroup.events` has.
fn populated_by(events: io::Result<String>) -> bool {
    match events {
        Ok(events) => events.lines().any(|line| line == "populated 1"),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => false,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// A file of a folder that is open: whatever its path leads to by now, and whatever this process's root has become.
fn open_in(folder: impl AsFd, name: &str, how: OFlags) -> io::Result<fs::File> {
    Ok(openat(folder, name, how | OFlags::CLOEXEC, Mode::empty())?.into())
}

fn read_in(folder: impl AsFd, name: &str) -> io::Result<String> {
    let mut text = String::new();
    open_in(folder, name, OFlags::RDONLY)?.read_to_string(&mut text)?;
    Ok(text)
}

/// A job's own cgroup. Dropping it ends what still runs in it and removes it.
#[derive(Debug)]
pub struct JobCgroup {
    path: PathBuf,
    /// Its folder. A job that gives this process another root (pivot_root(2)) is ended all the same.
    folder: OwnedFd,
    id: u64,
    removed: bool,
}

/// How long an ended process may take to leave its cgroup.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

impl JobCgroup {
    /// Takes over the cgroup of a job whose agent is gone; from here on, dropping it ends what runs in it.
    pub fn adopt(path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Cgroup { action: "open the cgroup", path: path.to_owned(), source };
        Self::at(path.to_owned()).map_err(failed)
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let folder = fs::File::open(&path)?;
        let id = folder.metadata()?.ino();
        Ok(Self { path, folder: folder.into(), id, removed: false })
    }

    /// Whether a process is left in it or below it.
    pub fn is_alive(&self) -> bool {
        populated_by(read_in(&self.folder, "cgroup.events"))
    }

    /// Takes this process out again, if a job has pulled it in; says whether it had.
    pub fn step_out(&self) -> bool {
        let is_inside = Hierarchy::find().is_ok_and(|now| now.mount.join(now.own).starts_with(&self.path));
        let above = self.path.parent().filter(|_| is_inside);
        above.is_some_and(|above| move_to(above, std::process::id()).is_ok())
    }

    /// Takes a process in. One that has ended is no error.
    pub fn take(&self, pid: u32) -> Result<(), LoadError> {
        move_to(&self.path, pid)
    }

    /// Lets processes go to another cgroup.
    pub fn release(&self, pids: &[u32], to: &Path) -> Result<(), LoadError> {
        pids.iter().try_for_each(|pid| move_to(to, *pid))
    }

    /// Leaves the cgroup and what runs in it alone.
    pub fn leave(mut self) {
        self.removed = true;
    }

    /// The cgroup's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroup's id: the inode number of its directory.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ids of the processes in it and below it.
    pub fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut folders: Vec<OwnedFd> = self.folder.try_clone().into_iter().collect();
        while let Some(folder) = folders.pop() {
            let text = read_in(&folder, "cgroup.procs").unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            let entries = Dir::read_from(&folder).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type() == FileType::Directory);
            folders.extend(below.filter_map(|entry| match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => None,
                Ok(name) => open_in(&folder, name, OFlags::RDONLY | OFlags::DIRECTORY).ok().map(OwnedFd::from),
            }));
        }
        found
    }

    /// Ends everything in it and below it, and waits until it is empty. One that somebody else has removed is.
    pub fn kill(&self) -> Result<(), LoadError> {
        if !self.is_alive() {
            return Ok(());
        }
        self.step_out();
        let kill = open_in(&self.folder, "cgroup.kill", OFlags::WRONLY);
        if kill.and_then(|mut kill| kill.write_all(b"1")).is_err() {
            // Before 5.14 there is no such file.
            for pid in self.processes() {
                if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        self.wait_until_empty().map_err(|source| LoadError::Cgroup {
            action: "empty the cgroup",
            path: self.path.clone(),
            source,
        })
    }

    /// Ends what is left, removes the cgroup and those below it.
    pub fn remove(mut self) -> Result<(), LoadError> {
        self.kill()?;
        self.remove_directories()
    }

    fn remove_directories(&mut self) -> Result<(), LoadError> {
        for directory in self.subtree().into_iter().rev() {
            match fs::remove_dir(&directory) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LoadError::Cgroup { action: "remove the cgroup", path: directory, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.removed = true;
        Ok(())
    }

    /// This directory and those below it, parents first.
    fn subtree(&self) -> Vec<PathBuf> {
        let mut found = vec![self.path.clone()];
        let mut next = 0;
        while let Some(directory) = found.get(next).cloned() {
            next += 1;
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            found.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        found
    }

    /// Waits for `populated 0` in `cgroup.events`, which the kernel announces on the open file.
    fn wait_until_empty(&self) -> io::Result<()> {
        use std::io::Seek as _;
        let mut events = open_in(&self.folder, "cgroup.events", OFlags::RDONLY)?;
        let deadline = Instant::now() + LEAVE_WITHIN;
        loop {
            let mut text = String::new();
            events.rewind()?;
            events.read_to_string(&mut text)?;
            if text.lines().any(|line| line == "populated 0") {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "processes in it don't end"));
            }
            let mut poll = [rustix::event::PollFd::new(&events, rustix::event::PollFlags::PRI)];
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: left.as_nanos().min(200_000_000) as i64 };
            rustix::event::poll(&mut poll, Some(&timeout))?;
        }
    }
}

impl Drop for JobCgroup {
    fn drop(&mut self) {
        if !self.removed {
            let ended = self.kill().and_then(|()| self.remove_directories());
            if let Err(error) = ended {
                tracing::warn!("{error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_in_unified_and_in_hybrid_layouts() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_point(unified), Some("/sys/fs/cgroup".into()));
        assert_eq!(mount_point("32 31 0:29 / /a\\040b rw - cgroup2 none rw\n"), Some("/a b".into()));
        assert_eq!(mount_point("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }

    #[test]
    fn a_cgroup_that_cannot_be_read_is_not_taken_for_one_that_nothing_runs_in() {
        let cgroup = tempfile::tempdir().unwrap();
        assert!(!is_populated(cgroup.path()), "it is gone, or none");
        let events = cgroup.path().join("cgroup.events");
        fs::create_dir(&events).unwrap();
        assert!(is_populated(cgroup.path()), "a folder can't be read");
        fs::remove_dir(&events).unwrap();
        for (number, is) in [("1", true), ("0", false)] {
            fs::write(&events, format!("populated {number}\nfrozen 0\n")).unwrap();
            assert_eq!(is_populated(cgroup.path()), is);
        }
    }

    #[test]
    fn without_a_hierarchy_the_error_says_what_to_mount() {
        let process = tempfile::tempdir().unwrap();
        fs::write(process.path().join("mountinfo"), "1 1 0:1 / / rw - ext4 /dev/sda1 rw\n").unwrap();
        let error = Hierarchy::find_in(process.path()).unwrap_err().to_string();
        assert!(error.contains("mount -t cgroup2"), "{error}");
    }
}
