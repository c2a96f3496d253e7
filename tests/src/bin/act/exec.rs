//! Programs started in every way that a job may start them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use end_to_end::pattern;

use crate::{Trick, parsed, returned, say};

pub const TRICKS: &[(&str, Trick)] = &[
    ("storm", storm),
    ("argv", argv),
    ("thread", thread),
    ("threads", threads),
    ("daemon", daemon),
    ("not-utf8", not_utf8),
    ("orphan", orphan),
    ("after-reading", after_reading),
    ("after-input", after_input),
    ("spliced", spliced),
    ("pid-again", pid_again),
];

/// COUNT TAG: /bin/true that often, each time with the tag and a number.
fn storm(arguments: &[OsString]) -> io::Result<()> {
    let count: u32 = parsed(arguments, 0)?;
    for number in 0..count {
        let status = Command::new("/bin/true").arg(&arguments[1]).arg(number.to_string()).status()?;
        if !status.success() {
            return Err(io::Error::other("/bin/true failed"));
        }
    }
    Ok(())
}

/// COUNT: that many threads. What clone3(2) was given for each lies on its maker's stack, where something else is written at once:
/// every flag for a new namespace.
fn threads(arguments: &[OsString]) -> io::Result<()> {
    let count: u32 = parsed(arguments, 0)?;
    for _ in 0..count {
        let thread = std::thread::Builder::new().spawn(|| ())?;
        write_over();
        thread.join().map_err(|_| io::Error::other("a thread died"))?;
    }
    Ok(())
}

/// Writes where the functions that were called before had their variables.
#[inline(never)]
fn write_over() {
    std::hint::black_box([0x7e02_0080_u64; 1024]);
}

/// BYTES: /bin/true with that many bytes of arguments.
fn argv(arguments: &[OsString]) -> io::Result<()> {
    let total: usize = parsed(arguments, 0)?;
    Err(Command::new("/bin/true").args(pattern::arguments(total)).exec())
}

/// PROGRAM ARGUMENTS…: the program replaces this one from a thread that isn't the first.
fn thread(arguments: &[OsString]) -> io::Result<()> {
    let arguments = arguments.to_vec();
    let thread = std::thread::spawn(move || Command::new(&arguments[0]).args(&arguments[1..]).exec());
    Err(thread.join().unwrap_or_else(|_| io::Error::other("the thread panicked")))
}

/// PROGRAM ARGUMENTS…: the program as a daemon, forked twice, in a session of its own. Says its pid.
fn daemon(arguments: &[OsString]) -> io::Result<()> {
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    if returned(i64::from(unsafe { libc::fork() }))? != 0 {
        // SAFETY: waits for any child; no memory is handed over.
        returned(i64::from(unsafe { libc::wait(std::ptr::null_mut()) }))?;
        return Ok(());
    }
    // SAFETY: no preconditions.
    returned(i64::from(unsafe { libc::setsid() }))?;
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let child = command.stderr(std::process::Stdio::null()).spawn()?;
    say(&child.id().to_string())?;
    std::process::exit(0)
}

/// FOLDER: a program whose name is no UTF-8, with an argument that is none.
fn not_utf8(arguments: &[OsString]) -> io::Result<()> {
    let program = std::path::Path::new(&arguments[0]).join(OsStr::from_bytes(b"caf\xe9-\xff"));
    std::fs::copy("/bin/true", &program)?;
    let status = Command::new(&program).arg(OsStr::from_bytes(b"\xc3\x28=\xfe")).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the program failed")) }
}

/// FILE PROGRAM ARGUMENTS…: reads the file, then becomes the program.
fn after_reading(arguments: &[OsString]) -> io::Result<()> {
    std::fs::read(&arguments[0])?;
    Err(Command::new(&arguments[1]).args(&arguments[2..]).exec())
}

/// FILE PROGRAM ARGUMENTS…: a process that was there before hears from a pipe what is in the file, and becomes the program.
/// Nobody writes to the pipe: the kernel moves the bytes.
fn spliced(arguments: &[OsString]) -> io::Result<()> {
    let (mut hears, pipe) = io::pipe()?;
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    let child = returned(i64::from(unsafe { libc::fork() }))?;
    if child == 0 {
        drop(pipe);
        io::copy(&mut hears, &mut io::sink())?;
        return Err(Command::new(&arguments[1]).args(&arguments[2..]).exec());
    }
    let file = std::fs::File::open(&arguments[0])?;
    let (from, into) = (file.as_raw_fd(), pipe.as_raw_fd());
    // SAFETY: the file's own offset is used, and a pipe has none.
    returned(unsafe { libc::splice(from, std::ptr::null_mut(), into, std::ptr::null_mut(), 4096, 0) } as i64)?;
    drop(pipe);
    let mut status = 0;
    // SAFETY: waits for the child made above, and the status lives through the call.
    returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
    std::process::exit(libc::WEXITSTATUS(status))
}

/// PROGRAM ARGUMENTS…: reads its input to the end, then becomes the program.
fn after_input(arguments: &[OsString]) -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Err(Command::new(&arguments[0]).args(&arguments[1..]).exec())
}

/// PROGRAM ARGUMENTS…: becomes the program when the parent has ended.
fn orphan(arguments: &[OsString]) -> io::Result<()> {
    // SAFETY: this program has one thread, so the child can go on as its parent would.
    if returned(i64::from(unsafe { libc::fork() }))? != 0 {
        return Ok(());
    }
    // SAFETY: no preconditions.
    let parent = unsafe { libc::getppid() };
    end_to_end::wait_until(std::time::Duration::from_secs(10), || {
        // SAFETY: no preconditions.
        unsafe { libc::getppid() != parent }
    });
    Err(Command::new(&arguments[0]).args(&arguments[1..]).exec())
}

/// `struct clone_args` of clone3(2).
#[repr(C)]
#[derive(Default)]
pub struct CloneArguments {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// Two processes, one after the other, with one pid. Says the pid.
fn pid_again(_: &[OsString]) -> io::Result<()> {
    let mut last = io::Error::other("not tried");
    // Somebody else may get the pid in between; then another one is tried.
    for _ in 0..100 {
        let first = clone(None, "first")?;
        match clone(Some(first), "second") {
            Ok(again) if again == first => return say(&first.to_string()),
            Ok(_) => return Err(io::Error::other("the kernel chose another pid")),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A child that becomes `/bin/true TAG`; returns its pid after its end.
fn clone(pid: Option<i32>, tag: &str) -> io::Result<i32> {
    let mut arguments = CloneArguments { exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() };
    if let Some(pid) = &pid {
        arguments.set_tid = std::ptr::from_ref(pid) as u64;
        arguments.set_tid_size = 1;
    }
    // SAFETY: the structure is as the call wants it and lives through it; without CLONE_VM it is a fork.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    let child = returned(child)? as i32;
    if child == 0 {
        let error = Command::new("/bin/true").args(["pid-again", tag]).exec();
        std::process::exit(error.raw_os_error().unwrap_or(1));
    }
    // SAFETY: waits for the child made above; no memory is handed over.
    returned(i64::from(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }))?;
    Ok(child)
}
