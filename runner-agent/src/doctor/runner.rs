//! What this runner lets a job do behind the agent's back: its user, container engines, resolvers.

use std::path::PathBuf;

use super::{Check, Machine, Status};
use crate::config::{Runtime, Surroundings as _};

/// Groups whose members can become root.
const POWERFUL: [&str; 8] = ["docker", "podman", "lxd", "incus-admin", "libvirt", "sudo", "wheel", "disk"];

/// Where container engines listen.
const SOCKETS: [&str; 6] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/k3s/containerd/containerd.sock",
];

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let user = rustix::process::geteuid();
    let mut groups: Vec<u32> = rustix::process::getgroups().unwrap_or_default().iter().map(|id| id.as_raw()).collect();
    groups.push(rustix::process::getegid().as_raw());
    vec![
        job_user(machine, user.is_root(), &groups),
        engine_sockets(machine),
        resolvers(machine, &Runtime::from_env().resolvers()),
        container(machine, std::env::var("container").ok()),
    ]
}

/// `run` starts the command as its own user.
fn job_user(machine: &Machine, is_root: bool, groups: &[u32]) -> Check {
    let needed = "a user that can't become root";
    if is_root {
        let lost = "a job that is root can stop the agent, unload its probes and write over its log";
        let fix =
            "let the command give root up: runner-agent run -- setpriv --reuid=USER --regid=USER --init-groups CMD";
        return Check::ok("job-user", needed, "root: the command runs as this user").with(Status::Warning, lost, fix);
    }
    let file = machine.text("/etc/group").unwrap_or_default();
    let found: Vec<&str> = file
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let id: u32 = fields.nth(1)?.parse().ok()?;
            (POWERFUL.contains(&name) && groups.contains(&id)).then_some(name)
        })
        .collect();
    if found.is_empty() {
        return Check::ok("job-user", needed, "not root, and in no group that can become root");
    }
    let lost = "members of these groups can become root, and root can stop the agent";
    let fix = format!("take the user out of {}", found.join(", "));
    Check::ok("job-user", needed, format!("in group {}", found.join(", "))).with(Status::Warning, lost, fix)
}

fn engine_sockets(machine: &Machine) -> Check {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_user = own.iter().flat_map(|own| [own.join("docker.sock"), own.join("podman/podman.sock")]);
    let writable: Vec<String> = SOCKETS
        .iter()
        .map(PathBuf::from)
        .chain(of_user)
        .filter(|path| rustix::fs::access(machine.path(&path.to_string_lossy()), rustix::fs::Access::WRITE_OK).is_ok())
        .map(|path| path.display().to_string())
        .collect();
    let check = Check::ok("engine-sockets", "none that the job's user may write to", "none");
    if writable.is_empty() {
        return check;
    }
    let lost = "containers that a job starts through them are children of the engine: not in the job's cgroup, nor its \
                lineage, and so not seen";
    let fix = "keep the socket from the job's user, or start containers with --cgroup-parent in the job's cgroup (in the \
               log's `job` line)";
    Check { found: writable.join(", "), ..check }.with(Status::Warning, lost, fix)
}

fn resolvers(machine: &Machine, addresses: &[std::net::IpAddr]) -> Check {
    let found: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let check = Check::ok("resolvers", "at least one, asked over the network", found.join(", "));
    if found.is_empty() {
        let lost = "no DNS answer is taken as naming an address, so destinations carry no names, and in mode `block` no \
                    name can be resolved";
        return Check { found: "none".into(), ..check }.with(Status::Warning, lost, "name one in /etc/resolv.conf");
    }
    let hosts = machine.text("/etc/nsswitch.conf").unwrap_or_default();
    let hosts = hosts.lines().find(|line| line.starts_with("hosts:")).unwrap_or_default();
    if hosts.split_whitespace().any(|word| word == "resolve") || machine.has("/run/nscd/socket") {
        let lost = "names are resolved over a Unix socket, so some destinations carry no name, and in mode `block` are \
                    refused";
        return check.with(
            Status::Warning,
            lost,
            "take `resolve` out of the `hosts:` line of /etc/nsswitch.conf, or stop nscd",
        );
    }
    check
}

fn container(machine: &Machine, variable: Option<String>) -> Check {
    let check =
        Check::ok("container", "the machine itself, or a container with its privileges and namespaces", "no container");
    let sign = if machine.has("/.dockerenv") {
        "/.dockerenv"
    } else if machine.has("/run/.containerenv") {
        "/run/.containerenv"
    } else if variable.is_some_and(|value| !value.is_empty()) {
        "the variable `container`"
    } else {
        return check;
    };
    Check { found: format!("in a container, says {sign}"), ..check }.info()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("run")).unwrap();
        let machine = Machine { root: root.path().to_owned() };
        (root, machine)
    }

    #[test]
    fn root_and_members_of_powerful_groups_are_warned_of() {
        let (root, machine) = machine();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\ndocker:x:900:runner\nusers:x:100:\n").unwrap();
        assert_eq!(job_user(&machine, true, &[]).status, Status::Warning);
        assert_eq!(job_user(&machine, false, &[900]).found, "in group docker");
        assert_eq!(job_user(&machine, false, &[100]).status, Status::Ok);
    }

    #[test]
    fn a_writable_engine_socket_is_named_with_what_gets_by() {
        let (root, machine) = machine();
        std::fs::write(root.path().join("run/docker.sock"), "").unwrap();
        let check = engine_sockets(&machine);
        assert_eq!(check.status, Status::Warning);
        assert!(check.found.contains("/run/docker.sock"), "{}", check.found);
    }

    #[test]
    fn resolvers_that_are_asked_over_a_unix_socket_are_a_warning() {
        let (root, machine) = machine();
        let address = [[192, 0, 2, 53].into()];
        assert_eq!(resolvers(&machine, &address).status, Status::Ok);
        std::fs::write(root.path().join("etc/nsswitch.conf"), "hosts: files resolve dns\n").unwrap();
        assert_eq!(resolvers(&machine, &address).status, Status::Warning);
        assert_eq!(resolvers(&machine, &[]).found, "none");
    }

    #[test]
    fn a_container_is_information() {
        let (root, machine) = machine();
        assert_eq!(container(&machine, None).status, Status::Ok);
        assert_eq!(container(&machine, Some("podman".into())).status, Status::Info);
        std::fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert!(container(&machine, None).found.contains(".dockerenv"));
    }
}
