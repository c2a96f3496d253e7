//! What all commands share: the workspace's paths, and running another program as a visible step.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{env, fmt};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// The workspace's root: this package's parent directory at the time it was built.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The target directory that this program was built into.
pub fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe().context("where this program lies")?;
    Ok(kernel_toolchain::outer_target_dir(&program).map_or_else(|| root().join("target"), Path::to_path_buf))
}

/// The cargo that runs this program, at the workspace's root, reading nothing from the terminal.
///
/// `cargo run` leaves variables about this package behind; an inner cargo gets none of them, or it would rebuild what
/// the outer one has built.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name_text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.arg(subcommand).current_dir(root()).stdin(Stdio::null());
    command
}

/// Says what is done, does it, and fails with that name when the program fails.
pub fn run(what: impl fmt::Display, command: &mut Command) -> Result<()> {
    eprintln!("── {what}");
    let status = command.status().with_context(|| format!("{what}: {} can't be started", program(command)))?;
    if !status.success() {
        bail!("{what}: `{}` ended with {status}", line(command));
    }
    Ok(())
}

/// What the program printed; its failure is an error that holds its last words.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{} can't be started", program(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}: {}", line(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the program starts and ends well, whatever it prints.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Becomes true on Ctrl-C or SIGTERM. A task that has things to clean up asks for it before it makes them: from then on
/// a signal no longer ends this program, and every guard runs on the way out.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("a handler for Ctrl-C")?;
    }
    Ok(stop)
}

/// Root by effective user id, which is who owns the entry of this process in /proc.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Where the cgroup v2 hierarchy is mounted: on hybrid systems that is below `/sys/fs/cgroup`.
pub fn cgroup_v2() -> Option<PathBuf> {
    cgroup_v2_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// One mount a line: `36 35 98:0 /root /mount/point options [optional fields] - type source options` (proc(5)).
fn cgroup_v2_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|mount| {
        let (place, kind) = mount.split_once(" - ")?;
        if kind.split(' ').next()? != "cgroup2" {
            return None;
        }
        place.split(' ').nth(4).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_v2_hierarchy_is_found_beside_v1_controllers() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup_v2_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup_v2_in("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/apt-get");
        command.args(["install", "-y", "iproute2"]);
        assert_eq!(line(&command), "apt-get install -y iproute2");
    }
}
