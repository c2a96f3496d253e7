//! What mode `block` needs beyond what `run` needs: a file system for pins, loopback for the resolver, and a trial.

use std::path::Path;

use super::{Check, Machine, Status};
use crate::agent::{BlockTrial, RunError};
use crate::kernel::LoadError;

const NEEDED: &str = "a job is armed as `run --mode block` does, and what is forbidden must be refused";

/// Where links and maps are pinned: by what is mounted, and whether one could be.
pub(super) fn bpf_fs(machine: &Machine, runtime: &Path, is_root: bool) -> Check {
    let check = Check::ok("bpf-fs", "a BPF file system, or root's right to mount one", "");
    let mountinfo = machine.text("/proc/self/mountinfo").unwrap_or_default();
    let is_at = |place: &Path| {
        mountinfo.lines().any(|line| {
            let Some((before, after)) = line.split_once(" - ") else { return false };
            let at = before.split(' ').nth(4).unwrap_or_default();
            after.split(' ').next() == Some("bpf") && Path::new(at) == place
        })
    };
    let (system, ours) = (Path::new("/sys/fs/bpf"), runtime.join("bpf"));
    if is_at(system) {
        Check { found: format!("at {}", system.display()), ..check }
    } else if is_at(&ours) {
        Check { found: format!("at {}, mounted by an agent for its jobs", ours.display()), ..check }
    } else if is_root {
        Check {
            found: format!("none yet; one is mounted at {} for as long as a job needs it", ours.display()),
            ..check
        }
    } else {
        let found = format!("none at {}, and this user may not mount one", system.display());
        let lost = "mode `block` pins its rules, so that they outlive the agent";
        Check { found, ..check }.with(Status::Warning, lost, "run as root")
    }
}

/// Where questions that an IPv6 socket sends are taken.
pub(super) fn ipv6_loopback(machine: &Machine) -> Check {
    let check = Check::ok("ipv6-loopback", "::1, if the machine has IPv6", "::1");
    let text = machine.text("/proc/net/if_inet6").unwrap_or_default();
    let mut addresses = text.lines().filter_map(|line| line.split(' ').next()).peekable();
    if addresses.peek().is_none() {
        return Check { found: "no IPv6 on this machine".to_owned(), ..check }.info();
    }
    if addresses.any(|address| address == "00000000000000000000000000000001") {
        return check;
    }
    Check { found: "IPv6 without ::1".to_owned(), ..check }.with(
        Status::Warning,
        "in mode `block`, questions to a resolver's IPv6 address are refused, because the agent can't listen where they \
         would be taken; over IPv4 names work",
        "ip link set lo up",
    )
}

/// What trying to arm for `block` brought; nothing, where even audit doesn't work.
pub(super) fn trial(result: Option<&Result<BlockTrial, RunError>>) -> Check {
    let check = Check::ok("block-mode", NEEDED, "armed; what was forbidden was refused, and the resolver answered");
    match result {
        None => {
            let found = "not tried: that takes what `run` needs".to_owned();
            Check { found, ..check }.with(Status::NotTried, "", "")
        }
        Some(Ok(trial)) => {
            let (count, ms) = (trial.probes.len(), trial.loaded_in.as_millis());
            Check { found: format!("{}; {count} programs were loaded in {ms} ms", check.found), ..check }
        }
        Some(Err(error)) => {
            let fix = match &error {
                RunError::Load(LoadError::Pins { .. }) => "see `bpf-fs`, or name a folder with `run --pins`",
                RunError::Load(LoadError::SelfCheck(_)) => "report it with the kernel's release",
                _ => "",
            };
            let lost = "`run` works in mode audit; with mode block it refuses to start a command that it can't hold";
            Check { found: error.to_string(), ..check }.with(Status::Warning, lost, fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let machine = Machine { root: root.path().to_owned() };
        (root, machine)
    }

    #[test]
    fn pins_find_a_file_system_or_root_mounts_one() {
        let runtime = Path::new("/run/runner-agent");
        let (_root, none) = machine(&[]);
        assert!(bpf_fs(&none, runtime, true).found.contains("is mounted at /run/runner-agent/bpf"));
        assert_eq!(bpf_fs(&none, runtime, true).status, Status::Ok);
        assert_eq!(bpf_fs(&none, runtime, false).status, Status::Warning);
        let (_root, system) = machine(&[("/proc/self/mountinfo", "1 1 0:1 / /sys/fs/bpf rw - bpf bpf rw\n")]);
        assert_eq!(bpf_fs(&system, runtime, false).found, "at /sys/fs/bpf");
        let (_root, elsewhere) = machine(&[("/proc/self/mountinfo", "1 1 0:1 / /elsewhere rw - bpf bpf rw\n")]);
        assert!(bpf_fs(&elsewhere, runtime, true).found.starts_with("none yet"));
    }

    #[test]
    fn a_machine_with_ipv6_wants_its_loopback() {
        let lo = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let eth = "fe800000000000000000000000000001 02 40 20 80     eth0\n";
        for (text, status) in [("", Status::Info), (lo, Status::Ok), (eth, Status::Warning)] {
            let (_root, machine) = machine(&[("/proc/net/if_inet6", text)]);
            assert_eq!(ipv6_loopback(&machine).status, status, "{text:?}");
        }
    }

    #[test]
    fn a_trial_that_fails_says_where_to_look() {
        assert_eq!(trial(None).status, Status::NotTried);
        let armed = BlockTrial { probes: vec![("a".into(), None)], loaded_in: Duration::from_millis(7) };
        let check = trial(Some(&Ok(armed)));
        assert_eq!((check.status, check.found.ends_with("1 programs were loaded in 7 ms")), (Status::Ok, true));
        let source = std::io::Error::other("x");
        let pins = LoadError::Pins { action: "pin to", path: "/nowhere".into(), source };
        let check = trial(Some(&Err(pins.into())));
        assert_eq!(check.status, Status::Warning);
        assert!(check.fix.unwrap().contains("--pins"));
    }
}
