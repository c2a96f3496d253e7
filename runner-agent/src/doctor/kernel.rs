//! What `run` needs of the kernel: release, type information, cgroups, privileges.

use std::path::Path;

use super::{Check, Machine, Status};
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::{LoadOptions, btf::Btf, offsets, support};

/// Oldest and newest release that the project supports.
const SUPPORTED: [(u32, u32); 2] = [(5, 10), (7, 2)];

/// Inode numbers of the first namespaces (Linux `include/uapi/linux/nsfs.h`, `include/linux/proc_ns.h`).
const FIRST_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

pub(super) fn checks(machine: &Machine, btf: &Path) -> Vec<Check> {
    vec![
        release(&machine.text("/proc/sys/kernel/osrelease").unwrap_or_default()),
        type_information(btf),
        cgroup(machine),
        namespace(machine, "cgroup-namespace", "cgroup", FIRST_CGROUP_NAMESPACE),
        namespace(machine, "pid-namespace", "pid", FIRST_PID_NAMESPACE),
        privileges(&support::missing_capabilities()),
    ]
}

fn release(release: &str) -> Check {
    let check = Check::ok("kernel", "Linux 5.10 to 7.2; tested on 5.10, 6.1, 6.12, 6.18 and 7.2", release);
    let Some(version) = support::version(release) else {
        return check.with(Status::Warning, "this is no release that can be read", "");
    };
    if version < SUPPORTED[0] {
        check.with(Status::Warning, "ring buffers and BTF may not be what the probes need", "use a kernel from 5.10 on")
    } else if version > SUPPORTED[1] {
        let lost = "not tested on so new a kernel; the self-check below says whether the probes read it right";
        check.with(Status::Warning, lost, "look for a newer release of runner-agent")
    } else {
        check
    }
}

fn type_information(path: &Path) -> Check {
    let check = Check::ok("btf", "the kernel's BTF, with every field that the probes read", "");
    // The level is a value that rides along, and no field.
    match Btf::read(path).and_then(|btf| offsets::find(&btf, 1)) {
        Ok(_) => Check { found: format!("{}, every field found", path.display()), ..check },
        Err(error) => {
            let lost = "the probes don't know where this kernel keeps its fields, and offsets are never guessed";
            let fix = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (distributions have it from 2021 on)";
            Check { found: error.to_string(), ..check }.with(Status::Failed, lost, fix)
        }
    }
}

fn cgroup(machine: &Machine) -> Check {
    let check = Check::ok("cgroup-v2", "a cgroup v2 hierarchy in which this process may make a cgroup", "");
    match Hierarchy::find_in(&machine.path("/proc/self")) {
        Ok(hierarchy) => {
            let own = hierarchy.mount.join(&hierarchy.own);
            let found = format!("at {}, jobs go below {}", hierarchy.mount.display(), own.display());
            let check = Check { found, ..check };
            let directory = machine.path(&own.to_string_lossy());
            if rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok() {
                return check;
            }
            let lost = "a job needs a cgroup of its own, and this process may not make one";
            check.with(Status::Failed, lost, "run as root, and not in a container with a read-only /sys/fs/cgroup")
        }
        Err(error) => Check { found: error.to_string(), ..check }.with(
            Status::Failed,
            "a job is a cgroup: without it there is nothing to attach the network hooks to",
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    }
}

/// A namespace of one's own means a container, in which the probes' numbers are not those of `/proc`.
fn namespace(machine: &Machine, id: &'static str, name: &str, first: &str) -> Check {
    let link = std::fs::read_link(machine.path(&format!("/proc/self/ns/{name}"))).unwrap_or_default();
    let needed = "the machine's own";
    if link == Path::new(first) {
        return Check::ok(id, needed, "the machine's own");
    }
    let lost = "numbers that the kernel reports differ from those that this process sees; the self-check then fails";
    let fix =
        format!("run the agent on the machine itself, or with --pid=host --{name}ns=host").replace("--pidns=host", "");
    Check::ok(id, needed, format!("another: {}", link.display())).with(Status::Warning, lost, fix.trim_end())
}

fn privileges(missing: &[&str]) -> Check {
    let check = Check::ok("privileges", "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, as root has them", "all there");
    if missing.is_empty() {
        return check;
    }
    let lost = "the kernel loads no programs for this user, so `run` can't start";
    Check { found: format!("missing: {}", missing.join(", ")), ..check }.with(
        Status::Failed,
        lost,
        "start it with sudo: sudo runner-agent run -- CMD",
    )
}

/// Sizes of the rings; whether the kernel gave the memory was seen when the probes were loaded.
pub(super) fn rings(options: &LoadOptions, is_armed: bool) -> Check {
    let (critical, bulk) = (options.critical_ring_bytes / 1024, options.bulk_ring_bytes / 1024);
    let found = format!("{critical} KiB for files and connections, {bulk} KiB for processes and DNS");
    let check = Check::ok("rings", "memory for two ring buffers, a power of two each", found);
    if is_armed { check } else { check.with(Status::NotTried, "", "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_outside_the_range_are_told_apart() {
        for (text, status) in [
            ("5.4.0-150-generic", Status::Warning),
            ("5.10.0", Status::Ok),
            ("6.18.44-1", Status::Ok),
            ("7.2.13", Status::Ok),
            ("7.3.0-rc1", Status::Warning),
            ("unknown", Status::Warning),
        ] {
            assert_eq!(release(text).status, status, "{text}");
        }
    }

    #[test]
    fn a_machine_without_cgroups_or_type_information_is_told_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine { root: root.path().to_owned() };
        let check = cgroup(&machine);
        assert_eq!(check.status, Status::Failed);
        assert!(check.fix.unwrap().contains("mount -t cgroup2"));
        let check = type_information(&root.path().join("vmlinux"));
        assert!(check.found.contains("vmlinux") && check.fix.unwrap().contains("CONFIG_DEBUG_INFO_BTF"));
        let check = namespace(&machine, "cgroup-namespace", "cgroup", FIRST_CGROUP_NAMESPACE);
        assert!(check.fix.unwrap().ends_with("--cgroupns=host"));
    }

    #[test]
    fn missing_privileges_are_named() {
        let check = privileges(&["CAP_BPF"]);
        assert_eq!((check.status, check.found.as_str()), (Status::Failed, "missing: CAP_BPF"));
    }
}
