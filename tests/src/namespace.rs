//! A network namespace of the test's own, joined to nothing.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// Goes away with this value.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one with loopback up.
    pub fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("ra-e2e-{}-{number}", std::process::id()) };
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

fn run(arguments: &[&str]) {
    check(Command::new("ip").args(arguments));
}

fn check(command: &mut Command) {
    let Output { status, stderr, .. } = command.output().expect("the command can be started");
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
}
