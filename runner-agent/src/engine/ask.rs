//! What a request asks for too much: in a word for the log, and in a sentence for who asked.

use std::fmt;

use crate::policy::words;

/// One thing that a request asks for and doesn't get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub kind: Kind,
    /// Which: a path, a name, a setting; may be empty.
    pub about: String,
}

/// What a request can ask for too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Every capability and device.
    Privileged,
    /// A path of the machine.
    HostMount,
    /// The machine's network.
    HostNetwork,
    /// The machine's processes.
    HostPid,
    /// The machine's shared memory and queues.
    HostIpc,
    /// The machine's host name.
    HostUts,
    /// No user namespace of its own.
    HostUserns,
    /// The machine's cgroups.
    HostCgroup,
    /// A capability beyond the default ones.
    Capability,
    /// A device.
    Device,
    /// Less confinement than the default.
    Unconfined,
    /// A place among the machine's cgroups.
    CgroupParent,
    /// A setting of the kernel that is not the container's own.
    Sysctl,
    /// A container that this job didn't make, or a process in it.
    ContainerOfOthers,
    /// A volume that is something else than a folder of the engine's.
    Volume,
    /// A network that is something else than a bridge.
    Network,
    /// Another runtime than the default.
    Runtime,
    /// Logs that the engine sends away.
    LogDriver,
    /// Something that the engine would fetch from an address.
    Fetch,
    /// A stream that nobody can look into.
    OpaqueStream,
    /// Podman's own API.
    PodmanApi,
    /// A setting or parameter that the gate doesn't know.
    UnknownSetting,
    /// A request that the gate doesn't know.
    UnknownRequest,
    /// A request that two readers could understand in two ways.
    Ambiguous,
    /// A body that is too large to be looked at.
    TooLarge,
}

words!(
    Kind,
    "privileged, host-mount, host-network, host-pid, host-ipc, host-uts, host-userns, host-cgroup, capability, device, unconfined, \
     cgroup-parent, sysctl, container-of-others, volume, network, runtime, log-driver, fetch, opaque-stream, podman-api, \
     unknown-setting, unknown-request, ambiguous, too-large",
    {
        Kind::Privileged => "privileged",
        Kind::HostMount => "host-mount",
        Kind::HostNetwork => "host-network",
        Kind::HostPid => "host-pid",
        Kind::HostIpc => "host-ipc",
        Kind::HostUts => "host-uts",
        Kind::HostUserns => "host-userns",
        Kind::HostCgroup => "host-cgroup",
        Kind::Capability => "capability",
        Kind::Device => "device",
        Kind::Unconfined => "unconfined",
        Kind::CgroupParent => "cgroup-parent",
        Kind::Sysctl => "sysctl",
        Kind::ContainerOfOthers => "container-of-others",
        Kind::Volume => "volume",
        Kind::Network => "network",
        Kind::Runtime => "runtime",
        Kind::LogDriver => "log-driver",
        Kind::Fetch => "fetch",
        Kind::OpaqueStream => "opaque-stream",
        Kind::PodmanApi => "podman-api",
        Kind::UnknownSetting => "unknown-setting",
        Kind::UnknownRequest => "unknown-request",
        Kind::Ambiguous => "ambiguous",
        Kind::TooLarge => "too-large",
    }
);

/// Longest `about`: it comes from the job, and is told in the log.
const MAX_ABOUT: usize = 256;

impl Ask {
    /// An ask about something; what a job chose is cut to a length that a log can bear.
    pub fn new(kind: Kind, about: &str) -> Self {
        Self { kind, about: crate::text::printable(about).chars().take(MAX_ABOUT).collect() }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.as_str())?;
        if self.about.is_empty() { Ok(()) } else { write!(formatter, " {}", self.about) }
    }
}

impl Kind {
    /// What would be right, as the end of a message to whoever asked.
    pub fn instead(self) -> &'static str {
        match self {
            Self::Privileged | Self::Capability | Self::Device | Self::Unconfined => {
                "run the container with the engine's default rights"
            }
            Self::HostMount => {
                "mount folders of the job's working directory, GITHUB_WORKSPACE or RUNNER_TEMP, read-only (`:ro`); copy other files \
                 with `docker cp`, or use a named volume"
            }
            Self::HostNetwork | Self::Network => "use a bridge network, and publish ports with `-p`",
            Self::HostPid | Self::HostIpc | Self::HostUts | Self::HostUserns | Self::HostCgroup => {
                "leave the container its own namespaces"
            }
            Self::CgroupParent => "leave out --cgroup-parent; limits such as --memory are passed on",
            Self::Sysctl => {
                "set only net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*, which are the container's own"
            }
            Self::ContainerOfOthers => "only containers that this job made through this socket can be asked for",
            Self::Volume => "use volumes of the driver `local` without options",
            Self::Runtime => "leave out --runtime",
            Self::LogDriver => "use the log drivers json-file, local or none",
            Self::Fetch => "fetch it in the job, where the job's policy holds, and hand in the files",
            Self::OpaqueStream => "build with DOCKER_BUILDKIT=0; what BuildKit is asked for can't be looked at",
            Self::PodmanApi => "use a client of the Docker API (`docker`), which podman serves too",
            Self::UnknownSetting | Self::UnknownRequest => "leave it out; what the gate doesn't know is refused",
            Self::Ambiguous => "send JSON in which each key stands once, and a plain path",
            Self::TooLarge => "send less than 1 MiB",
        }
    }
}
