//! The launcher: joins the job's cgroup, then becomes the command.
//!
//! A process of its own, so that the command's very first instruction runs inside the job. It is this program again,
//! started as `runner-agent launch`, because placing a child between fork and exec would need unsafe code.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::thread::CapabilitySet;

/// Exit code when the command was found and can't run.
pub const CANNOT_RUN: u8 = 126;

/// Exit code when the command was not found.
pub const NOT_FOUND: u8 = 127;

/// Exit code when the agent could not do what was asked; the command never started.
pub const NOT_ARMED: u8 = 125;

/// What a job begins without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Close network sockets, rings and tunnels that were opened before.
    pub close_sockets: bool,
    /// Capabilities that are given up for good.
    pub without: CapabilitySet,
    /// What the agent's own score for the kernel's out-of-memory killer was, before it protected itself.
    pub oom_score: i32,
}

impl Default for Confinement {
    fn default() -> Self {
        Self { close_sockets: false, without: CapabilitySet::empty(), oom_score: 0 }
    }
}

/// Joins the cgroup and becomes the command. Returns only when that fails, with the exit code and what to say.
pub fn launch(cgroup: &Path, command: &[OsString], confinement: Confinement) -> (u8, String) {
    if confinement.close_sockets
        && let Err(message) = close_inherited_doors()
    {
        return (NOT_ARMED, message);
    }
    // Without privileges it was never lowered.
    let _ = fs::write(OOM_SCORE, confinement.oom_score.to_string());
    if let Err(error) = give_up(confinement.without) {
        return (NOT_ARMED, format!("can't give up the capabilities {:?}: {error}", confinement.without));
    }
    if let Err(error) = fs::write(cgroup.join("cgroup.procs"), "0") {
        return (NOT_ARMED, format!("can't join the job's cgroup {}: {error}", cgroup.display()));
    }
    let Some((program, arguments)) = command.split_first() else {
        return (NOT_ARMED, "no command to launch".to_owned());
    };
    if program.is_empty() {
        return (NOT_FOUND, "the command is empty; name a program after `--`".to_owned());
    }
    let error = Command::new(program).args(arguments).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    (code, format!("{}: {error}", program.display()))
}

/// Closes what somebody opened before the job and what no rule of the job would ever be asked about: sockets, which belong
/// to another cgroup, and rings and tunnels that hold some. Local sockets too: another descriptor may be under way in one.
/// Standard input and output may be local sockets, because some runners start every command that way.
fn close_inherited_doors() -> Result<(), String> {
    const LAST_STANDARD: i32 = 2;
    let cannot = |error: io::Error| format!("can't look at inherited descriptors: {error}");
    let local = local_sockets().map_err(cannot)?;
    // Listed before any is closed: the list is itself a descriptor.
    let entries: Vec<_> = fs::read_dir("/proc/self/fd").map_err(cannot)?.flatten().collect();
    for entry in entries {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let (Some(number), Ok(target)) = (number, fs::read_link(entry.path())) else { continue };
        let target = target.to_string_lossy();
        let socket = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        let is_ring = target.starts_with("anon_inode:[io_uring]");
        let is_tunnel = fs::metadata(entry.path()).is_ok_and(|file| is_tunnel(&file));
        if socket.is_none() && !is_ring && !is_tunnel {
            continue;
        }
        if number > LAST_STANDARD {
            nix::unistd::close(number)
                .map_err(|error| format!("can't close the inherited descriptor {number}: {error}"))?;
        } else if !socket.is_some_and(|inode| local.contains(inode)) {
            return Err(format!(
                "descriptor {number} is a network connection that was opened before the job, and no rule could judge it; \
                 start the command with its input and output on files or pipes"
            ));
        }
    }
    Ok(())
}

/// Gives up capabilities for the command and all its descendants, whoever they become: what is not in the bounding set no
/// set-user-ID program gives back.
fn give_up(without: CapabilitySet) -> io::Result<()> {
    use rustix::thread::{capabilities, remove_capability_from_bounding_set, set_capabilities};
    if without.is_empty() {
        return Ok(());
    }
    let mut sets = capabilities(None)?;
    for capability in without.iter() {
        remove_capability_from_bounding_set(capability)?;
    }
    sets.effective.remove(without);
    sets.permitted.remove(without);
    sets.inheritable.remove(without);
    Ok(set_capabilities(None, sets)?)
}

/// Of the process that reads or writes it.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Keeps the kernel's out-of-memory killer from the agent: a job that takes all memory is to end before the one that watches
/// it. Returns what the score was.
pub(super) fn protect_from_oom() -> i32 {
    const NEVER: &str = "-1000";
    let before = fs::read_to_string(OOM_SCORE).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    if let Err(error) = fs::write(OOM_SCORE, NEVER) {
        tracing::info!("the agent can be ended when memory runs out: {error}");
    }
    before
}

/// Inode numbers of the sockets that don't leave the machine.
fn local_sockets() -> io::Result<HashSet<String>> {
    const INODE: usize = 6;
    let text = fs::read_to_string("/proc/self/net/unix")?;
    Ok(text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(INODE)).map(ToOwned::to_owned).collect())
}

/// Whether a file makes packets of what is written to it; the kernel side has the same list.
fn is_tunnel(file: &fs::Metadata) -> bool {
    let device = file.rdev();
    let number = (rustix::fs::major(device), rustix::fs::minor(device));
    file.file_type().is_char_device() && runner_agent_common::egress::DOORS.contains(&number)
}

/// The arguments that make this program the launcher.
pub(super) fn arguments(cgroup: &Path, command: &[OsString], confinement: Confinement) -> Vec<OsString> {
    let mut arguments = vec!["launch".into(), "--cgroup".into(), cgroup.into()];
    arguments.extend(confinement.close_sockets.then(|| "--close-sockets".into()));
    if !confinement.without.is_empty() {
        arguments.extend(["--without".into(), confinement.without.bits().to_string().into()]);
    }
    if confinement.oom_score != 0 {
        arguments.push(format!("--oom-score={}", confinement.oom_score).into());
    }
    arguments.push("--".into());
    arguments.extend(command.iter().cloned());
    arguments
}
