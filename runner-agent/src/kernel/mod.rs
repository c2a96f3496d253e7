//! The rim towards the kernel: loads the probes, drains the rings, fills the maps, reads `/proc`. Only this module
//! names aya.

mod arch;
pub mod btf;
pub mod cgroup;
pub mod egress;
mod guard;
pub mod hooks;
mod jobs;
mod links;
pub mod load;
mod maps;
pub mod offsets;
pub mod pins;
pub mod procfs;
mod programs;
mod reset;
mod ring;
mod runner;
mod secret;
pub mod support;
pub mod syscalls;
mod tier;
mod traced;
pub mod watch;

use std::path::PathBuf;

pub use egress::JobEgress;
pub use jobs::{ResolverPorts, Room};
pub use links::LinkState;
pub use load::{Kernel, LoadOptions};
pub use pins::{PinRoot, Pins};
pub use tier::{Tier, TierChoice};

use crate::rules::RulesError;

/// Why the agent can't see what it must see. Each message ends in what would help.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Loading probes needs privileges.
    #[error(
        "loading eBPF programs needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; \
         missing here: {}; start runner-agent with sudo", missing.join(", ")
    )]
    NotPrivileged {
        /// Names of the capabilities that are missing.
        missing: Vec<&'static str>,
    },
    /// The kernel publishes no type information.
    #[error("can't read the kernel's type information {}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF=y", path.display())]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The type information isn't what it should be.
    #[error("{} is not valid BTF; it must be the running kernel's own vmlinux BTF", path.display())]
    BadBtf {
        /// The file.
        path: PathBuf,
    },
    /// Fields that the probes need don't exist in this kernel.
    #[error("this kernel lacks fields that the probes read: {}; it is older or newer than the probes know, and no offset is ever guessed", fields.join(", "))]
    MissingFields {
        /// `structure::field` of each.
        fields: Vec<String>,
    },
    /// No cgroup v2 hierarchy.
    #[error(
        "no cgroup v2 hierarchy is mounted here (nothing of type cgroup2 in {}); \
         mount one, for instance with: mount -t cgroup2 none /sys/fs/cgroup/unified", mountinfo.display()
    )]
    NoCgroup2 {
        /// Where it was looked for.
        mountinfo: PathBuf,
    },
    /// A cgroup file operation failed.
    #[error("can't {action} {}: {source}", path.display())]
    Cgroup {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The object can't be parsed or its maps can't be made.
    #[error("can't prepare the eBPF object: {0}")]
    Object(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The tier that was asked for is not to be had.
    #[error(
        "this kernel takes no program of the tracing tier ({reason}); leave --tier out to have the best there is, or use \
         --tier tracepoint"
    )]
    NoTracing {
        /// What the kernel said.
        reason: String,
    },
    /// A program was refused, or its hook.
    #[error(
        "the kernel refused the probe {program} ({action}): {detail}; `runner-agent doctor` says what this kernel can do"
    )]
    Program {
        /// The program's name.
        program: &'static str,
        /// `load` or `attach`.
        action: &'static str,
        /// The kernel's answer.
        detail: String,
    },
    /// A map could not be written or read.
    #[error("can't {action} the map {map}: {detail}")]
    Map {
        /// The map's name.
        map: &'static str,
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        detail: String,
    },
    /// Links or maps could not be pinned, or their pins can't be opened.
    #[error("can't {action} {}: {source}", path.display())]
    Pins {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The policy's rules don't fit.
    #[error("the policy doesn't fit into the kernel side: {0}")]
    Rules(#[from] RulesError),
    /// Something took away, behind the agent's back, what blocking stands on.
    #[error("blocking is not what it was: {0}; the job was ended, because nothing may run unblocked")]
    Disarmed(String),
    /// The self-check's child did not come to its acts.
    #[error(
        "the self-check's child had not done its part after {} s, so nothing is proven; the machine is too busy to be watched: \
         start the job when it is less so", within.as_secs()
    )]
    TooBusy {
        /// How long it had.
        within: std::time::Duration,
    },
    /// The probes run, but what they report about a known process is wrong.
    #[error("the self-check failed: {0}; the probes misread this kernel, so nothing they say can be trusted")]
    SelfCheck(String),
}
