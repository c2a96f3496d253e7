//! Keys and values of the egress maps: what the kernel side decides by, and what it remembers of a socket.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::record::ProcessKey;

/// Numbers of rules, as verdicts carry them. Rules of a policy begin at [`rule::FIRST`]: closed ports first, then what is
/// allowed, each in the order of the policy. The lowest that matches decides.
pub mod rule {
    /// No rule spoke.
    pub const DEFAULT: u32 = 0;
    /// It stays on the machine.
    pub const LOOPBACK: u32 = 1;
    /// It is a DNS question, and goes to the agent.
    pub const RESOLVER: u32 = 2;
    /// The first rule of the policy.
    pub const FIRST: u32 = 3;
}

/// Verdicts, as records carry them.
pub mod verdict {
    /// The kernel was not asked to decide: the job is audited, and user space says what would have been.
    pub const NONE: u16 = 0;
    /// A rule allows it.
    pub const ALLOWED: u16 = 1;
    /// It was refused.
    pub const BLOCKED: u16 = 2;
    /// It was refused only because the process holds a secret, and the rule may not carry one.
    pub const BLOCKED_SECRET: u16 = 3;
}

/// Bits of [`JobRules::flags`].
pub mod job_flag {
    /// What no rule allows is refused.
    pub const BLOCK: u32 = 1 << 0;
    /// A process that read a secret file needs a rule that may carry secrets.
    pub const CARRY_BLOCK: u32 = 1 << 1;
    /// Some rule names executables.
    pub const EXES: u32 = 1 << 2;
    /// Some entry is for any port of one protocol.
    pub const ANY_PORT: u32 = 1 << 3;
    /// Some entry is for any protocol at one port.
    pub const ANY_PROTOCOL: u32 = 1 << 4;
    /// Some entry is for any protocol and any port: the only ones that other protocols than TCP and UDP can match.
    pub const ANYTHING: u32 = 1 << 5;
}

/// What holds for a job, by its slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct JobRules {
    /// Bits of [`job_flag`].
    pub flags: u32,
    /// Port of the job's resolver on 127.0.0.1, host order; 0 when there is none, and then port 53 is refused.
    pub resolver_v4: u16,
    /// Port of the job's resolver on ::1, host order; 0 when there is none.
    pub resolver_v6: u16,
    /// Where the job's rules begin in the counters: rule `n` counts at `counters + n`.
    pub counters: u32,
    /// How many rules it has, those before [`rule::FIRST`] included.
    pub rules: u32,
}

/// Bits before the address in [`RuleKey`].
pub const KEY_BITS: u32 = 64;

/// Where an entry of the rule map applies. The map's prefix length is [`KEY_BITS`] plus the network's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RuleKey {
    /// Slot of the job.
    pub job: u32,
    /// 4 or 6, so that a network of one family never covers the other.
    pub family: u8,
    /// IP protocol number, 0 for any.
    pub protocol: u8,
    /// Port in network order, 0 for any.
    pub port: [u8; 2],
    /// Address in network order; IPv4 in the first four bytes.
    pub address: [u8; 16],
}

/// Bits of [`Alternative::flags`].
pub mod alternative_flag {
    /// It closes.
    pub const DENY: u8 = 1 << 0;
    /// A process that read a secret file may use it.
    pub const MAY_CARRY_SECRETS: u8 = 1 << 1;
    /// The address was learnt from an answer, and goes when its time is over.
    pub const LEARNT: u8 = 1 << 2;
    /// The server's name in a TLS ClientHello must be one that the rule allows. Reserved: nothing checks it yet.
    pub const TLS_NAME: u8 = 1 << 3;
}

/// Bit of [`Alternative::exes`] that every process has.
pub const ANY_EXE: u64 = 1;

/// [`Alternative::expires_ns`] of what stays.
pub const NEVER_NS: u64 = i64::MAX as u64;

/// One rule as it applies to one destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Alternative {
    /// Until when, nanoseconds since boot.
    pub expires_ns: u64,
    /// Which executables: a process needs one of these bits. [`ANY_EXE`] alone means any.
    pub exes: u64,
    /// Number of the rule.
    pub rule: u32,
    /// First port, host order; looked at where the key is for any port.
    pub port_low: u16,
    /// Last port.
    pub port_high: u16,
    /// The only class of address it is about, one of [`crate::address::class`].
    pub class: u8,
    /// Bits of [`alternative_flag`].
    pub flags: u8,
    /// Always zero.
    pub reserved: [u8; 6],
}

/// How many rules may meet at one destination.
pub const ALTERNATIVES: usize = 8;

/// The rules that meet at one destination, those of the networks around it included: the map finds the longest prefix
/// only, so each entry must be whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RuleEntry {
    /// Rules in ascending order; those not used have no executable and match nobody.
    pub alternatives: [Alternative; ALTERNATIVES],
}

/// An executable of a job's rules, by file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExeKey {
    /// Inode number.
    pub inode: u64,
    /// Device, in the kernel's own encoding (major << 20 | minor).
    pub device: u32,
    /// Slot of the job.
    pub job: u32,
}

/// What became of the attempts that a rule decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RuleCount {
    /// Connects and addressed sends that passed.
    pub allowed: u64,
    /// Connects, addressed sends and sockets that were refused.
    pub blocked: u64,
    /// Packets that the backstop dropped; at [`rule::DEFAULT`] only.
    pub dropped: u64,
}

/// Bits of [`SocketRuling::flags`].
pub mod socket_flag {
    /// `address` and `port` were allowed.
    pub const ALLOWED: u16 = 1 << 0;
    /// By a connect: the conversation may go on when the rule's time is over.
    pub const CONNECTED: u16 = 1 << 1;
    /// It talks to the job's resolver; `wanted` is whom it thinks it talks to.
    pub const REDIRECTED: u16 = 1 << 2;
    /// A dropped packet of it was told.
    pub const DROP_TOLD: u16 = 1 << 3;
    /// Its packets may not be a holder's of secrets: the rule may not carry any, and the policy blocks that.
    pub const NO_SECRETS: u16 = 1 << 4;
    /// A holder of secrets has written to it: nothing leaves it any more, also when its process is gone and the kernel sends
    /// again what waits.
    pub const BARRED: u16 = 1 << 5;
    /// The agent sends through it.
    pub const AGENTS: u16 = 1 << 6;
}

/// What was decided about a socket, kept in the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketRuling {
    /// The last destination that was allowed, network order; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// Whom the job addressed when its question was redirected, as `address`.
    pub wanted: [u8; 16],
    /// Until when a datagram to `address` needs no new verdict, nanoseconds since boot.
    pub until_ns: u64,
    /// Who asked for it.
    pub owner: ProcessKey,
    /// Port of `address`, host order.
    pub port: u16,
    /// Bits of [`socket_flag`].
    pub flags: u16,
    /// 4 or 6: family of `address`.
    pub family: u8,
    /// 4 or 6: family of `wanted`.
    pub wanted_family: u8,
    /// IP protocol number as rules have it.
    pub protocol: u8,
    /// Always zero.
    pub reserved: u8,
    /// Slot of the job.
    pub job: u32,
    /// Where the rule that allowed it counts: its number, from where the job's rules begin.
    pub counter: u32,
    /// Inode number of the network namespace that a redirected question was asked in.
    pub network: u32,
    /// Always zero.
    pub reserved_too: u32,
}

/// From where a question reached the resolver.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AskerKey {
    /// The job's own port, host order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6: family of the packet.
    pub family: u8,
    /// Inode number of the network namespace: each has ports of its own.
    pub network: u32,
}

/// Who asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Asker {
    /// Whom the job addressed, network order; IPv4 in the first four bytes.
    pub wanted: [u8; 16],
    /// The process.
    pub process: ProcessKey,
    /// Socket cookie.
    pub socket: u64,
    /// Slot of the job.
    pub job: u32,
    /// 4 or 6: family of `wanted`.
    pub wanted_family: u8,
    /// 1 when the process may hold a secret.
    pub holds_secret: u8,
    /// Always zero.
    pub reserved: [u8; 2],
}

/// Pipes that may carry a secret; the longest unused goes first.
pub const PIPES: u32 = 4096;

/// Devices through which packets leave without a socket: what a tunnel sends is the kernel's own, and no cgroup's. Major
/// and minor numbers (Documentation/admin-guide/devices.txt): TUN/TAP, the network side of virtual machines, their VSOCK,
/// and PPP.
pub const DOORS: [(u32, u32); 4] = [(10, 200), (10, 238), (10, 241), (108, 0)];

/// Askers that are remembered; the longest unused goes first.
pub const ASKERS: u32 = 8192;
