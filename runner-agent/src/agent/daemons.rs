//! Daemons that do for whoever asks what no rule of a job holds, and the sockets by which they are asked: container engines, service
//! managers, message buses.

use std::path::PathBuf;

use runner_agent_common::guard::guarded;
use runner_agent_common::map::FileKey;

use crate::kernel::watch::any_key;

/// Sockets of container engines, where they are by default; the environment may name another.
const ENGINE_SOCKETS: [&str; 9] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
    "/var/lib/incus/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
    "/run/libvirt/libvirt-sock",
];

/// Sockets of daemons that start programs for whoever asks, where they are by default: the service manager and what speaks for it.
const SERVICE_SOCKETS: [&str; 4] =
    ["/run/systemd/private", "/run/systemd/io.systemd.Manager", "/run/dbus/system_bus_socket", "/run/snapd.socket"];

/// Their like below each user's folder in [`OF_USERS`].
const SERVICE_SOCKETS_OF_USERS: [&str; 2] = ["systemd/private", "bus"];

/// Where the sockets of users lie, each in a folder of his own.
const OF_USERS: &str = "/run/user";

/// Where the environment names message buses.
const BUS_VARIABLES: [&str; 2] = ["DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"];

/// Sockets by which programs are started outside of a job.
fn of_services() -> Vec<PathBuf> {
    let own = SERVICE_SOCKETS.into_iter().map(PathBuf::from);
    let users = std::fs::read_dir(OF_USERS).into_iter().flatten().flatten();
    let of_users = users.flat_map(|user| SERVICE_SOCKETS_OF_USERS.map(|socket| user.path().join(socket)));
    let named = BUS_VARIABLES.iter().filter_map(|variable| std::env::var(variable).ok());
    own.chain(of_users).chain(named.flat_map(|addresses| paths_of_bus(&addresses))).collect()
}

/// The files that addresses of a message bus name: `unix:path=/run/bus,guid=…;unix:path=…` (D-Bus specification, server addresses).
fn paths_of_bus(addresses: &str) -> Vec<PathBuf> {
    let unix = addresses.split(';').filter_map(|address| address.strip_prefix("unix:"));
    unix.flat_map(|keys| keys.split(',')).filter_map(|key| key.strip_prefix("path=")).map(PathBuf::from).collect()
}

/// Sockets of container engines.
fn of_engines() -> Vec<PathBuf> {
    let named = std::env::var("DOCKER_HOST").ok().and_then(|host| Some(host.strip_prefix("unix://")?.into()));
    ENGINE_SOCKETS.into_iter().map(PathBuf::from).chain(named).collect()
}

/// Those that there are, with the bit that guards each.
pub(super) fn sockets() -> Vec<(FileKey, u32)> {
    let engines = of_engines().into_iter().map(|socket| (socket, guarded::ENGINE));
    let services = of_services().into_iter().map(|socket| (socket, guarded::SERVICES));
    engines.chain(services).filter_map(|(socket, bit)| Some((any_key(&socket)?, bit))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_where_its_address_says() {
        let paths = paths_of_bus("unix:path=/run/one,guid=0;tcp:host=two;unix:abstract=three;unix:path=/run/four");
        assert_eq!(paths, ["/run/one", "/run/four"].map(PathBuf::from));
    }
}
