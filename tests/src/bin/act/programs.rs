//! Asks the kernel for eBPF objects by their ids.

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use crate::{Trick, parsed, returned, say};

pub const TRICKS: &[(&str, Trick)] = &[("alive", alive_programs), ("links-alive", alive_links)];

const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_LINK_GET_FD_BY_ID: u32 = 30;

/// IDS…: says those whose program still exists.
fn alive_programs(arguments: &[OsString]) -> io::Result<()> {
    alive(BPF_PROG_GET_FD_BY_ID, arguments)
}

/// IDS…: says those whose link still exists.
fn alive_links(arguments: &[OsString]) -> io::Result<()> {
    alive(BPF_LINK_GET_FD_BY_ID, arguments)
}

fn alive(command: u32, arguments: &[OsString]) -> io::Result<()> {
    for at in 0..arguments.len() {
        let id: u32 = parsed(arguments, at)?;
        // `union bpf_attr` for these commands: id, next id, flags.
        let attributes = [id, 0, 0];
        // SAFETY: the attributes live through the call, and the size is theirs.
        let descriptor =
            returned(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) });
        match descriptor {
            Ok(descriptor) => {
                // SAFETY: the descriptor was just returned to us by the kernel, and nobody else has it.
                drop(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
                say(&id.to_string())?;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
