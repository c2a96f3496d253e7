//! What `/proc` knows of a process: for those that are older than the agent, and to check the probes against.

use std::path::{Path, PathBuf};

use runner_agent_common::record::ProcessKey;

use crate::event::Program;
use crate::text;

/// Kernel clock ticks a second in `/proc/PID/stat` (`USER_HZ`, fixed at 100 on every architecture we build for).
const TICKS_PER_SECOND: u64 = 100;

/// Nanoseconds of one tick: how exactly `/proc` tells a start time.
pub const TICK_NS: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// Numbers of a process's threads.
pub fn threads(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Where a process belongs (proc(5), `/proc/PID/stat`). A number is 0 where the process that it names lives in another PID
/// namespace: who enters a container, or is started by its init, has a group and a session outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin {
    /// Parent's process id.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
}

impl Kin {
    /// Reads where a process belongs; `None` when it is gone.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in brackets may contain anything, brackets too, so what follows the last is parsed.
    fn parse(stat: &[u8]) -> Option<Self> {
        let end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace().collect();
        // The state, which comes first here, is field 3.
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }
}

/// Name of the machine.
pub fn host_name() -> String {
    text::from_bytes(rustix::system::uname().nodename().to_bytes())
}

/// Every process, and where it belongs.
pub fn processes() -> Vec<(u32, Kin)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, Kin::of(pid)?))).collect()
}

/// A process as `/proc` shows it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Process id.
    pub pid: u32,
    /// Parent's process id.
    pub parent: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Path of its cgroup (v2), from the hierarchy's root.
    pub cgroup: String,
    /// Raw argument vector.
    pub cmdline: Vec<u8>,
    /// The program; its `cgroup` id and pipes are not filled in.
    pub program: Program,
}

impl Snapshot {
    /// Reads a process; `None` when it is gone, or is a kernel thread.
    pub fn read(pid: u32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let Kin { parent, start_ticks, .. } = Kin::of(pid)?;
        let status = std::fs::read_to_string(directory.join("status")).ok()?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()?;
        let cgroup = std::fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned();
        let cmdline = std::fs::read(directory.join("cmdline")).ok()?;
        let exe = link(&directory.join("exe"));
        let program = Program {
            exe_unlinked: exe.ends_with(" (deleted)"),
            exe: exe.trim_end_matches(" (deleted)").into(),
            argv: text::arguments(&cmdline).into(),
            cwd: link(&directory.join("cwd")).into(),
            uid,
            mount_namespace: namespace(&directory.join("ns/mnt")),
            ..Program::default()
        };
        Some(Self { pid, parent, start_ticks, cgroup, cmdline, program })
    }

    /// A key as exact as `/proc` allows: its start time is rounded down to a tick.
    pub fn rough_key(&self) -> ProcessKey {
        ProcessKey { start_ns: self.start_ticks * TICK_NS, tgid: self.pid, reserved: 0 }
    }

    /// Whether this is the process of that key, and not one that had its pid before or has it now.
    pub fn is(&self, key: ProcessKey) -> bool {
        self.pid == key.tgid && self.start_ticks == key.start_ns / TICK_NS
    }
}

/// Inode number of this process's own network namespace.
pub fn own_network() -> u32 {
    namespace(Path::new("/proc/self/ns/net"))
}

/// Inode number of a process's network namespace; 0 when it is gone.
pub fn network(pid: u32) -> u32 {
    namespace(Path::new(&format!("/proc/{pid}/ns/net")))
}

/// The network namespaces that some process is in.
pub fn networks() -> std::collections::BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(network).collect()
}

/// Inode number of this process's own mount namespace.
pub fn own_mount_namespace() -> u32 {
    namespace(Path::new("/proc/self/ns/mnt"))
}

/// Inode number of a process's mount namespace; 0 when it is gone.
pub fn mount_namespace(pid: u32) -> u32 {
    namespace(Path::new(&format!("/proc/{pid}/ns/mnt")))
}

/// The device of a mount in the kernel's own encoding, by the mount's id (proc(5), mountinfo: the first and third field).
pub fn device_of_mount(id: u64) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut lines = table.lines().map(|line| line.split(' '));
    let device = lines.find_map(|mut fields| (fields.next()?.parse() == Ok(id)).then(|| fields.nth(1)).flatten())?;
    device_number(device)
}

/// A device in the kernel's own encoding, from `MAJOR:MINOR` as the kernel writes it.
pub fn device_number(text: &str) -> Option<u32> {
    const MINOR_BITS: u32 = 20;
    let (major, minor) = text.split_once(':')?;
    Some(major.parse::<u32>().ok()? << MINOR_BITS | minor.parse::<u32>().ok()?)
}

/// Names and addresses of `/etc/hosts`. Loopback is left out: every machine calls itself something there.
pub fn hosts(file: &Path) -> Vec<(std::net::IpAddr, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<std::net::IpAddr>().ok()) else { continue };
        if address.to_canonical().is_loopback() {
            continue;
        }
        // The first name is the canonical one: it must end up in front, where the latest goes.
        let names: Vec<&str> = words.collect();
        found.extend(names.into_iter().rev().map(|name| (address.to_canonical(), name.to_owned())));
    }
    found
}

/// The search domains of a resolver configuration; the last `search` or `domain` line counts (resolv.conf(5)).
pub fn search_domains(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain")).then(|| words.collect::<Vec<_>>())
    });
    let last = lines.next_back().unwrap_or_default();
    let plain = |word: &str| word.trim_matches('.').to_ascii_lowercase();
    last.into_iter().map(plain).filter(|word| !word.is_empty()).collect()
}

fn link(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    std::fs::read_link(path).map(|target| text::from_bytes(target.as_os_str().as_bytes())).unwrap_or_default()
}

/// `KIND:[NUMBER]`, as namespaces(7) has it.
fn namespace(path: &Path) -> u32 {
    let text = link(path);
    let number = text.split_once(":[").and_then(|(_, rest)| rest.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_reads_itself() {
        let me = Snapshot::read(std::process::id()).unwrap();
        assert_eq!(me.parent, std::os::unix::process::parent_id());
        assert!(!me.program.exe.is_empty() && !me.program.argv.is_empty());
        assert!(me.is(me.rough_key()));
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = b"12 (a) b) S) R 34 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 777 23";
        assert_eq!(Kin::parse(stat), Some(Kin { parent: 34, group: 5, session: 6, start_ticks: 777 }));
        assert_eq!(Kin::parse(b"no bracket"), None);
    }

    #[test]
    fn the_canonical_name_of_a_hosts_line_ends_up_in_front() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hosts");
        std::fs::write(&file, "# comment\n192.0.2.7 main.example alias.example # tail\nnot-an-address x\n").unwrap();
        let mut names = crate::names::Names::default();
        for (address, name) in hosts(&file) {
            names.add(address, &name);
        }
        assert_eq!(names.of([192, 0, 2, 7].into()).first().map(|name| &**name), Some("main.example"));
    }
}
