//! What a job tried against the agent, the runner or the kernel, in words that findings, summaries and logs share.

use runner_agent_common::guard::{MODE_READ, operation, priority};
use runner_agent_common::netlink;

use crate::event::{Activity, Attempt, Event, Finding};
use crate::policy::{Severity, Verdict};

/// An attempt as a sentence's end: `was kept from sending signal 9 to pid 7`.
pub fn in_words(attempt: &Attempt) -> String {
    let target = attempt.target.map_or_else(|| "a process".to_owned(), |target| format!("pid {}", target.tgid));
    let path = attempt.path.as_deref().unwrap_or("a file");
    let detail = attempt.detail;
    let doing = match attempt.operation {
        operation::SIGNAL => format!("sending signal {detail} to the agent, {target}"),
        operation::TRACE => format!("taking control of {target}, which is outside the job"),
        operation::TRACE_AGENT if detail == MODE_READ => format!("reading the environment of the agent, {target}"),
        operation::TRACE_AGENT => format!("taking control of the agent, {target}"),
        operation::INSPECT => format!("looking into {target}, which is outside the job"),
        operation::PRIORITY if detail == priority::WAIT => match &attempt.path {
            Some(path) => format!("keeping the agent waiting, by a lock on {path} or a watch over it"),
            None => "keeping the agent waiting, by a lock on a file or a watch over it".to_owned(),
        },
        operation::PRIORITY => {
            let what = match detail {
                priority::NICE => "nice value",
                priority::LIMIT => "resource limits",
                priority::ENTRY => "entry in /proc",
                _ => "scheduling",
            };
            format!("changing the agent's {what}")
        }
        operation::BPF => format!("calling bpf(2), command {detail}"),
        operation::KERNEL_CODE => "loading or unloading code of the kernel".to_owned(),
        operation::CLOCK => "setting the clock".to_owned(),
        operation::MOUNT => format!("changing the mount at {path}"),
        operation::WRITE => format!("writing to {path}, which the agent stands on"),
        operation::REMOVE => format!("removing or replacing {path}, which the agent stands on"),
        operation::CGROUP if attempt.path.is_none() => {
            format!("pulling {target}, which is outside the job, into its cgroup")
        }
        operation::CGROUP => format!("writing to {path}, by which processes are moved, stopped or ended"),
        operation::NAMESPACE => format!("entering a new namespace (flags {detail:#x})"),
        operation::SETTING => format!(
            "writing to {path}, by which the kernel runs programs, stops, or lets one process starve all others"
        ),
        operation::PRIVILEGE => format!("starting {path}, which gives another user's rights"),
        operation::ENGINE => format!("connecting to {path}, a container engine's socket"),
        operation::SERVICES => format!("connecting to {path}, by which programs are started outside the job"),
        operation::REBOOT => "restarting or halting the machine".to_owned(),
        operation::ENGINE_REQUEST => asking(attempt),
        operation::READ_SECRET => {
            format!("giving {path}, a secret file, another name, with more such files made than can be told apart")
        }
        operation::DISK => format!("opening {path}, a disk with every file on it"),
        operation::PROBE => match &attempt.path {
            Some(path) => format!("writing to {path}, by which any memory can be read"),
            None => "sampling all programs of a CPU".to_owned(),
        },
        operation::NETWORK => format!("changing the machine's network, its {}", of_network(detail)),
        other => format!("operation {other}"),
    };
    match (attempt.verdict, attempt.failed) {
        (Verdict::Blocked, _) => format!("was kept from {doing}"),
        (_, true) => format!("failed at {doing}"),
        (_, false) => format!("is seen {doing}"),
    }
}

/// What of the network a message of netlink(7) was about. Each kind of thing has four types (linux/rtnetlink.h).
fn of_network(detail: u64) -> String {
    const THINGS: [&str; 9] =
        ["devices", "addresses", "routes", "neighbours", "rules", "queues", "classes", "filters", "actions"];
    let (protocol, message) = netlink::of_detail(detail);
    let thing = match protocol {
        netlink::ROUTE => THINGS.get(usize::from(message.wrapping_sub(16) / 4)).copied(),
        netlink::NETFILTER => Some("packet filters"),
        netlink::XFRM => Some("IPsec"),
        _ => None,
    };
    thing.map_or_else(|| format!("settings (netlink protocol {protocol}, type {message})"), str::to_owned)
}

/// What a container engine was asked for.
fn asking(attempt: &Attempt) -> String {
    let Some(request) = &attempt.request else { return "asking a container engine".to_owned() };
    format!("asking a container engine for {} ({})", request.asks.join(", "), request.name)
}

/// What a group of operations is found as.
pub(super) struct Kind {
    pub(super) id: &'static str,
    pub(super) severity: Severity,
    pub(super) techniques: &'static [&'static str],
    pub(super) operations: &'static [u16],
    /// What there is to say besides.
    pub(super) because: &'static str,
}

impl Kind {
    /// A finding, if the event is an attempt of this kind.
    pub(super) fn detect(&self, event: &Event) -> Option<Finding> {
        let Activity::Attempt(attempt) = &event.activity else { return None };
        if !self.operations.contains(&attempt.operation) {
            return None;
        }
        let message = format!("{} {}; {}", super::who(event), in_words(attempt), self.because);
        // Not the file: whoever removes a folder's content tries it at each.
        let subject = format!("{} {}", super::exe(event), attempt.name());
        let mut finding = super::finding(event, self.id, self.severity, subject, message);
        finding.techniques = self.techniques;
        Some(finding)
    }
}
