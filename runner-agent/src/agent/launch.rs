//! The launcher: joins the job's cgroup, then becomes the command.
//!
//! A process of its own, so that the command's very first instruction runs inside the job. It is this program again,
//! started as `runner-agent launch`, because placing a child between fork and exec would need unsafe code.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Exit code when the command was found and can't run.
pub const CANNOT_RUN: u8 = 126;

/// Exit code when the command was not found.
pub const NOT_FOUND: u8 = 127;

/// Exit code when the agent could not do what was asked; the command never started.
pub const NOT_ARMED: u8 = 125;

/// Joins the cgroup and becomes the command. Returns only when that fails, with the exit code and what to say.
pub fn launch(cgroup: &Path, command: &[OsString]) -> (u8, String) {
    if let Err(error) = std::fs::write(cgroup.join("cgroup.procs"), "0") {
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

/// The arguments that make this program the launcher.
pub(super) fn arguments(cgroup: &Path, command: &[OsString]) -> Vec<OsString> {
    let mut arguments = vec!["launch".into(), "--cgroup".into(), cgroup.into(), "--".into()];
    arguments.extend(command.iter().cloned());
    arguments
}
