//! What a job may do to files and mounts that somebody else stands on: `act footing TRICK PATH …`.

use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use end_to_end::host;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("append", append),
    ("open-for-writing", open_for_writing),
    ("cut", cut),
    ("cut-unwritable", cut_unwritable),
    ("remove", remove),
    ("rename", rename),
    ("exchange", exchange),
    ("replace", replace),
    ("mode", mode),
    ("owner", owner),
    ("immutable", immutable),
    ("link", link),
    ("create", create),
    ("create-folder", create_folder),
    ("create-link", create_link),
    ("name", name),
    ("lock", lock),
    ("write", write),
    ("bind", bind),
    ("cover", cover),
    ("unmount", unmount),
    ("move-mount", move_mount),
    ("move-by-mount", move_by_mount),
    ("pivot", pivot),
    ("fill", fill),
    ("hoard", hoard),
    ("eat", eat),
    ("listen", listen),
    ("call", call),
];

fn path(arguments: &[OsString], at: usize) -> io::Result<&Path> {
    arguments.get(at).map(Path::new).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn append(arguments: &[OsString]) -> io::Result<()> {
    OpenOptions::new().append(true).open(path(arguments, 0)?)?.write_all(b"{}\n")
}

/// Nothing is written.
fn open_for_writing(arguments: &[OsString]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path(arguments, 0)?).map(drop)
}

/// By its path, without opening it.
fn cut(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(path(arguments, 0)?)?;
    // SAFETY: the path ends in NUL and lives through the call.
    returned(i64::from(unsafe { libc::truncate(path.as_ptr(), 0) })).map(drop)
}

/// By opening it for reading alone.
fn cut_unwritable(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(path(arguments, 0)?)?;
    // SAFETY: the path ends in NUL and lives through the call.
    let descriptor = returned(i64::from(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_TRUNC) }))?;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    drop(unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor as i32) });
    Ok(())
}

/// A file, or an empty folder.
fn remove(arguments: &[OsString]) -> io::Result<()> {
    let path = path(arguments, 0)?;
    if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
}

/// FROM TO
fn rename(arguments: &[OsString]) -> io::Result<()> {
    fs::rename(path(arguments, 0)?, path(arguments, 1)?)
}

/// Two names for each other's files.
fn exchange(arguments: &[OsString]) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, path(arguments, 0)?, CWD, path(arguments, 1)?, RenameFlags::EXCHANGE)?)
}

/// A new file under the path of the old.
fn replace(arguments: &[OsString]) -> io::Result<()> {
    let new = std::env::temp_dir().join(format!("runner-agent-e2e-new-{}", std::process::id()));
    let beside = path(arguments, 0)?.parent().filter(|_| arguments.len() == 1);
    // The same file system, or rename(2) can't.
    let new = beside.map_or(new, |folder| folder.parent().unwrap_or(folder).join("runner-agent-e2e-new"));
    fs::write(&new, "another\n")?;
    let replaced = fs::rename(&new, path(arguments, 0)?);
    if replaced.is_err() {
        fs::remove_file(&new)?;
    }
    replaced
}

fn mode(arguments: &[OsString]) -> io::Result<()> {
    fs::set_permissions(path(arguments, 0)?, fs::Permissions::from_mode(0o666))
}

fn owner(arguments: &[OsString]) -> io::Result<()> {
    std::os::unix::fs::chown(path(arguments, 0)?, Some(65534), Some(65534))
}

/// `FS_IOC_SETFLAGS` with `FS_IMMUTABLE_FL`: nobody writes to it from then on.
fn immutable(arguments: &[OsString]) -> io::Result<()> {
    const FS_IOC_SETFLAGS: libc::Ioctl = 0x4008_6602;
    const FS_IOC_GETFLAGS: libc::Ioctl = 0x8008_6601_u32 as libc::Ioctl;
    let file = File::open(path(arguments, 0)?)?;
    let mut flags = 0_i32;
    // SAFETY: the flags live through the call.
    returned(i64::from(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFLAGS, &raw mut flags) }))?;
    flags |= 0x10;
    // SAFETY: the flags live through the call.
    returned(i64::from(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_SETFLAGS, &raw const flags) })).map(drop)
}

/// FROM TO: another name, by which the file is opened for writing and then let go.
fn link(arguments: &[OsString]) -> io::Result<()> {
    fs::hard_link(path(arguments, 0)?, path(arguments, 1)?)?;
    let opened = OpenOptions::new().write(true).open(path(arguments, 1)?);
    fs::remove_file(path(arguments, 1)?)?;
    opened.map(drop)
}

/// A file that isn't there yet.
fn create(arguments: &[OsString]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path(arguments, 0)?).map(drop)
}

fn create_folder(arguments: &[OsString]) -> io::Result<()> {
    fs::create_dir(path(arguments, 0)?)
}

/// TARGET PATH
fn create_link(arguments: &[OsString]) -> io::Result<()> {
    std::os::unix::fs::symlink(path(arguments, 0)?, path(arguments, 1)?)
}

/// FROM TO: another name, which stays.
fn name(arguments: &[OsString]) -> io::Result<()> {
    fs::hard_link(path(arguments, 0)?, path(arguments, 1)?)
}

/// For itself alone, until this process ends.
fn lock(arguments: &[OsString]) -> io::Result<()> {
    let file = File::open(path(arguments, 0)?)?;
    Ok(rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?)
}

/// PATH TEXT
fn write(arguments: &[OsString]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path(arguments, 0)?)?.write_all(text(arguments, 1)?.as_bytes())
}

fn mount(source: &Path, target: &Path, kind: &str, flags: u64) -> io::Result<()> {
    let (source, target, kind) = (c_string(source)?, c_string(target)?, CString::new(kind)?);
    // SAFETY: the texts end in NUL and live through the call; there is no data.
    let mounted = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) };
    returned(i64::from(mounted)).map(drop)
}

/// FROM TO
fn bind(arguments: &[OsString]) -> io::Result<()> {
    mount(path(arguments, 0)?, path(arguments, 1)?, "none", libc::MS_BIND)
}

/// An empty file system over a folder.
fn cover(arguments: &[OsString]) -> io::Result<()> {
    mount(Path::new("none"), path(arguments, 0)?, "tmpfs", 0)
}

fn unmount(arguments: &[OsString]) -> io::Result<()> {
    let target = c_string(path(arguments, 0)?)?;
    // SAFETY: the path ends in NUL and lives through the call.
    returned(i64::from(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })).map(drop)
}

/// FROM TO: what is mounted at the one goes to the other, by move_mount(2).
fn move_mount(arguments: &[OsString]) -> io::Result<()> {
    let (from, to) = (c_string(path(arguments, 0)?)?, c_string(path(arguments, 1)?)?);
    let here = libc::AT_FDCWD;
    // SAFETY: both paths end in NUL and live through the call.
    returned(unsafe { libc::syscall(libc::SYS_move_mount, here, from.as_ptr(), here, to.as_ptr(), 0) }).map(drop)
}

/// FROM TO: the same by mount(2).
fn move_by_mount(arguments: &[OsString]) -> io::Result<()> {
    mount(path(arguments, 0)?, path(arguments, 1)?, "none", libc::MS_MOVE)
}

/// ROOT: what is mounted there becomes everybody's root in this mount namespace, and the old one lies below it.
fn pivot(arguments: &[OsString]) -> io::Result<()> {
    let root = path(arguments, 0)?;
    let old = root.join("old");
    fs::create_dir(&old)?;
    let (root, old) = (c_string(root)?, c_string(&old)?);
    // SAFETY: both paths end in NUL and live through the call.
    returned(unsafe { libc::syscall(libc::SYS_pivot_root, root.as_ptr(), old.as_ptr()) }).map(drop)
}

/// PATH: as much as the file system takes.
fn fill(arguments: &[OsString]) -> io::Result<()> {
    let mut file = File::create(path(arguments, 0)?)?;
    let block = vec![b'x'; 1 << 14];
    loop {
        match file.write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// COUNT PROGRAM ARGUMENTS…: runs the program while this process has as many descriptors as it may have, which are COUNT at
/// most. The system's own limit doesn't hold for root.
fn hoard(arguments: &[OsString]) -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let count: u64 = parsed(arguments, 0)?;
    limit.current = limit.maximum.map_or(Some(count), |maximum| Some(maximum.min(count)));
    setrlimit(Resource::Nofile, limit)?;
    let mut files = Vec::new();
    let error = loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
    };
    if error.raw_os_error() != Some(libc::EMFILE) {
        return Err(error);
    }
    // No descriptor is left for it: these three it has from here, and it begins with no other.
    let status = Command::new(text(arguments, 1)?).args(&arguments[2..]).status()?;
    drop(files);
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// As much memory as the cgroup above this process's own lets it have, and more: only where that has a limit.
fn eat(_: &[OsString]) -> io::Result<()> {
    const MEBIBYTE: usize = 1 << 20;
    let limit = host::own_cgroup().join("../memory.max");
    if fs::read_to_string(limit)?.trim() == "max" {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing would end this but the machine's memory"));
    }
    let mut eaten = Vec::new();
    loop {
        // Pages of zeros would be no pages of its own.
        eaten.push(std::hint::black_box(vec![1_u8; MEBIBYTE]));
    }
}

/// PATH: a local socket that takes every call.
fn listen(arguments: &[OsString]) -> io::Result<()> {
    let listener = std::os::unix::net::UnixListener::bind(path(arguments, 0)?)?;
    crate::say("ready")?;
    loop {
        drop(listener.accept()?);
    }
}

/// PATH: a call to a local socket.
fn call(arguments: &[OsString]) -> io::Result<()> {
    std::os::unix::net::UnixStream::connect(path(arguments, 0)?).map(drop)
}
