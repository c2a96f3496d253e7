//! The tiers in words, and what each can't see. The same words stand in `docs/doctor.md`.

use serde::Serialize;

use crate::kernel::Tier;

/// A tier in a sentence.
pub fn in_words(tier: Tier) -> &'static str {
    match tier {
        Tier::Tracepoint => {
            "raw tracepoints for processes and opened files, cgroup hooks for the network; loads on ordinary kernels, sees opens \
             after the fact, refuses destinations (mode block) and no opens"
        }
        Tier::Tracing => {
            "the tracepoint tier, and programs before the kernel's security functions: every way to a file is seen before it \
             is opened and can be refused (mode block), and so is what a job does to the agent, the runner and the kernel"
        }
    }
}

/// What would see more.
pub fn would_help(tier: Tier) -> &'static str {
    match tier {
        Tier::Tracepoint => {
            "a kernel that loads TRACING programs (fmod_ret, as every hosted runner's does) or has `bpf` in its list of security \
             modules: the tracing tier closes the spots above that a hook can close, and can refuse opens. It is taken by \
             itself where it loads"
        }
        Tier::Tracing => {
            "nothing in the kernel: what is left takes narrower rules, or keeping things from the job's user"
        }
    }
}

/// What a tier can't see.
pub fn blind_spots(tier: Tier) -> impl Iterator<Item = &'static BlindSpot> {
    let of_tier = move |spot: &&BlindSpot| tier == Tier::Tracepoint || !CLOSED_BY_TRACING.contains(&spot.id);
    BLIND_SPOTS.iter().filter(of_tier).chain(OF_ARCHITECTURE)
}

/// Spots that kernels of this program's architecture have, on every tier.
const OF_ARCHITECTURE: &[BlindSpot] = if cfg!(target_arch = "aarch64") {
    &[BlindSpot {
        id: "new-processes",
        what: "in mode block, a new process that begins in another cgroup, or with the descriptors of the one that made it: this \
               architecture's kernels don't tell of its first return",
        instead: "outside the job's cgroup it is ended when it makes a socket or runs another program",
    }]
} else {
    &[]
};

/// Spots of [`BLIND_SPOTS`] that the tracing tier doesn't have.
pub const CLOSED_BY_TRACING: [&str; 5] =
    ["io-uring-open", "closed-in-between", "opens-not-refused", "compat-packet-socket", "io-uring-packet-socket"];

/// Something that this tier can't see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BlindSpot {
    /// Stable name.
    pub id: &'static str,
    /// What goes by unseen.
    pub what: &'static str,
    /// What is seen of it all the same, or what to do.
    pub instead: &'static str,
}

/// All of them, the ones that a stronger tier closes first.
pub const BLIND_SPOTS: &[BlindSpot] = &[
    BlindSpot {
        id: "io-uring-open",
        what: "files opened through io_uring",
        instead: "setting up io_uring is a finding, connects through it are seen; kernel.io_uring_disabled=2 closes it",
    },
    BlindSpot {
        id: "passed-descriptor",
        what: "file descriptors that were opened outside the job and passed in (inherited, SCM_RIGHTS, pidfd_getfd), unless \
               `on-read: block` refuses to read them (tracing tier)",
        instead: "start the agent from a process that has no secret files open",
    },
    BlindSpot {
        id: "closed-in-between",
        what: "an open whose descriptor another thread closes before the system call has returned",
        instead: "takes a race of microseconds, which a job can run on purpose; where the secret is sent to is seen",
    },
    BlindSpot {
        id: "failed-open",
        what: "opens that fail: a file that is not there, or may not be read",
        instead: "nothing was read",
    },
    BlindSpot {
        id: "compat-packet-socket",
        what: "packet sockets made by the 32-bit socket(2) call, in mode audit",
        instead: "switch 32-bit emulation off (ia32_emulation=0); raw IP sockets are seen either way",
    },
    BlindSpot {
        id: "io-uring-packet-socket",
        what: "packet sockets made through io_uring, in mode audit and where a blocked job may have raw sockets",
        instead: "takes CAP_NET_RAW, and setting up io_uring is a finding; kernel.io_uring_disabled=2 closes it",
    },
    BlindSpot {
        id: "passed-socket",
        what: "sockets connected outside the job and handed in over a Unix socket (SCM_RIGHTS), also in mode block",
        instead: "takes a helper outside the job; network sockets that are inherited are closed in mode block",
    },
    BlindSpot {
        id: "moved-by-others",
        what: "in mode block, a process that somebody outside the job moves out of its cgroup, for some milliseconds",
        instead: "the agent ends it; a process that the job itself moves is ended by the kernel at once",
    },
    BlindSpot {
        id: "late-marks",
        what: "in mode block, for some milliseconds: secrets that come down a pipeline, or from a file made after the start",
        instead: "secret files that exist at the start under a path without wildcards are marked by the kernel as they are opened",
    },
    BlindSpot {
        id: "allowed-service",
        what: "an allowed service that is used as a drop: a gist or a package on a host that the policy allows",
        instead: "may-carry-secrets says which of the allowed may have secrets; name hosts and not networks",
    },
    BlindSpot {
        id: "unix-services",
        what: "what a daemon outside the job does when it is asked over a Unix socket (docker.sock, nss-resolve, systemd)",
        instead: "that an engine or service manager is asked is told, and refused on the tracing tier as `guard` says; keep such \
                  sockets from the job's user, see the checks `engine-sockets` and `resolvers`",
    },
    BlindSpot {
        id: "outside-cgroup",
        what: "of a process that left the job's cgroup: connects by io_uring or 32-bit calls, later messages of a sendmmsg, DNS",
        instead: "that it left is a finding, and its plain connects and sends are seen by their system calls",
    },
    BlindSpot {
        id: "encrypted-names",
        what: "names that are resolved over a Unix socket (nss-resolve, nscd) or encrypted (DNS over HTTPS or TLS)",
        instead: "the connect is seen with its address, and lacks the name",
    },
    BlindSpot {
        id: "opens-not-refused",
        what: "no open is refused: a finding tells of a secret that has been read, and in mode audit of what was sent",
        instead: "mode block refuses destinations, with carry: { after-secret-read: block } to whoever has read one",
    },
    BlindSpot {
        id: "own-memory",
        what: "secrets in the environment or memory of the process that uses them",
        instead: "reading another process's environment or memory through /proc is seen; where it is sent to is seen",
    },
    BlindSpot {
        id: "daemon-children",
        what: "processes that a daemon outside the job starts for it: container engines, systemd-run, at, cron",
        instead: "unless they are put into the job's cgroup; see the check `engine-sockets`",
    },
    BlindSpot {
        id: "new-names",
        what: "a hard link or another name for a secret file that was itself made after the job's start",
        instead: "files that exist at the start are recognised under any name; with `on-read: block` (tracing tier) all are",
    },
    BlindSpot {
        id: "left-out-runs",
        what: "what comes to a CPU while the kernel has preempted a probe there in its midst: on kernels that preempt, for probes on \
               tracepoints from 7.0 on",
        instead: "each run that was left out is counted as skipped; cgroup hooks and --hooks lsm are exempt, see the check `whole-runs`",
    },
    BlindSpot {
        id: "indirect-carrying",
        what: "secrets that travel between processes through files, sockets or shared memory",
        instead: "a child, a pipeline and a shell that captures output are followed; read and connect are told either way",
    },
];
