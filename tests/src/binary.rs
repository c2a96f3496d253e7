//! The program under test.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Names the program under test; without it the tests build one.
pub const BINARY: &str = "RUNNER_AGENT_BIN";

/// The program under test: what `RUNNER_AGENT_BIN` names, else the one that cargo builds into `beside`'s folder.
pub fn agent(beside: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = std::env::var_os(BINARY) {
        return binary.into();
    }
    BUILT.get_or_init(|| build(Path::new(beside).parent().expect("a program lies in a folder"))).clone()
}

/// Writes a program. Another process does it: one that another test's thread starts meanwhile would have the file open for writing until
/// it is its own program, and what somebody writes to can't be started.
pub fn write(to: &Path, content: &[u8]) {
    let mut tee = Command::new("tee").arg("--").arg(to).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let tee = tee.as_mut().expect("there is tee");
    tee.stdin.take().expect("it is piped").write_all(content).expect("it reads");
    assert!(tee.wait().expect("it is ours").success(), "{} can't be written", to.display());
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Copies one, by another process for the same reason.
pub fn copy(of: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp").arg("--").args([of.as_ref(), to.as_ref()]).status().expect("there is cp");
    assert!(copied.success(), "{} can't be copied to {}", of.as_ref().display(), to.as_ref().display());
}

fn build(profile: &Path) -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "runner-agent", "--bin", "runner-agent"]);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo.arg("--target-dir").arg(profile.parent().expect("a profile's folder lies in the target folder"));
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo can be started").success(), "runner-agent doesn't build");
    profile.join("runner-agent")
}
