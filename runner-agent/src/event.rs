//! What a job did, in words: a process, an activity, and what the policy says about it.

use std::net::IpAddr;
use std::sync::Arc;

pub use runner_agent_common::record::ProcessKey;

use crate::policy::{Protocol, Ruling, Severity, Verdict};

/// A process with the program it runs now. A new program makes a new value with the same key.
#[derive(Debug)]
pub struct Process {
    /// Its identity.
    pub key: ProcessKey,
    /// Identity of its parent, when known.
    pub parent_key: Option<ProcessKey>,
    /// Its parent as it was at the fork; `None` where the chain is unknown, or longer than [`MAX_DEPTH`].
    pub parent: Option<Arc<Process>>,
    /// How many ancestors hang on `parent`.
    pub depth: u32,
    /// What it runs.
    pub program: Program,
    /// Sequence number of the notice that told of this program.
    pub exec_seq: Option<u64>,
}

/// The program that a process runs.
#[derive(Clone, Debug)]
pub struct Program {
    /// Path of the executable; empty when never learnt.
    pub exe: Arc<str>,
    /// The first arguments, secrets removed; at most [`REMEMBERED_ARGUMENT_BYTES`] in all. The exec's event has them all.
    pub argv: Arc<[String]>,
    /// Whether `argv` is all of it.
    pub argv_whole: bool,
    /// Working directory at the exec.
    pub cwd: Arc<str>,
    /// User id.
    pub uid: u32,
    /// Cgroup (v2) id.
    pub cgroup: u64,
    /// Inode number of the mount namespace, 0 when unknown.
    pub mount_namespace: u32,
    /// Pipe on standard input, 0 when none.
    pub stdin_pipe: u64,
    /// Pipe on standard output, 0 when none.
    pub stdout_pipe: u64,
    /// Whether the executable has no name in any directory (memfd, deleted).
    pub exe_unlinked: bool,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            exe: "".into(),
            argv: Arc::new([]),
            argv_whole: true,
            cwd: "".into(),
            uid: 0,
            cgroup: 0,
            mount_namespace: 0,
            stdin_pipe: 0,
            stdout_pipe: 0,
            exe_unlinked: false,
        }
    }
}

/// Ancestors that are kept with a process. A job can fork in a chain without end.
pub const MAX_DEPTH: u32 = 64;

/// Bytes of arguments that are remembered with a process and repeated in its later notices. A job can start programs with
/// megabytes of arguments as fast as it likes; they are told once.
pub const REMEMBERED_ARGUMENT_BYTES: usize = 1024;

impl Process {
    /// The process and its ancestors, nearest first.
    pub fn lineage(&self) -> impl Iterator<Item = &Process> {
        std::iter::successors(Some(self), |process| process.parent.as_deref())
    }

    /// The executable's base name, or `?`.
    pub fn name(&self) -> &str {
        if self.program.exe.is_empty() { "?" } else { crate::text::base_name(&self.program.exe) }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number of its notice.
    pub seq: u64,
    /// When, nanoseconds since boot.
    pub at_ns: u64,
    /// Who; packets have nobody.
    pub process: Option<Arc<Process>>,
    /// Whether that is the runner's and not the job's, though held to its policy.
    pub is_runners: bool,
    /// What.
    pub activity: Activity,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Activity {
    /// A program was started in the process.
    Exec {
        /// Arguments, secrets removed.
        argv: Arc<[String]>,
        /// Whether `argv` is all of it.
        argv_whole: bool,
        /// Whether the process was outside its job's cgroup.
        outside_cgroup: bool,
    },
    /// The process ended.
    Exit {
        /// Status in the form of wait(2).
        status: u32,
    },
    /// A secret file was opened.
    File(FileAccess),
    /// A connect, or a datagram with a destination of its own.
    Connect(Connection),
    /// A socket that no address hook judges.
    Socket {
        /// Address family (`AF_*`).
        family: u32,
        /// Socket type (`SOCK_*`).
        socket_type: u32,
        /// Protocol.
        protocol: u32,
        /// Whether it may be used.
        verdict: Verdict,
        /// Whether the kernel side ended the process for it.
        killed: bool,
    },
    /// A device through which packets leave without a socket was to be opened.
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
        /// Whether the process was ended for it; else the open was refused.
        killed: bool,
    },
    /// io_uring was set up.
    IoUring,
    /// The process was moved to another cgroup.
    CgroupMove {
        /// Who moved it.
        by: ProcessKey,
        /// Where to, a cgroup (v2) id.
        to: u64,
        /// Whether that is within the job.
        inside: bool,
        /// Whether it, or the one that moved it, was ended for it.
        killed: bool,
        /// Whether it was born with another process's descriptors, which is why it was ended.
        shares: bool,
    },
    /// A DNS question was answered, or asked.
    Dns(DnsMessage),
    /// It reached for the agent, the runner or the kernel.
    Attempt(Attempt),
}

/// An attempt at the agent, the runner or the kernel.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// One of [`runner_agent_common::guard::operation`].
    pub operation: u16,
    /// The process that was meant.
    pub target: Option<ProcessKey>,
    /// What else there is to say, by operation.
    pub detail: u64,
    /// The file that was meant.
    pub path: Option<Arc<str>>,
    /// Whether it failed by itself.
    pub failed: bool,
    /// What a container engine was asked for.
    pub request: Option<EngineRequest>,
    /// Refused, audited or allowed.
    pub verdict: Verdict,
}

/// A request to a container engine that asks for too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRequest {
    /// Method and path.
    pub name: Arc<str>,
    /// What it asks for: a word, and what it is about.
    pub asks: Vec<Arc<str>>,
}

impl Attempt {
    /// The operation as the log has it.
    pub fn name(&self) -> &'static str {
        runner_agent_common::guard::operation::NAMES.get(usize::from(self.operation)).copied().unwrap_or("unknown")
    }
}

/// An opened secret file.
#[derive(Clone, Debug)]
pub struct FileAccess {
    /// Path as the kernel resolved it.
    pub path: Arc<str>,
    /// Path under which the same file is known as secret, when it was opened under another.
    pub known_as: Option<Arc<str>>,
    /// Class of secret.
    pub class: Arc<str>,
    /// Title of the class.
    pub title: Arc<str>,
    /// Severity of the class.
    pub class_severity: Severity,
    /// Opened for reading.
    pub read: bool,
    /// Opened for writing.
    pub write: bool,
    /// Whether the reader is an owner of this class.
    pub owner: bool,
    /// By a 32-bit system call.
    pub compat: bool,
    /// Whether the path's front is missing.
    pub path_truncated: bool,
    /// Whether the descriptor was opened by somebody else before, and was read, mapped or received here.
    pub inherited: bool,
    /// Allowed, audited or refused.
    pub verdict: Verdict,
}

/// A destination asked for.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Address; IPv4-mapped IPv6 is IPv4 here.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Names that the job resolved to this address, latest first.
    pub names: Vec<Arc<str>>,
    /// Names that a resolver which isn't the runner's claimed for it; for readers, not for rules.
    pub claimed_names: Vec<Arc<str>>,
    /// Which hook saw it.
    pub hook: &'static str,
    /// Socket cookie, 0 when the hook has none.
    pub socket: u64,
    /// Whether the process was outside its job's cgroup, and the address is the one passed to the system call.
    pub outside_cgroup: bool,
    /// The policy's word: the kernel's where the job is blocked, user space's where it is audited.
    pub ruling: Ruling,
    /// It was refused for one reason only: the process holds a secret, and the rule may not carry one.
    pub refused_for_secret: bool,
}

impl Connection {
    /// The best name, else the address.
    pub fn host(&self) -> String {
        self.names.first().map_or_else(|| self.address.to_string(), ToString::to_string)
    }

    /// What else a reader should know of the address: ` (said to be …)`, or nothing.
    pub fn claim(&self) -> String {
        match self.claimed_names.first() {
            Some(name) if self.names.is_empty() => format!(" (said to be {name})"),
            _ => String::new(),
        }
    }

    /// `host:port`, with IPv6 addresses in brackets.
    pub fn endpoint(&self) -> String {
        match (self.names.first(), self.address) {
            (None, IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host(), self.port),
        }
    }
}

/// A DNS message in short.
#[derive(Clone, Debug)]
pub struct DnsMessage {
    /// The resolver.
    pub server: IpAddr,
    /// Name asked for, lower case, without the last dot.
    pub name: Arc<str>,
    /// Type asked for (`A`, `AAAA`, …).
    pub query_type: String,
    /// Answer code (`NoError`, `NXDomain`, …); `None` for a question.
    pub answer_code: Option<String>,
    /// Addresses in the answer.
    pub addresses: Vec<IpAddr>,
    /// Whether the answer was taken as naming these addresses: from a configured resolver, to a question of this job.
    pub trusted: bool,
    /// What the agent's own resolver decided; nothing where it wasn't asked.
    pub decided: Option<DecidedName>,
}

/// What the agent's resolver decided about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedName {
    /// Allowed or blocked.
    pub verdict: Verdict,
    /// The rule that allows it.
    pub rule: Option<Arc<str>>,
    /// Why it was refused.
    pub refusal: Option<NameRefusal>,
}

/// Why a question was refused: the words of the log, and whether anybody should be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRefusal {
    /// `no-rule`, `budget`, `tunnel`, …
    pub word: &'static str,
    /// Whether honest programs cause it all the time.
    pub is_quiet: bool,
    /// Whether it looks like data on its way out.
    pub is_tunnel: bool,
}

/// Something that somebody should look at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Stable name of what was found.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// One sentence for a person.
    pub message: String,
    /// Rows of the threat matrix.
    pub techniques: &'static [&'static str],
    /// Numbers of the notices that it stands on, in order.
    pub evidence: Vec<u64>,
    /// The smallest policy line that would allow it.
    pub fix: Option<String>,
    /// Who.
    pub process: Option<Arc<Process>>,
    /// What it is about besides the detector: findings that agree in both are one finding, told once and counted.
    pub subject: String,
}

impl Drop for Process {
    /// Ends the chain of ancestors in a loop: the default would recurse once per ancestor.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut process) = next.and_then(Arc::into_inner) {
            next = process.parent.take();
        }
    }
}
