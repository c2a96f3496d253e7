//! Folders of the job that containers may see, held fast.
//!
//! An engine looks up the source of a bind when the container starts, long after the request was judged, and follows what the job
//! has put there meanwhile. So the gate opens the source itself, below a folder that it opened before the job began, over no
//! symlink and no mount, and mounts what it opened at a place of its own. The engine is given that place.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstatvfs, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

/// Most sources that one job may have.
const MOST: usize = 256;

/// The folders, and what of them is mounted for containers.
#[derive(Debug)]
pub struct Binds {
    roots: Vec<(PathBuf, OwnedFd)>,
    folder: PathBuf,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    device: u64,
    inode: u64,
    place: PathBuf,
}

impl Binds {
    /// Opens the folders. Left out are those that hold `not_within`: the home, the agent's own state.
    pub fn new(roots: &[PathBuf], not_within: &[PathBuf], folder: PathBuf) -> Self {
        let mut opened = Vec::new();
        for root in roots {
            let (Ok(real), Ok(file)) = (root.canonicalize(), File::open(root)) else { continue };
            if real.components().count() <= 2 || not_within.iter().any(|path| path.starts_with(&real)) {
                continue;
            }
            // The name may lead over links; what counts is the folder that it led to at the start.
            if let Ok(copy) = file.try_clone() {
                opened.push((real, copy.into()));
            }
            opened.push((root.clone(), file.into()));
        }
        Self { roots: opened, folder, held: Vec::new() }
    }

    /// Where the places lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The place at which a container may have this path, asked for by a process of this user. An error says why not.
    pub fn hold(&mut self, path: &str, writable: bool, user: u32) -> Result<PathBuf, String> {
        let source = self.open(Path::new(path))?;
        let found = File::from(source.try_clone().map_err(|error| error.to_string())?);
        let about = found.metadata().map_err(|error| error.to_string())?;
        if !about.is_dir() && !about.is_file() {
            return Err("neither a file nor a folder".to_owned());
        }
        if user != 0 && about.uid() != user {
            return Err("which belongs to somebody else".to_owned());
        }
        if writable && user != 0 && !is_harmless(&source) {
            return Err(
                "for writing, where a container could leave set-user-ID programs or devices: add `:ro`, or mount the job's file \
                 system with nosuid and nodev"
                    .to_owned(),
            );
        }
        if let Some(held) = self.held.iter().find(|held| (held.device, held.inode) == (about.dev(), about.ino())) {
            return Ok(held.place.clone());
        }
        if self.held.len() >= MOST {
            return Err(format!("the {MOST} that a job may have are given"));
        }
        let place = self.folder.join(self.held.len().to_string());
        mount(&source, &place, about.is_dir()).map_err(|error| format!("which can't be held fast: {error}"))?;
        self.held.push(Held { device: about.dev(), inode: about.ino(), place: place.clone() });
        Ok(place)
    }

    fn open(&self, path: &Path) -> Result<OwnedFd, String> {
        if !path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))) {
            return Err("over `..`".to_owned());
        }
        let below = |(root, folder): &'_ (PathBuf, OwnedFd)| {
            let rest = path.strip_prefix(root).ok()?;
            let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            Some(openat2(folder, rest, flags, Mode::empty(), resolve))
        };
        // The longest name that leads to it may be one of several; any of them will do.
        match self.roots.iter().find_map(below) {
            Some(Ok(opened)) => Ok(opened),
            Some(Err(error)) => Err(format!("which can't be reached without symlinks and mounts: {error}")),
            None => Err(String::new()),
        }
    }
}

/// Whether what a container writes there can't become another user's rights outside.
fn is_harmless(source: &OwnedFd) -> bool {
    let wanted = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    fstatvfs(source).is_ok_and(|system| system.f_flag.contains(wanted))
}

/// Mounts what is open at a place of ours, without what is mounted below it.
fn mount(source: &OwnedFd, place: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder {
        fs::DirBuilder::new().mode(0o711).create(place)?;
    } else {
        drop(File::create_new(place)?);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mounted = open_tree(source.as_fd(), "", flags)
        .and_then(|tree| move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH));
    if let Err(error) = mounted {
        take_away(place);
        return Err(error.into());
    }
    Ok(())
}

/// Takes away a place, and never what is mounted there: only names that have nothing below them go.
fn take_away(place: &Path) {
    while unmount(place, UnmountFlags::DETACH).is_ok() {}
    let _ = fs::remove_dir(place).or_else(|_| fs::remove_file(place));
}

/// Takes away all places in a folder, and the folder.
pub fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        take_away(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}

impl Drop for Binds {
    fn drop(&mut self) {
        clear(&self.folder);
    }
}
