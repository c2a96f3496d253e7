//! The calls of bpf(2) themselves. All unsafe code of the crate, because each of them takes a union that says nothing of
//! which member is meant.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_link_info, bpf_prog_info, bpf_prog_type};

use crate::{Figures, Place, Way};

/// Room for the verifier's log, of which the end matters. `BPF_LOG_LEVEL1`.
const LOG_BYTES: usize = 1 << 20;
const LOG_LEVEL: u32 = 1;

/// Room for the verifier's figures alone, a few lines. `BPF_LOG_STATS`.
const STATS_BYTES: usize = 4096;
const STATS_LEVEL: u32 = 4;

/// Lines of the verifier's log that are kept.
const LOG_LINES: usize = 8;

/// The kernel's no to a program.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{}", if self.log.is_empty() { "" } else { ": " }, self.log)]
pub struct Refused {
    /// Its error.
    pub error: io::Error,
    /// The end of the verifier's log; empty when it wasn't the verifier.
    pub log: String,
}

/// An instruction that is its operation alone.
pub(crate) fn instruction(code: u8) -> bpf_insn {
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1: bpf_insn::new_bitfield_1(0, 0), off: 0, imm: 0 }
}

/// An argument of bpf(2) with nothing said yet.
fn nothing() -> bpf_attr {
    // SAFETY: a C union of integers and arrays of integers; all zero is what the kernel takes for "not said".
    unsafe { std::mem::zeroed() }
}

/// Calls bpf(2). The kernel reads as much of the union as the command needs, and writes into it for some.
fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the union lives through the call and its size is given; pointers in it are the callers' to keep alive.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_mut(attributes), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for a command that answers with a descriptor.
fn descriptor(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    let number = bpf(command, attributes)?;
    let number = i32::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for this call, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A program that the verifier has accepted, and how many instructions it went through, as far as it said so.
pub(crate) type Accepted = (OwnedFd, Option<u32>);

pub(crate) fn load(name: &str, instructions: &[bpf_insn], licence: &CStr, place: Place) -> Result<Accepted, Refused> {
    if let Ok(accepted) = load_once(name, instructions, licence, place) {
        return Ok(accepted);
    }
    // Asked again for the reason: writing the log costs more than the verification.
    let mut log = vec![0; LOG_BYTES];
    match load_with(name, instructions, licence, place, LOG_LEVEL, &mut log) {
        Ok(program) => Ok((program, None)),
        Err(error) => Err(Refused { error, log: end_of(&log) }),
    }
}

/// Without the verifier's reason.
pub(crate) fn load_once(name: &str, instructions: &[bpf_insn], licence: &CStr, place: Place) -> io::Result<Accepted> {
    let mut log = vec![0; STATS_BYTES];
    let program = load_with(name, instructions, licence, place, STATS_LEVEL, &mut log)?;
    Ok((program, processed(&text_of(&log))))
}

fn load_with(
    name: &str,
    instructions: &[bpf_insn],
    licence: &CStr,
    place: Place,
    level: u32,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let (kind, attach, function) = match place {
        Place::Tracepoint(_) => (bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, None, 0),
        Place::Function(way, function) => {
            let (kind, attach) = match way {
                Way::ModifyReturn => (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_MODIFY_RETURN),
                Way::Entry => (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_TRACE_FENTRY),
                Way::Lsm => (bpf_prog_type::BPF_PROG_TYPE_LSM, bpf_attach_type::BPF_LSM_MAC),
            };
            (kind, Some(attach), function)
        }
    };
    let mut attributes = nothing();
    // SAFETY: `BPF_PROG_LOAD` reads this member, and all its fields are integers.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    for (to, from) in program.prog_name.iter_mut().zip(name.bytes().take(15)) {
        *to = from as c_char;
    }
    program.prog_type = kind as u32;
    program.expected_attach_type = attach.map_or(0, |attach| attach as u32);
    program.insns = instructions.as_ptr() as u64;
    program.insn_cnt = instructions.len() as u32;
    program.license = licence.as_ptr() as u64;
    program.attach_btf_id = function;
    program.log_level = level;
    program.log_buf = log.as_mut_ptr() as u64;
    program.log_size = log.len() as u32;
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attributes)
}

/// A log ends at its first zero.
fn text_of(log: &[u8]) -> String {
    String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// What the verifier says of its work: `processed 1234 insns (limit 1000000) …`.
fn processed(log: &str) -> Option<u32> {
    let line = log.lines().find_map(|line| line.strip_prefix("processed "))?;
    line.split(' ').next()?.parse().ok()
}

/// The last lines of a log.
fn end_of(log: &[u8]) -> String {
    let text = text_of(log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

pub(crate) fn attach(program: BorrowedFd<'_>, place: Place) -> io::Result<OwnedFd> {
    let mut attributes = nothing();
    // SAFETY: `BPF_RAW_TRACEPOINT_OPEN` reads this member; without a name it means the function of the program's own.
    let raw = unsafe { &mut attributes.raw_tracepoint };
    if let Place::Tracepoint(name) = place {
        raw.name = name.as_ptr() as u64;
    }
    raw.prog_fd = program.as_raw_fd() as u32;
    descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes)
}

/// Pins a link or a program at a path on a BPF file system.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = nothing();
    // SAFETY: `BPF_OBJ_PIN` reads this member; the path lives until the call has returned.
    let pinned = unsafe { &mut attributes.__bindgen_anon_4 };
    pinned.pathname = path.as_ptr() as u64;
    pinned.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attributes).map(drop)
}

/// Opens what is pinned at a path on a BPF file system.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = nothing();
    // SAFETY: `BPF_OBJ_GET` reads this member; the path lives until the call has returned.
    let pinned = unsafe { &mut attributes.__bindgen_anon_4 };
    pinned.pathname = path.as_ptr() as u64;
    descriptor(bpf_cmd::BPF_OBJ_GET, &mut attributes)
}

/// Has the kernel fill in what it knows of an object, and says how many bytes of it that was.
///
/// # Safety
///
/// `T` must be the structure of integers that the kernel has for this kind of object.
unsafe fn info<T>(object: BorrowedFd<'_>) -> io::Result<(T, usize)> {
    // SAFETY: a C structure of integers, as the caller says.
    let mut info: T = unsafe { std::mem::zeroed() };
    let mut attributes = nothing();
    // SAFETY: `BPF_OBJ_GET_INFO_BY_FD` reads this member; `info` lives until the call has returned, and the kernel writes no more of
    // it than the length that is given.
    let asked = unsafe { &mut attributes.info };
    asked.bpf_fd = object.as_raw_fd() as u32;
    asked.info_len = size_of::<T>() as u32;
    asked.info = std::ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    // SAFETY: the kernel has put the length that it wrote into the same member.
    let known = unsafe { attributes.info.info_len } as usize;
    Ok((info, known))
}

pub(crate) fn figures(program: BorrowedFd<'_>) -> io::Result<Figures> {
    // SAFETY: the descriptor is that of a program.
    let (info, known) = unsafe { info::<bpf_prog_info>(program) }?;
    let tells_skipped = known >= std::mem::offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    Ok(Figures {
        verified_instructions: (info.verified_insns > 0).then_some(info.verified_insns),
        skipped_runs: tells_skipped.then_some(info.recursion_misses),
    })
}

pub(crate) fn program_of(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is that of a link.
    let (info, _) = unsafe { info::<bpf_link_info>(link) }?;
    let mut attributes = nothing();
    // SAFETY: `BPF_PROG_GET_FD_BY_ID` reads this member, which is an integer.
    let asked = unsafe { &mut attributes.__bindgen_anon_6 };
    asked.__bindgen_anon_1.prog_id = info.prog_id;
    descriptor(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_at_its_first_zero_and_keeps_its_last_lines() {
        let lines: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
        let mut log = lines.join("\n").into_bytes();
        log.extend([0; 32]);
        let end = end_of(&log);
        assert!(end.starts_with("line 12\n") && end.ends_with("line 19"), "{end}");
        assert_eq!(end_of(&[0; 8]), "");
    }

    #[test]
    fn a_verifier_says_how_many_instructions_it_went_through() {
        let log =
            "verification time 51 usec\nstack depth 0+64\nprocessed 1848 insns (limit 1000000) max_states_per_insn 1\n";
        assert_eq!((processed(log), processed("")), (Some(1848), None));
    }

    #[test]
    fn a_program_for_no_function_is_refused_with_a_reason() {
        let refused = crate::Loaded::nothing(Place::Function(Way::ModifyReturn, 0)).unwrap_err();
        assert!(refused.error.raw_os_error().is_some());
    }
}
