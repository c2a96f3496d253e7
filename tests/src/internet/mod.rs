//! An internet of the test's own: a namespace for the job, another for everything outside, and one link between them.
//!
//! Outside holds every address (a resolver, a foreign one, sinks at every address of the networks below) and an observer
//! that sees each packet which crosses the link. The link has fixed neighbours, so that nothing waits for ARP.

mod frame;
mod names;
mod observer;
mod outside;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub use frame::Packet;
pub use names::Zone;
pub use observer::Observer;
use observer::Tap;
use outside::Outside;

use crate::{Namespace, wait_until, wait_until_every};

/// The job's end of the link.
pub const JOB_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The job's end of the link, over IPv6.
pub const JOB_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// The other end.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The resolver that the runner is configured with.
pub const RESOLVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// The same, over IPv6.
pub const RESOLVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);
/// A resolver that the runner is not configured with.
pub const FOREIGN_RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);
/// The job's device.
pub const UPLINK: &str = "uplink";

/// Ports at which every address outside answers, over TCP and UDP.
pub const PORTS: &[u16] = &[22, 80, 443, 853, 2375, 4444, 5353, 5355, 8443];

const JOB_MAC: &str = "02:00:00:00:00:02";
const OUTSIDE_MAC: &str = "02:00:00:00:00:01";
/// Networks whose addresses all stand outside.
const NETWORKS_V4: &[&str] = &["198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16"];
const NETWORKS_V6: &[&str] = &["2001:db8:a::/48", "2001:db8:f::/48", "fd00::/8", "64:ff9b::/96"];
/// Where fences go: discard, at the gateway.
const FENCE_PORT: u16 = 9;
/// How long the kernel may go on with what processes have left.
const ORPHANS_GONE_WITHIN: Duration = Duration::from_mins(1);

/// Goes away with this value, with everything that stands in it.
pub struct Internet {
    // Dropped in this order: what holds sockets in the namespaces goes before them.
    _outside: Outside,
    link: Observer,
    loopback: Observer,
    fence: UdpSocket,
    job: Namespace,
    other: Namespace,
    /// Frames that crossed the link before somebody looked: a link that comes up says so.
    unseen: u64,
}

impl Internet {
    /// A new one, whose resolvers know this zone.
    pub fn create(zone: Zone) -> Self {
        let (job, other) = (Namespace::create(), Namespace::create());
        join(&job, &other);
        // What some distributions let everybody do.
        job.sysctl("ipv4.ping_group_range", "0 2147483647").sysctl("ipv4.ip_unprivileged_port_start", "0");
        // Streams without a process are tried for some 12 s, and not for minutes.
        job.sysctl("ipv4.tcp_orphan_retries", "5");
        // As on a runner with a container engine: what a job routes through the runner is forwarded.
        job.sysctl("ipv4.ip_forward", "1").sysctl("ipv6.conf.all.forwarding", "1");
        let outside = other.inside(|| Outside::open(zone));
        let link = other.inside(|| Observer::open(Tap::Link));
        let loopback = job.inside(|| Observer::open(Tap::Loopback));
        let fence = job.inside(|| UdpSocket::bind((JOB_V4, 0)).expect("a socket for fences"));
        let mut internet = Self { _outside: outside, link, loopback, fence, job, other, unseen: 0 };
        internet.fence();
        internet.unseen = internet.difference();
        internet
    }

    /// By how much the link has carried more than the observer saw. Asked again while frames arrive.
    fn difference(&self) -> u64 {
        let mut difference = None;
        wait_until(Duration::from_secs(5), || {
            let before = self.link.frames();
            let carried = outside::frames_carried(&self.other);
            difference = (self.link.frames() == before).then(|| carried.saturating_sub(before));
            difference.is_some()
        });
        difference.expect("the link is quiet when nobody sends")
    }

    /// The namespace in which agent and job stand.
    pub fn job(&self) -> &Namespace {
        &self.job
    }

    /// The namespace outside.
    pub fn other(&self) -> &Namespace {
        &self.other
    }

    /// The observer of the link: every packet that came from the job's side.
    pub fn link(&self) -> &Observer {
        &self.link
    }

    /// The observer of the job's own loopback device.
    pub fn loopback(&self) -> &Observer {
        &self.loopback
    }

    /// What is needed to stand where the job stands, with these resolvers and hosts; the command follows.
    pub fn wrapper(&self, resolv_conf: &str, hosts: &str) -> Vec<String> {
        let script = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/hosts && shift 2 && exec \"$@\"";
        let enter = format!("--net={}", self.job.file().display());
        let words = ["nsenter", &enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
        words.into_iter().chain([resolv_conf, hosts]).map(str::to_owned).collect()
    }

    /// Waits until everything that was sent before this call has been seen.
    ///
    /// A packet crosses the link in the queue of the processor that sent it: a marker is sent from each, and waited for.
    pub fn fence(&self) {
        let round = self.link.next_round();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let processors = sched_getaffinity(None).expect("a thread may ask for its processors");
                for processor in (0..CpuSet::MAX_CPU).filter(|&processor| processors.is_set(processor)) {
                    let mut one = CpuSet::new();
                    one.set(processor);
                    sched_setaffinity(None, &one).expect("a thread may choose among its processors");
                    let marker = observer::marker(round, processor);
                    self.fence.send_to(marker.as_bytes(), (GATEWAY_V4, FENCE_PORT)).expect("a marker can be sent");
                    self.link.wait_for(&marker);
                }
            });
        });
        self.loopback.drain();
    }

    /// Waits until no stream on the job's side has anything left to send: a process may end and leave the kernel to go on.
    pub fn settle(&self) {
        let nothing_left = || {
            let tables = ["tcp", "tcp6"].map(|table| format!("/proc/thread-self/net/{table}"));
            let sockets =
                self.job.inside(|| tables.map(|table| fs::read_to_string(table).expect("there is IPv4 and IPv6")));
            // `tx_queue:rx_queue`, in hexadecimal, is the fifth word of a line.
            let unsent =
                |line: &str| line.split_whitespace().nth(4).is_some_and(|queues| !queues.starts_with("00000000:"));
            !sockets.iter().flat_map(|text| text.lines().skip(1)).any(unsent)
        };
        let settled = wait_until_every(Duration::from_millis(200), ORPHANS_GONE_WITHIN, nothing_left);
        assert!(settled, "streams on the job's side still have something to send");
    }

    /// Fails if the observer did not see as many frames as the link has carried.
    pub fn nothing_missed(&self) {
        let (seen, unseen) = (self.link.frames(), self.difference());
        assert_eq!(unseen, self.unseen, "frames that the link carried and the observer did not see, of {seen}");
    }
}

fn join(job: &Namespace, other: &Namespace) {
    job.ip(&format!(
        "link add {UPLINK} address {JOB_MAC} type veth peer name job address {OUTSIDE_MAC} netns {}\n",
        other.name()
    ));
    for namespace in [job, other] {
        namespace.sysctl("ipv6.conf.all.accept_dad", "0").sysctl("ipv4.conf.all.rp_filter", "0");
    }
    job.ip(&format!(
        "addr add {JOB_V4}/24 dev {UPLINK}\naddr add {JOB_V6}/64 dev {UPLINK} nodad\n\
         link set {UPLINK} addrgenmode none\nlink set {UPLINK} up\naddr add fe80::2/64 dev {UPLINK} nodad\n\
         neigh add {GATEWAY_V4} lladdr {OUTSIDE_MAC} dev {UPLINK} nud permanent\n\
         neigh add fe80::1 lladdr {OUTSIDE_MAC} dev {UPLINK} nud permanent\n\
         route add default via {GATEWAY_V4}\nroute add default via fe80::1 dev {UPLINK}\n\
         route add {RESOLVER_V4}/32 via {GATEWAY_V4}\n"
    ));
    let mut lines = format!(
        "addr add {GATEWAY_V4}/24 dev job\nlink set job addrgenmode none\nlink set job up\n\
         addr add fe80::1/64 dev job nodad\n\
         neigh add {JOB_V4} lladdr {JOB_MAC} dev job nud permanent\n\
         neigh add fe80::2 lladdr {JOB_MAC} dev job nud permanent\nroute add 2001:db8:1::/48 via fe80::2 dev job\n\
         addr add {RESOLVER_V4}/32 dev lo\naddr add {RESOLVER_V6}/128 dev lo nodad\n"
    );
    for network in NETWORKS_V4 {
        let _ = writeln!(lines, "route add local {network} dev lo");
    }
    for network in NETWORKS_V6 {
        let _ = writeln!(lines, "route add local {network} dev lo");
    }
    other.ip(&lines);
}
