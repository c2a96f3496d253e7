//! The programs on a job's cgroup: checked by the verifier, and put on their hooks.

use std::fs::File;

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSkb, Program};

use super::LoadError;
use super::jobs::Room;
use super::maps::missing;

/// Programs on a job's cgroup.
pub(super) const CGROUP_HOOKS: [&str; 7] =
    ["connect4", "connect6", "sendmsg4", "sendmsg6", "sock_create", "packet_out", "packet_in"];

/// Programs on a blocked job's cgroup, besides.
pub(super) const BLOCK_HOOKS: [&str; 4] = ["recvmsg4", "recvmsg6", "getpeername4", "getpeername6"];

/// The program on an audited job's cgroup alone: it looks for answers to questions, and a blocked job's come from the
/// agent itself. Each packet that arrives pays for a hook, whatever its program does.
const AUDIT_HOOK: &str = "packet_in";

/// The programs on a job's cgroup, blocked or not.
pub(super) fn cgroup_hooks(blocks: bool) -> impl Iterator<Item = &'static str> {
    let always = CGROUP_HOOKS.into_iter().filter(move |name| !blocks || *name != AUDIT_HOOK);
    always.chain(BLOCK_HOOKS.into_iter().filter(move |_| blocks))
}

/// Has the verifier look at the programs on all CPUs at once.
pub(super) fn load(ebpf: &mut Ebpf, room: Room) -> Result<(), LoadError> {
    let on_cgroups = [(room.blocks(), true), (!room.blocks() || room.audits, false)];
    let names = on_cgroups.into_iter().filter(|(is_needed, _)| *is_needed).flat_map(|(_, blocks)| cgroup_hooks(blocks));
    let mut wanted: std::collections::HashMap<&str, &'static str> = names.map(|name| (name, name)).collect();
    std::thread::scope(|scope| -> Result<(), LoadError> {
        let mut loading = Vec::new();
        for (found, program) in ebpf.programs_mut() {
            if let Some(name) = wanted.remove(found) {
                loading.push((name, scope.spawn(move || load_program(program))));
            }
        }
        for (name, thread) in loading {
            let loaded = thread.join().unwrap_or_else(|_| Err("the loader panicked".to_owned()));
            loaded.map_err(|detail| LoadError::Program { program: name, action: "load", detail })?;
        }
        Ok(())
    })?;
    wanted.into_values().next().map_or(Ok(()), |name| Err(missing(name)))
}

fn load_program(program: &mut Program) -> Result<(), String> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        _ => return Err("it is of a kind that this version doesn't load".to_owned()),
    }
    .map_err(|error| detail_of(&error))
}

/// Puts a program on a cgroup.
pub(super) fn attach_to_cgroup(ebpf: &mut Ebpf, name: &'static str, directory: &File) -> Result<FdLink, LoadError> {
    // A link shares the hook with others by itself; the kernel refuses flags here.
    let mode = CgroupAttachMode::Single;
    let link = match ebpf.program_mut(name) {
        Some(Program::CgroupSockAddr(program)) => {
            program.attach(directory, mode).and_then(|id| program.take_link(id)).map(FdLink::try_from)
        }
        Some(Program::CgroupSock(program)) => {
            program.attach(directory, mode).and_then(|id| program.take_link(id)).map(FdLink::try_from)
        }
        Some(Program::CgroupSkb(program)) => attach_packets(program, directory, mode, name).map(FdLink::try_from),
        _ => return Err(missing(name)),
    };
    // Before 5.7 there are no links on cgroups, and what is no link can't be pinned.
    link.map_err(|error| refused(name, "attach", &error))?.map_err(|error| refused(name, "attach", &error))
}

fn attach_packets(
    program: &mut CgroupSkb,
    directory: &File,
    mode: CgroupAttachMode,
    name: &str,
) -> Result<aya::programs::cgroup_skb::CgroupSkbLink, aya::programs::ProgramError> {
    use aya::programs::CgroupSkbAttachType::{Egress, Ingress};
    let direction = if name == "packet_out" { Egress } else { Ingress };
    program.attach(directory, direction, mode).and_then(|id| program.take_link(id))
}

fn refused(program: &'static str, action: &'static str, error: &dyn std::error::Error) -> LoadError {
    LoadError::Program { program, action, detail: detail_of(error) }
}

/// The kernel's own words; the verifier's log is cut to its last lines, where the reason stands.
fn detail_of(error: &dyn std::error::Error) -> String {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        detail.push_str(": ");
        detail.push_str(&cause.to_string());
        source = cause.source();
    }
    let lines: Vec<&str> = detail.lines().collect();
    if lines.len() > 12 { lines[lines.len() - 12..].join("\n") } else { detail }
}
