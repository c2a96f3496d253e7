//! The native event log's form: which field of a notice stands where in its JSON object. The only place that serializes.
//! The other forms stand in modules of their own ([`format`], `docs/formats.md`).
//!
//! Every line has `ts` (RFC 3339, UTC, nanoseconds), `seq`, `kind` and `prev`; the rest depends on `kind`. The form is
//! documented in `docs/event-log.md`, and versioned by `log` in the `agent` line. [`read`] reads it back.

pub mod format;
pub mod read;
pub mod recall;
pub mod receipt;
pub mod statement;
pub mod tried;

mod canonical;
mod line;
mod facts;
mod attributes;
mod ocsf;
mod otlp;
mod syslog;
mod cef;
mod cloudevents;
mod splunk;
mod elastic;
mod slack;
mod alertmanager;

use line::{AccountLine, DestinationLine, Detail, Line, ProbeLine, ProcessLine, RuleLine};

use crate::event::{Activity, Attempt, Connection, DnsMessage, Event, FileAccess, Finding, Process, ProcessKey};
use crate::ledger::Checkpoint;
use crate::notice::{Account, AgentState, Content, JobEnded, JobStarted, Loss, Notice, ReceiptIssued};

/// Version of the form.
pub const LOG_VERSION: u32 = 1;

/// Every `kind`. The last is for sinks alone: a receipt is about the log, and not in it.
pub const KINDS: &[&str] = &[
    "agent",
    "job",
    "exec",
    "exit",
    "file",
    "connect",
    "socket",
    "device",
    "io-uring",
    "cgroup",
    "dns",
    "attempt",
    "finding",
    "loss",
    "checkpoint",
    "receipt",
];

/// Turns notices into lines.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Wall-clock time of boot, nanoseconds since 1970. Taken once: a clock that jumps must not reorder the log.
    pub boot_ns: i128,
    /// Mount namespace of the agent; a process in another is said to be in a container.
    pub mount_namespace: u32,
}

impl Encoder {
    /// Appends a notice's line, without a line feed.
    pub fn encode(&self, notice: &Notice, prev: &str, out: &mut Vec<u8>) {
        write(&self.line(notice, prev), out);
    }

    /// A notice's line as a value, for forms that carry it within their own.
    fn line<'a>(&self, notice: &'a Notice, prev: &'a str) -> Line<'a> {
        let detail = match &notice.content {
            Content::Event(event) => Self::event(event),
            Content::Finding(finding) => finding_detail(finding),
            Content::Loss(Loss { place, reason, count }) => Detail::Loss { place, reason, count: *count },
            Content::Checkpoint(signed) => checkpoint_detail(signed.as_ref()),
            Content::Receipt(issued) => receipt_detail(issued),
            Content::JobStarted(started) => started_detail(started),
            Content::JobEnded(ended) => ended_detail(ended),
            Content::Agent(AgentState::Changed { state, detail }) => Detail::Changed { state, detail },
            Content::Agent(AgentState::Ready { ready_ms, tier, kernel, version }) => {
                let ready_ms = (ready_ms * 1000.0).round() / 1000.0;
                Detail::Ready { state: "ready", ready_ms, tier, kernel, version, log: LOG_VERSION }
            }
        };
        Line {
            ts: self.timestamp(notice.at_ns),
            seq: notice.seq,
            kind: facts::kind(&notice.content),
            job: notice.job.as_deref(),
            process: facts::process(&notice.content).map(|process| self.process(process, &notice.content)),
            scope: matches!(&notice.content, Content::Event(event) if event.is_runners).then_some("runner"),
            detail,
            prev,
        }
    }

    /// Nanoseconds since 1970, from a moment since boot.
    fn since_1970(&self, at_ns: u64) -> i128 {
        self.boot_ns + i128::from(at_ns)
    }

    /// RFC 3339 with nanoseconds, from a moment since boot.
    pub fn timestamp(&self, at_ns: u64) -> String {
        let since_1970 = self.since_1970(at_ns);
        jiff::Timestamp::from_nanosecond(since_1970).map_or_else(|_| since_1970.to_string(), |at| format!("{at:.9}"))
    }

    fn process<'a>(&self, process: &'a Process, content: &'a Content) -> ProcessLine<'a> {
        let (argv, argv_whole) = facts::arguments(process, content);
        ProcessLine {
            key: key_text(process.key),
            pid: process.key.tgid,
            parent: process.parent_key.map(key_text),
            exe: &process.program.exe,
            argv,
            argv_whole,
            cwd: &process.program.cwd,
            uid: process.program.uid,
            cgroup: process.program.cgroup,
            container: process.program.mount_namespace != 0 && process.program.mount_namespace != self.mount_namespace,
            stdin_pipe: process.program.stdin_pipe,
            stdout_pipe: process.program.stdout_pipe,
        }
    }

    fn event(event: &Event) -> Detail<'_> {
        match &event.activity {
            Activity::Exec { outside_cgroup, .. } => Detail::Exec { outside_cgroup: *outside_cgroup },
            Activity::Exit { status } => exit_detail(*status),
            Activity::File(file) => file_detail(file),
            Activity::Connect(connection) => connect_detail(connection),
            Activity::Socket { family, socket_type, protocol, verdict, killed } => {
                let (family, socket_type, protocol) = (*family, *socket_type, *protocol);
                let verdict = verdict.as_str();
                Detail::Socket { family, socket_type, protocol, verdict, killed: *killed }
            }
            Activity::Device { major, minor, killed } => {
                Detail::Device { major: *major, minor: *minor, killed: *killed }
            }
            Activity::IoUring => Detail::Nothing {},
            Activity::CgroupMove { by, to, inside, killed, shares } => {
                let (by, to, inside) = (key_text(*by), *to, *inside);
                Detail::CgroupMove { by, to, inside, killed: *killed, shares_descriptors: *shares }
            }
            Activity::Dns(message) => dns_detail(message),
            Activity::Attempt(attempt) => attempt_detail(attempt),
        }
    }
}

/// Appends a value as JSON.
fn write(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing to memory does not fail, and every key is a string");
}

/// The text of a process key: pid and start time, `-` between them.
pub fn key_text(key: ProcessKey) -> String {
    format!("{}-{}", key.tgid, key.start_ns)
}

/// wait(2): the low seven bits are the signal, the next byte the exit code.
fn exit_of(status: u32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    }
}

/// How a process ended.
enum Exit {
    Code(u32),
    Signal(u32),
}

impl Exit {
    fn code(&self) -> Option<u32> {
        if let Self::Code(code) = self { Some(*code) } else { None }
    }
}

fn exit_detail<'a>(status: u32) -> Detail<'a> {
    match exit_of(status) {
        Exit::Code(code) => Detail::Exit { exit_code: Some(code), signal: None },
        Exit::Signal(signal) => Detail::Exit { exit_code: None, signal: Some(signal) },
    }
}

fn file_detail(file: &FileAccess) -> Detail<'_> {
    Detail::File {
        path: &file.path,
        known_as: file.known_as.as_deref(),
        class: &file.class,
        access: access_word(file),
        owner: file.owner,
        compat: file.compat,
        path_truncated: file.path_truncated,
        inherited: file.inherited,
        verdict: file.verdict.as_str(),
    }
}

fn access_word(file: &FileAccess) -> &'static str {
    match (file.read, file.write) {
        (true, true) => "read-write",
        (true, false) => "read",
        _ => "write",
    }
}

fn attempt_detail(attempt: &Attempt) -> Detail<'_> {
    Detail::Attempt {
        operation: attempt.name(),
        target: attempt.target.map(|target| target.tgid),
        detail: attempt.detail,
        path: attempt.path.as_deref(),
        failed: attempt.failed,
        request: attempt.request.as_ref().map(|request| &*request.name),
        asks: attempt.request.as_ref().map_or(&[], |request| &request.asks),
        verdict: attempt.verdict.as_str(),
    }
}

fn connect_detail(connection: &Connection) -> Detail<'_> {
    Detail::Connect {
        destination: DestinationLine {
            ip: connection.address,
            port: connection.port,
            protocol: connection.protocol.to_string(),
            class: connection.ruling.class.as_str(),
            names: connection.names.iter().map(|name| &**name).collect(),
            claimed_names: connection.claimed_names.iter().map(|name| &**name).collect(),
        },
        hook: connection.hook,
        verdict: connection.ruling.verdict.as_str(),
        rule: connection.ruling.rule.as_deref().unwrap_or("default"),
        refused_for_secret: connection.refused_for_secret,
        outside_cgroup: connection.outside_cgroup,
    }
}

fn dns_detail(message: &DnsMessage) -> Detail<'_> {
    Detail::Dns {
        server: message.server,
        name: &message.name,
        query_type: &message.query_type,
        answer_code: message.answer_code.as_deref(),
        addresses: &message.addresses,
        trusted: message.answer_code.as_ref().map(|_| message.trusted),
        verdict: message.decided.as_ref().map(|decided| decided.verdict.as_str()),
        rule: message.decided.as_ref().and_then(|decided| decided.rule.as_deref()),
        refusal: message.decided.as_ref().and_then(|decided| decided.refusal).map(|refusal| refusal.word),
    }
}

fn finding_detail(finding: &Finding) -> Detail<'_> {
    Detail::Finding {
        id: finding.id,
        severity: finding.severity.as_str(),
        message: &finding.message,
        technique: finding.techniques,
        evidence: &finding.evidence,
        fix: finding.fix.as_deref(),
    }
}

fn started_detail(started: &JobStarted) -> Detail<'_> {
    Detail::JobStarted {
        state: "started",
        command: &started.command,
        policy: &started.policy,
        policy_sha256: &started.policy_sha256,
        policy_files: &started.policy_files,
        mode: started.mode.as_str(),
        cgroup: &started.cgroup,
        key: started.key.as_deref(),
    }
}

/// One that isn't signed says nothing but when it was asked for.
fn checkpoint_detail(signed: Option<&Checkpoint>) -> Detail<'_> {
    signed.map_or(Detail::Nothing {}, |Checkpoint { position, key, signature }| Detail::Checkpoint {
        lines: position.lines,
        head: &position.head,
        key,
        signature: signature.to_string(),
    })
}

fn receipt_detail(issued: &ReceiptIssued) -> Detail<'_> {
    Detail::Receipt {
        sha256: &issued.sha256,
        log_sha256: &issued.log_sha256,
        lines: issued.lines,
        head: &issued.head,
        key: &issued.key,
        mode: issued.mode.as_str(),
        seen: issued.seen,
        lost: issued.lost,
        findings: issued.findings,
    }
}

fn ended_detail(ended: &JobEnded) -> Detail<'_> {
    Detail::JobEnded {
        state: "ended",
        exit_code: ended.exit_code,
        signal: ended.signal,
        leftovers: &ended.leftovers,
        left_on_runner: &ended.left_on_runner,
        findings: &ended.occurrences,
        unreadable_dns: ended.unreadable_dns,
        rules: ended
            .rules
            .iter()
            .map(|used| RuleLine { rule: &used.rule, allowed: used.allowed, blocked: used.blocked })
            .collect(),
        dropped_packets: ended.dropped_packets,
        account: account_line(&ended.account),
    }
}

fn account_line(account: &Account) -> AccountLine {
    let probes = account.probes.iter().map(|(name, counters)| {
        let line = ProbeLine {
            seen: counters.seen,
            submitted: counters.submitted,
            ring_full: counters.ring_full,
            oversize: counters.oversize,
            busy: counters.busy,
            map_full: counters.map_full,
        };
        (*name, line)
    });
    AccountLine {
        seen: account.seen(),
        submitted: account.submitted(),
        received: account.received,
        decoded: account.decoded,
        refused: account.refused,
        notices_dropped: account.notices_dropped,
        skipped: account.skipped_runs(),
        lost: account.lost(),
        difference: account.difference(),
        probes: probes.collect(),
    }
}
