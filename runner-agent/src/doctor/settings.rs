//! Settings of the kernel that open or close what the agent can't see, and file systems that one might take for needed.

use super::{Check, Machine, Status};

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    vec![
        lockdown(machine),
        lsm(machine),
        mounts(machine),
        unprivileged_bpf(machine),
        io_uring(machine),
        compat(machine),
    ]
}

/// Lockdown in its strict form forbids the helper that the probes read kernel memory with.
fn lockdown(machine: &Machine) -> Check {
    let text = machine.text("/sys/kernel/security/lockdown");
    let mode = text.as_deref().and_then(|text| text.split(['[', ']']).nth(1)).unwrap_or("not known");
    let check = Check::ok("lockdown", "none or integrity", mode);
    if mode == "confidentiality" {
        let lost = "the kernel forbids probes to read its memory, so they can't be loaded";
        return check.with(Status::Warning, lost, "boot with lockdown=integrity");
    }
    if text.is_none() { check.info() } else { check }
}

fn lsm(machine: &Machine) -> Check {
    let needed = "nothing; `bpf` in the list lets --hooks lsm refuse without a run left out, see whole-runs";
    let found = match machine.text("/sys/kernel/security/lsm") {
        Some(list) => {
            format!("{list} ({} bpf)", if list.split(',').any(|name| name == "bpf") { "with" } else { "without" })
        }
        None => "not known: securityfs is not mounted".to_owned(),
    };
    Check::ok("lsm", needed, found).info()
}

fn mounts(machine: &Machine) -> Check {
    let mountinfo = machine.text("/proc/self/mountinfo").unwrap_or_default();
    let is_mounted = |kind: &str| {
        mountinfo.lines().any(|line| {
            line.split_once(" - ").and_then(|(_, after)| after.split(' ').next()).is_some_and(|found| found == kind)
        })
    };
    let found: Vec<String> = [("tracefs", "tracefs"), ("bpf", "bpffs"), ("securityfs", "securityfs")]
        .map(|(kind, name)| format!("{name} {}", if is_mounted(kind) { "mounted" } else { "not mounted" }))
        .into();
    let needed = "none of them: raw tracepoints are opened by name, where pins go is told by `bpf-fs`, and securityfs only \
                  tells the LSM list and lockdown";
    Check::ok("mounts", needed, found.join(", ")).info()
}

fn unprivileged_bpf(machine: &Machine) -> Check {
    let value = machine.text("/proc/sys/kernel/unprivileged_bpf_disabled");
    let found = match value.as_deref() {
        Some("0") => "allowed",
        Some(_) => "forbidden",
        None => "not known",
    };
    let check = Check::ok("unprivileged-bpf", "forbidden", found);
    match value.as_deref() {
        Some("0") => check.with(
            Status::Warning,
            "a job without privileges can load programs of its own into the kernel",
            "sysctl -w kernel.unprivileged_bpf_disabled=1",
        ),
        Some(_) => check,
        None => check.info(),
    }
}

fn io_uring(machine: &Machine) -> Check {
    let value = machine.text("/proc/sys/kernel/io_uring_disabled");
    let found = match value.as_deref() {
        Some("2") => "switched off",
        Some("1") => "for privileged processes only",
        Some(_) => "for everybody",
        None => "this kernel can't switch it off (6.6 and later can)",
    };
    let check = Check::ok("io-uring", "switched off, if the jobs can do without", found);
    if value.as_deref() == Some("2") {
        return check;
    }
    let lost = "files that a job opens through io_uring are not seen; that it set io_uring up is a finding";
    let fix = if value.is_some() { "sysctl -w kernel.io_uring_disabled=2" } else { "" };
    check.with(Status::Warning, lost, fix)
}

/// `abi.vsyscall32` exists where an x86 kernel was built with 32-bit emulation; the command line can switch it off. Other kernels have
/// nothing that tells.
fn compat(machine: &Machine) -> Check {
    const LOST: &str = "packet sockets made by the 32-bit socket(2) call are not seen";
    if cfg!(not(target_arch = "x86_64")) {
        let check = Check::ok("compat", "off, if the jobs run no 32-bit programs", "not known on this architecture");
        return check.with(Status::Info, LOST, "");
    }
    let is_off = machine.text("/proc/cmdline").unwrap_or_default().split(' ').any(|word| {
        matches!(word, "ia32_emulation=0" | "ia32_emulation=off" | "ia32_emulation=n" | "ia32_emulation=false")
    });
    let has = machine.has("/proc/sys/abi/vsyscall32") && !is_off;
    let check =
        Check::ok("compat", "off, if the jobs run no 32-bit programs", if has { "32-bit programs run" } else { "off" });
    if has { check.with(Status::Info, LOST, "") } else { check }
}

#[cfg(test)]
mod tests {
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

    fn status(machine: &Machine, id: &str) -> (Status, Option<String>) {
        let check = checks(machine).into_iter().find(|check| check.id == id).unwrap();
        (check.status, check.fix)
    }

    #[test]
    fn open_settings_are_warnings_with_the_command_that_closes_them() {
        let (_root, machine) = machine(&[
            ("/proc/sys/kernel/unprivileged_bpf_disabled", "0\n"),
            ("/proc/sys/kernel/io_uring_disabled", "0\n"),
            ("/sys/kernel/security/lockdown", "none integrity [confidentiality]\n"),
            ("/proc/sys/abi/vsyscall32", "1\n"),
        ]);
        for (id, command) in [
            ("unprivileged-bpf", "unprivileged_bpf_disabled=1"),
            ("io-uring", "disabled=2"),
            ("lockdown", "=integrity"),
        ] {
            let (found, fix) = status(&machine, id);
            assert_eq!(found, Status::Warning, "{id}");
            assert!(fix.unwrap().contains(command), "{id}");
        }
        assert_eq!(status(&machine, "compat").0, Status::Info);
    }

    #[test]
    fn closed_settings_are_in_order() {
        let (_root, machine) = machine(&[
            ("/proc/sys/kernel/unprivileged_bpf_disabled", "2\n"),
            ("/proc/sys/kernel/io_uring_disabled", "2\n"),
            ("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n"),
            ("/proc/sys/abi/vsyscall32", "1\n"),
            ("/proc/cmdline", "quiet ia32_emulation=0\n"),
        ]);
        for id in ["unprivileged-bpf", "io-uring", "lockdown", "compat"] {
            assert_eq!(status(&machine, id), (Status::Ok, None), "{id}");
        }
    }

    #[test]
    fn the_lsm_list_and_the_mounts_are_information() {
        let (_root, machine) = machine(&[
            ("/sys/kernel/security/lsm", "lockdown,yama,bpf\n"),
            ("/proc/self/mountinfo", "1 1 0:1 / /x rw - tracefs tracefs rw\n"),
        ]);
        assert_eq!(lsm(&machine).found, "lockdown,yama,bpf (with bpf)");
        assert_eq!(mounts(&machine).found, "tracefs mounted, bpffs not mounted, securityfs not mounted");
        assert_eq!(mounts(&machine).status, Status::Info);
    }
}
