//! Other namespaces and other cgroups.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] =
    &[("leave-cgroup", leave_cgroup), ("container", container), ("without-cgroup2", without_cgroup2)];

/// CGROUP PROGRAM ARGUMENTS…: moves there, then becomes the program.
fn leave_cgroup(arguments: &[OsString]) -> io::Result<()> {
    fs::write(Path::new(&arguments[0]).join("cgroup.procs"), "0")?;
    Err(Command::new(&arguments[1]).args(&arguments[2..]).exec())
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no memory is handed over; this program has one thread.
    returned(i64::from(unsafe { libc::unshare(flags) })).map(drop)
}

fn mount(source: &str, target: &str, kind: &str, flags: u64) -> io::Result<()> {
    let [source, target, kind] = [source, target, kind].map(|text| CString::new(text).expect("no NUL in a path"));
    // SAFETY: the three texts end in NUL and live through the call; there is no data.
    returned(i64::from(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null())
    }))
    .map(drop)
}

/// SECRET FOLDER PORT: as a container engine does it, new namespaces for pids, mounts and network; inside, the secret
/// under another path by a bind mount, a program, and a connect over the namespace's own loopback.
fn container(arguments: &[OsString]) -> io::Result<()> {
    let (secret, folder) = (text(arguments, 0)?, text(arguments, 1)?);
    let port: u16 = parsed(arguments, 2)?;
    unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC)?;
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    let child = returned(i64::from(unsafe { libc::fork() }))?;
    if child != 0 {
        let mut status = 0;
        // SAFETY: waits for the child made above, and the status lives through the call.
        returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
        return if status == 0 { Ok(()) } else { Err(io::Error::other("the container failed")) };
    }
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE)?;
    mount("none", folder, "tmpfs", 0)?;
    let inside = format!("{folder}/settings");
    fs::write(&inside, "")?;
    mount(secret, &inside, "none", libc::MS_BIND)?;
    fs::read(&inside)?;
    if !Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success() {
        return Err(io::Error::other("loopback stays down"));
    }
    match TcpStream::connect(("127.0.0.1", port)) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
        other => return other.map(drop),
    }
    if !Command::new("/bin/true").arg("in-container").status()?.success() {
        return Err(io::Error::other("/bin/true failed"));
    }
    std::process::exit(0)
}

/// PROGRAM ARGUMENTS…: becomes the program in a mount namespace without a cgroup v2 hierarchy.
fn without_cgroup2(arguments: &[OsString]) -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)?;
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE)?;
    while let Some(mounted) = end_to_end::host::cgroup_mount() {
        let mounted = CString::new(mounted.to_str().expect("the mount point is text")).expect("no NUL in a path");
        // SAFETY: the path ends in NUL and lives through the call.
        returned(i64::from(unsafe { libc::umount2(mounted.as_ptr(), libc::MNT_DETACH) }))?;
    }
    Err(Command::new(&arguments[0]).args(&arguments[1..]).exec())
}
