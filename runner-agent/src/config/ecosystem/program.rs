//! Asking a program: without a shell, outside the checkout, for a bounded time.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Runtime;

/// More output than any answer has.
const MAX_OUTPUT: u64 = 64 * 1024;

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The program ended well and wrote this.
    Text(String),
    /// There is no such program where programs are looked for.
    Missing,
    /// It would not answer; a fragment says why.
    Failed(String),
}

/// Runs `name` with `arguments` in `/` and returns what it wrote to stdout.
///
/// The environment is cut down to `HOME`, `PATH` and `pass`, because variables such as `NODE_OPTIONS` make programs load
/// code. When the agent is root, only programs and directories that none but root can change are used: an earlier step of
/// a job must not be able to leave a program there that the agent then runs as root.
pub fn ask(runtime: &Runtime, name: &str, arguments: &[&str], pass: &[&str]) -> Answer {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let safe = |path: &Path| !root || only_root_changes(path);
    let directories: Vec<&PathBuf> = runtime.path.iter().filter(|path| path.is_absolute() && safe(path)).collect();
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0) && safe(path)
    };
    let Some(program) = directories.iter().map(|directory| directory.join(name)).find(executable) else {
        let anywhere = runtime.path.iter().any(|directory| directory.join(name).is_file());
        return if anywhere {
            Answer::Failed(format!("`{name}` was not run as root: others than root can change it or its directory"))
        } else {
            Answer::Missing
        };
    };
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.env("HOME", &runtime.home);
    command.env("PATH", std::env::join_paths(&directories).unwrap_or_default());
    for key in pass {
        if let Some(value) = runtime.var(key) {
            command.env(key, value);
        }
    }
    let deadline = Instant::now() + runtime.timeout;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Answer::Failed(format!("`{name}` can't be run: {error}")),
    };
    // Read beside waiting, so that neither a full pipe nor a grandchild that keeps it open can hold this up.
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(MAX_OUTPUT).read_to_end(&mut bytes).map(|_| bytes);
            drop(sender.send(read));
        });
    }
    let Some(status) = ended_by(&mut child, deadline) else {
        drop(child.kill());
        drop(child.wait());
        return Answer::Failed(format!("`{name}` did not answer within {:?}", runtime.timeout));
    };
    if !status.success() {
        return Answer::Failed(format!("`{name}` ended with {status}"));
    }
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
    match receiver.recv_timeout(left) {
        Ok(Ok(bytes)) => Answer::Text(String::from_utf8_lossy(&bytes).into_owned()),
        _ => Answer::Failed(format!("`{name}` did not finish its answer")),
    }
}

/// How it ended, if it has by then.
fn ended_by(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()?;
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            _ => return child.try_wait().ok()?,
        }
    }
}

/// Whether nobody but root can change a file, what it links to, and the directories on the way.
fn only_root_changes(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let closed = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| {
            // A sticky directory lets nobody replace what is not theirs.
            let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
            found.uid() == 0 && (found.mode() & 0o022 == 0 || sticky)
        })
    };
    real.ancestors().all(closed) && path.ancestors().all(closed)
}
