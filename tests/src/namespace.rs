//! A network namespace of the test's own, joined to nothing but what the test joins it to.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PREFIX: &str = "ra-e2e-";

/// Goes away with this value.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one with loopback up.
    pub fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_left_behind();
        }
        let namespace = Self { name: format!("{PREFIX}{}-{number}", std::process::id()) };
        run(&["netns", "add", &namespace.name]);
        run(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        namespace
    }

    /// Gives loopback one more address (with prefix length).
    pub fn address(&self, address: &str) -> &Self {
        run(&["-n", &self.name, "addr", "add", address, "dev", "lo"]);
        self
    }

    /// Changes a sysctl of the namespace.
    pub fn sysctl(&self, name: &str, value: &str) -> &Self {
        let path = format!("/proc/sys/net/{}", name.replace('.', "/"));
        let mut command = Command::new("nsenter");
        command.arg(self.option()).args(["sh", "-c", "printf '%s' \"$1\" > \"$2\"", "sh", value, &path]);
        check(&mut command);
        self
    }

    /// Its name, as ip(8) knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs commands of ip(8) inside, one a line; fails at the first that does not hold.
    pub fn ip(&self, lines: &str) -> &Self {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip can be started");
        // Its standard input is dropped with the statement, which ends the batch.
        child.stdin.take().expect("its input is a pipe").write_all(lines.as_bytes()).expect("ip reads its input");
        let output = child.wait_with_output().expect("ip can be waited for");
        assert!(output.status.success(), "{command:?}: {}\n{lines}", String::from_utf8_lossy(&output.stderr));
        self
    }

    /// Does something on a thread that stands inside; sockets made there stay inside.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let there = File::open(self.file()).expect("the namespace has a file");
        let enter = move || {
            move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
            act()
        };
        std::thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The namespace's file, for setns(2).
    pub fn file(&self) -> PathBuf {
        PathBuf::from(format!("/run/netns/{}", self.name))
    }

    /// A command that runs inside. Only the network differs: mounts stay as they are.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.option()).arg(program);
        command
    }

    fn option(&self) -> OsString {
        let mut option = OsString::from("--net=");
        option.push(self.file());
        option
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Namespaces of tests that were killed before they could clean up.
fn remove_left_behind() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn run(arguments: &[&str]) {
    check(Command::new("ip").args(arguments));
}

fn check(command: &mut Command) {
    let Output { status, stderr, .. } = command.output().expect("the command can be started");
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
}
