//! What a job may do to the kernel: `act attack TRICK …`. Calls that would change the machine where nothing stands in their
//! way are made in a form that can't: a wrong magic number, no module, the time that it is.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::{Trick, parsed, returned, text};

pub const TRICKS: &[(&str, Trick)] = &[
    ("get-pin", get_pin),
    ("program-by-id", program_by_id),
    ("map-by-id", map_by_id),
    ("map-named", map_named),
    ("link-by-id", link_by_id),
    ("detach", detach),
    ("change-map", change_map),
    ("set-clock", set_clock),
    ("set-time-of-day", set_time_of_day),
    ("adjust-clock", adjust_clock),
    ("module-from-file", module_from_file),
    ("module-from-memory", module_from_memory),
    ("remove-module", remove_module),
    ("kexec", kexec),
    ("sample", sample),
    ("answer-opens", answer_opens),
    ("restart-wrongly", restart_wrongly),
    ("clone", clone),
    ("enter", enter),
];

const MAP_UPDATE_ELEM: i64 = 2;
const OBJ_GET: i64 = 7;
const PROG_GET_NEXT_ID: i64 = 11;
const PROG_GET_FD_BY_ID: i64 = 13;
const MAP_GET_FD_BY_ID: i64 = 14;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const LINK_GET_FD_BY_ID: i64 = 30;
const LINK_DETACH: i64 = 34;

/// `union bpf_attr`, as far as these commands use it.
fn bpf(command: i64, attributes: &mut [u64; 4]) -> io::Result<i64> {
    // SAFETY: the attributes live through the call, and the size is theirs.
    returned(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) })
}

fn owned(descriptor: i64) -> OwnedFd {
    // SAFETY: the kernel has just returned it to us, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
}

/// KIND PATH: whoever opens this file (KIND 0), or one on its file system (256), waits until this process has answered, or has ended.
fn answer_opens(arguments: &[OsString]) -> io::Result<()> {
    let group = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
    // SAFETY: takes numbers alone.
    let group = owned(returned(i64::from(unsafe { libc::fanotify_init(group, libc::O_RDONLY as u32) }))?);
    let (path, kind) = (CString::new(text(arguments, 1)?)?, parsed::<u32>(arguments, 0)?);
    // SAFETY: the path ends in NUL and lives through the call.
    let marked = unsafe {
        let flags = libc::FAN_MARK_ADD | kind;
        libc::fanotify_mark(group.as_raw_fd(), flags, libc::FAN_OPEN_PERM, libc::AT_FDCWD, path.as_ptr())
    };
    returned(i64::from(marked)).map(drop)
}

/// Counts what the first CPU does, whoever does it.
fn sample(_: &[OsString]) -> io::Result<()> {
    /// `perf_event_attr` of its first version (linux/perf_event.h): kind, size, what is counted, and nothing else.
    const SIZE: u64 = 64;
    let software_clock: [u64; 8] = [1 | SIZE << 32, 0, 0, 0, 0, 0, 0, 0];
    let (everybody, first, no_group, no_flags): (i64, i64, i64, i64) = (-1, 0, -1, 0);
    // SAFETY: the attributes live through the call, and the size is theirs.
    let descriptor = returned(unsafe {
        libc::syscall(libc::SYS_perf_event_open, software_clock.as_ptr(), everybody, first, no_group, no_flags)
    })?;
    drop(owned(descriptor));
    Ok(())
}

/// PATH: what is pinned there.
fn get_pin(arguments: &[OsString]) -> io::Result<()> {
    let path = CString::new(text(arguments, 0)?)?;
    bpf(OBJ_GET, &mut [path.as_ptr() as u64, 0, 0, 0]).map(|descriptor| drop(owned(descriptor)))
}

fn by_id(command: i64, id: u32) -> io::Result<OwnedFd> {
    bpf(command, &mut [u64::from(id), 0, 0, 0]).map(owned)
}

/// The first program that there is.
fn program_by_id(_: &[OsString]) -> io::Result<()> {
    let mut attributes = [0; 4];
    bpf(PROG_GET_NEXT_ID, &mut attributes)?;
    by_id(PROG_GET_FD_BY_ID, (attributes[0] >> 32) as u32).map(drop)
}

/// ID
fn map_by_id(arguments: &[OsString]) -> io::Result<()> {
    by_id(MAP_GET_FD_BY_ID, parsed(arguments, 0)?).map(drop)
}

/// ID
fn link_by_id(arguments: &[OsString]) -> io::Result<()> {
    by_id(LINK_GET_FD_BY_ID, parsed(arguments, 0)?).map(drop)
}

/// ID: the link lets go of its hook.
fn detach(arguments: &[OsString]) -> io::Result<()> {
    let link = by_id(LINK_GET_FD_BY_ID, parsed(arguments, 0)?)?;
    bpf(LINK_DETACH, &mut [link.as_raw_fd() as u64, 0, 0, 0]).map(drop)
}

/// Beginning of `bpf_map_info` (linux/bpf.h): numbers of four bytes, and a name.
const MAP_INFO: usize = 40;
const MAP_VALUE_SIZE: std::ops::Range<usize> = 12..16;
const MAP_NAME: std::ops::Range<usize> = 24..40;

/// What the kernel says of that map.
fn map_info(map: &OwnedFd) -> io::Result<[u8; MAP_INFO]> {
    let mut info = [0_u8; MAP_INFO];
    let descriptor = map.as_raw_fd() as u64 | (info.len() as u64) << 32;
    bpf(OBJ_GET_INFO_BY_FD, &mut [descriptor, info.as_mut_ptr() as u64, 0, 0])?;
    Ok(info)
}

/// NAME ID…: says which of these maps has that name.
fn map_named(arguments: &[OsString]) -> io::Result<()> {
    let wanted = text(arguments, 0)?;
    for at in 1..arguments.len() {
        let id: u32 = parsed(arguments, at)?;
        let info = map_info(&by_id(MAP_GET_FD_BY_ID, id)?)?;
        if info[MAP_NAME].split(|byte| *byte == 0).next() == Some(wanted.as_bytes()) {
            return writeln!(io::stdout(), "{id}");
        }
    }
    Err(io::Error::other(format!("none of these maps is {wanted}")))
}

/// ID KEY: zeros under that key of four bytes.
fn change_map(arguments: &[OsString]) -> io::Result<()> {
    let map = by_id(MAP_GET_FD_BY_ID, parsed(arguments, 0)?)?;
    let key = parsed::<u32>(arguments, 1)?;
    let size = map_info(&map)?[MAP_VALUE_SIZE].try_into().map_err(io::Error::other)?;
    let value = vec![0_u8; u32::from_ne_bytes(size) as usize];
    let mut attributes = [map.as_raw_fd() as u64, &raw const key as u64, value.as_ptr() as u64, 0];
    bpf(MAP_UPDATE_ELEM, &mut attributes).map(drop)
}

fn now() -> io::Result<libc::timespec> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives through the call.
    returned(i64::from(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) }))?;
    Ok(now)
}

/// SECONDS: so much from now.
fn set_clock(arguments: &[OsString]) -> io::Result<()> {
    let mut then = now()?;
    then.tv_sec += parsed::<i64>(arguments, 0)?;
    // SAFETY: the structure lives through the call.
    returned(i64::from(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const then) })).map(drop)
}

/// SECONDS
fn set_time_of_day(arguments: &[OsString]) -> io::Result<()> {
    let then = libc::timeval { tv_sec: now()?.tv_sec + parsed::<i64>(arguments, 0)?, tv_usec: 0 };
    // SAFETY: the structure lives through the call; there is no time zone.
    returned(i64::from(unsafe { libc::settimeofday(&raw const then, std::ptr::null()) })).map(drop)
}

/// A microsecond, once.
fn adjust_clock(_: &[OsString]) -> io::Result<()> {
    // SAFETY: a structure of zeros asks for nothing.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_OFFSET_SINGLESHOT;
    change.offset = 1;
    // SAFETY: the structure lives through the call.
    returned(i64::from(unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &raw mut change) })).map(drop)
}

/// What is no module.
fn module_from_file(_: &[OsString]) -> io::Result<()> {
    let file = File::open("/proc/self/exe")?;
    // SAFETY: the parameters are an empty text that lives through the call.
    returned(unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) }).map(drop)
}

/// What is no module.
fn module_from_memory(_: &[OsString]) -> io::Result<()> {
    let image = [0_u8; 64];
    // SAFETY: image and parameters live through the call, and the size is the image's.
    returned(unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), image.len(), c"".as_ptr()) }).map(drop)
}

/// One that there isn't.
fn remove_module(_: &[OsString]) -> io::Result<()> {
    // SAFETY: the name lives through the call.
    returned(unsafe { libc::syscall(libc::SYS_delete_module, c"runner_agent_e2e_none".as_ptr(), libc::O_NONBLOCK) })
        .map(drop)
}

/// No segments: what is loaded is forgotten.
fn kexec(_: &[OsString]) -> io::Result<()> {
    // SAFETY: no memory is handed over.
    returned(unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, std::ptr::null::<u8>(), 0) }).map(drop)
}

/// With magic numbers that the kernel knows nothing of.
fn restart_wrongly(_: &[OsString]) -> io::Result<()> {
    // SAFETY: no memory is handed over, and the kernel refuses these numbers from whoever may restart it.
    returned(unsafe { libc::syscall(libc::SYS_reboot, 0, 0, 0, 0) }).map(drop)
}

/// FLAGS: a child in namespaces of its own, which ends at once.
fn clone(arguments: &[OsString]) -> io::Result<()> {
    let flags: i64 = parsed(arguments, 0)?;
    // SAFETY: without CLONE_VM it is a fork, and this program has one thread.
    let child = returned(unsafe { libc::syscall(libc::SYS_clone, flags | i64::from(libc::SIGCHLD), 0, 0, 0, 0) })?;
    if child == 0 {
        std::process::exit(0);
    }
    // SAFETY: waits for the child made above; no memory is handed over.
    returned(i64::from(unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), 0) })).map(drop)
}

/// FILE: the namespace that the file is.
fn enter(arguments: &[OsString]) -> io::Result<()> {
    let file = File::open(text(arguments, 0)?)?;
    // SAFETY: no memory is handed over.
    returned(i64::from(unsafe { libc::setns(file.as_raw_fd(), 0) })).map(drop)
}
