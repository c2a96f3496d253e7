//! A file opened in every way that leads to it: `act open TRICK SECRET FOLDER`.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::{Trick, parsed, returned};

pub const TRICKS: &[(&str, Trick)] = &[
    ("plain", plain),
    ("open", open),
    ("openat2", openat2),
    ("creat", creat),
    ("by-handle", by_handle),
    ("relative", relative),
    ("dirfd", dirfd),
    ("dotdot", dotdot),
    ("symlink", symlink),
    ("symlinked-folder", symlinked_folder),
    ("proc-root", proc_root),
    ("proc-cwd", proc_cwd),
    ("o-path", o_path),
    ("proc-fd", proc_fd),
    ("hard-link", hard_link),
    ("rename", rename),
    ("thread", thread),
    ("fail", fail),
    ("storm", storm),
    ("watched-storm", watched_storm),
    ("write", write),
];

fn secret(arguments: &[OsString]) -> &Path {
    Path::new(&arguments[0])
}

fn in_folder(arguments: &[OsString], name: &str) -> PathBuf {
    Path::new(&arguments[1]).join(name)
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL")
}

fn read(mut file: File) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.is_empty() { Err(io::Error::other("nothing to read")) } else { Ok(()) }
}

fn owned(descriptor: i64) -> io::Result<File> {
    let descriptor = returned(descriptor)? as i32;
    // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// Calls that architectures of after 2008 don't have: there the C library makes openat(2) of them.
///
/// Both take a path that ends in NUL and lives through the call.
mod older {
    #[cfg(target_arch = "x86_64")]
    pub unsafe fn open(path: *const libc::c_char, flags: i32) -> i64 {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_open, path, flags) }
    }

    #[cfg(target_arch = "x86_64")]
    pub unsafe fn creat(path: *const libc::c_char, mode: libc::mode_t) -> i64 {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_creat, path, mode) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub unsafe fn open(path: *const libc::c_char, flags: i32) -> i64 {
        // SAFETY: the caller's promise.
        i64::from(unsafe { libc::open(path, flags) })
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub unsafe fn creat(path: *const libc::c_char, mode: libc::mode_t) -> i64 {
        // SAFETY: the caller's promise.
        i64::from(unsafe { libc::creat(path, mode) })
    }
}

fn plain(arguments: &[OsString]) -> io::Result<()> {
    read(File::open(secret(arguments))?)
}

fn open(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(secret(arguments));
    // SAFETY: the path ends in NUL and lives through the call.
    read(owned(unsafe { older::open(path.as_ptr(), libc::O_RDONLY) })?)
}

fn openat2(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(secret(arguments));
    // `struct open_how`: flags, mode, resolve.
    let how = [0_u64; 3];
    // SAFETY: path and structure live through the call, and the size is the structure's.
    let file =
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), how.as_ptr(), size_of_val(&how)) };
    read(owned(file)?)
}

fn creat(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(secret(arguments));
    // SAFETY: the path ends in NUL and lives through the call.
    owned(unsafe { older::creat(path.as_ptr(), 0o600) }).map(drop)
}

/// `struct file_handle` with room for any handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

fn by_handle(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(secret(arguments));
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount = 0_i32;
    // SAFETY: all three live through the call, and the handle has the room that it announces.
    returned(unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount, 0)
    })?;
    let folder = File::open(secret(arguments).parent().expect("a secret lies in a folder"))?;
    // SAFETY: the handle is the one that the kernel has just written.
    let file =
        unsafe { libc::syscall(libc::SYS_open_by_handle_at, folder.as_raw_fd(), &raw mut handle, libc::O_RDONLY) };
    read(owned(file)?)
}

fn relative(arguments: &[OsString]) -> io::Result<()> {
    std::env::set_current_dir(secret(arguments).parent().expect("a secret lies in a folder"))?;
    read(File::open(secret(arguments).file_name().expect("a secret has a name"))?)
}

fn dirfd(arguments: &[OsString]) -> io::Result<()> {
    let folder = File::open(secret(arguments).parent().expect("a secret lies in a folder"))?;
    let name = c_string(Path::new(secret(arguments).file_name().expect("a secret has a name")));
    // SAFETY: the name ends in NUL and lives through the call.
    read(owned(unsafe { libc::syscall(libc::SYS_openat, folder.as_raw_fd(), name.as_ptr(), libc::O_RDONLY) })?)
}

fn dotdot(arguments: &[OsString]) -> io::Result<()> {
    let folder = secret(arguments).parent().expect("a secret lies in a folder");
    let again = folder.join("..").join(folder.file_name().expect("the folder has a name")).join(".");
    read(File::open(again.join(secret(arguments).file_name().expect("a secret has a name")))?)
}

fn symlink(arguments: &[OsString]) -> io::Result<()> {
    let link = in_folder(arguments, "readme.txt");
    std::os::unix::fs::symlink(secret(arguments), &link)?;
    read(File::open(link)?)
}

fn symlinked_folder(arguments: &[OsString]) -> io::Result<()> {
    let link = in_folder(arguments, "docs");
    std::os::unix::fs::symlink(secret(arguments).parent().expect("a secret lies in a folder"), &link)?;
    read(File::open(link.join(secret(arguments).file_name().expect("a secret has a name")))?)
}

fn below(front: &str, path: &Path) -> PathBuf {
    Path::new(front).join(path.strip_prefix("/").unwrap_or(path))
}

fn proc_root(arguments: &[OsString]) -> io::Result<()> {
    read(File::open(below("/proc/self/root", secret(arguments)))?)
}

fn proc_cwd(arguments: &[OsString]) -> io::Result<()> {
    std::env::set_current_dir("/")?;
    read(File::open(below("/proc/self/cwd", secret(arguments)))?)
}

/// A descriptor that can't be read, reopened as one that can.
fn o_path(arguments: &[OsString]) -> io::Result<()> {
    let path = c_string(secret(arguments));
    // SAFETY: the path ends in NUL and lives through the call.
    let descriptor = owned(unsafe { older::open(path.as_ptr(), libc::O_PATH) })?;
    read(File::open(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))?)
}

/// Opened, and opened again through the descriptor: two opens.
fn proc_fd(arguments: &[OsString]) -> io::Result<()> {
    let file = File::open(secret(arguments))?;
    read(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
}

fn hard_link(arguments: &[OsString]) -> io::Result<()> {
    let link = in_folder(arguments, "notes.txt");
    fs::hard_link(secret(arguments), &link)?;
    read(File::open(link)?)
}

fn rename(arguments: &[OsString]) -> io::Result<()> {
    let other = in_folder(arguments, "x.bin");
    fs::rename(secret(arguments), &other)?;
    read(File::open(other)?)
}

fn thread(arguments: &[OsString]) -> io::Result<()> {
    let path = secret(arguments).to_owned();
    let thread = std::thread::spawn(move || read(File::open(path)?));
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// An open that fails, and that succeeds in failing.
fn fail(arguments: &[OsString]) -> io::Result<()> {
    match File::open(secret(arguments)) {
        Ok(_) => Err(io::Error::other("opened, and was not to be")),
        Err(_) => Ok(()),
    }
}

fn write(arguments: &[OsString]) -> io::Result<()> {
    fs::OpenOptions::new().append(true).open(secret(arguments)).map(drop)
}

/// FILE COUNT: opened that often.
fn storm(arguments: &[OsString]) -> io::Result<()> {
    let count: u32 = parsed(arguments, 1)?;
    for _ in 0..count {
        File::open(secret(arguments))?;
    }
    Ok(())
}

/// FOLDER COUNT: `FOLDER/NUMBER/.npmrc`, opened for reading once each.
fn watched_storm(arguments: &[OsString]) -> io::Result<()> {
    let count: u32 = parsed(arguments, 1)?;
    for number in 0..count {
        File::open(Path::new(&arguments[0]).join(number.to_string()).join(".npmrc"))?;
    }
    Ok(())
}
