//! The end-of-job summary: processes, destinations by name, secret reads, findings with their evidence, the account.

mod facts;
mod followed;
mod gaps;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use super::style::Style;
use crate::event::{Activity, Connection, Event, Finding, Process};
use crate::notice::{AgentState, Content, JobEnded, JobStarted, Notice};
use crate::policy::Verdict;
use crate::text::printable;

pub use facts::Destination;

/// Rows of one table that are printed; the log has them all.
const MAX_ROWS: usize = 25;

/// Events whose description is kept for evidence.
const MAX_DESCRIBED: usize = 20_000;

/// Collects what the summary needs, notice by notice.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    started: Option<JobStarted>,
    ended: Option<JobEnded>,
    execs: u64,
    programs: HashMap<String, u64>,
    destinations: BTreeMap<(Verdict, String, String, String), Reached>,
    reads: Vec<SecretRead>,
    findings: Vec<Finding>,
    /// Where the evidence has holes, or was reached for.
    gaps: Vec<String>,
    /// What the events say that evidence may point to.
    described: HashMap<u64, String>,
}

#[derive(Clone, Debug, Default)]
struct Reached {
    count: u64,
    programs: Vec<String>,
    addresses: Vec<String>,
}

#[derive(Clone, Debug)]
struct SecretRead {
    who: String,
    path: String,
    title: String,
    owner: bool,
    refused: bool,
}

impl Summary {
    /// Takes in a notice.
    pub fn observe(&mut self, notice: &Notice) {
        match &notice.content {
            Content::Event(event) => self.event(event),
            Content::Finding(finding) => self.finding(finding),
            Content::JobStarted(started) => self.started = Some(started.clone()),
            Content::JobEnded(ended) => self.ended = Some(ended.clone()),
            Content::Loss(loss) => self.lost(loss.count, loss.place, loss.reason),
            Content::Agent(AgentState::Changed { state, detail }) => self.changed(state, detail),
            Content::Agent(AgentState::Ready { .. }) | Content::Checkpoint(_) | Content::Receipt(_) => {}
        }
    }

    fn event(&mut self, event: &Event) {
        let who = || event.process.as_deref().map_or_else(|| "?".to_owned(), pid_and_name);
        match &event.activity {
            Activity::Exec { .. } => {
                self.execs += 1;
                let exe = event.process.as_ref().map_or("?", |process| &*process.program.exe);
                if self.programs.len() < MAX_DESCRIBED || self.programs.contains_key(exe) {
                    *self.programs.entry(exe.to_owned()).or_default() += 1;
                }
            }
            Activity::File(file) => {
                let who = who();
                let access = match (file.verdict, file.read) {
                    (Verdict::Blocked, _) => "was kept from reading",
                    (_, true) => "read",
                    (_, false) => "opened for writing",
                };
                self.describe(event.seq, format!("file     {who} {access} {} ({})", file.path, file.title));
                if file.read && self.reads.len() < MAX_DESCRIBED {
                    let (path, title) = (file.path.to_string(), file.title.to_string());
                    let refused = file.verdict == Verdict::Blocked;
                    self.reads.push(SecretRead { who, path, title, owner: file.owner, refused });
                }
            }
            Activity::Connect(connection) => self.connection(event, connection),
            Activity::Socket { family, socket_type, protocol, verdict, killed } => {
                let who = who();
                let what = format!("family {family}, type {socket_type}, protocol {protocol}");
                let then = match (verdict, killed) {
                    (_, true) => ", and was ended",
                    (Verdict::Blocked, false) => ", refused",
                    _ => "",
                };
                self.describe(event.seq, format!("socket   {who} made a socket ({what}){then}"));
            }
            Activity::Dns(message) => {
                if let Some(word) =
                    message.decided.as_ref().and_then(|decided| decided.refusal).map(|refusal| refusal.word)
                {
                    let who = who();
                    let (name, kind) = (&message.name, &message.query_type);
                    self.describe(event.seq, format!("dns      {who} asked for {name} ({kind}), refused: {word}"));
                }
            }
            Activity::Device { major, minor, killed } => {
                let (who, what) = (who(), crate::detect::device_name(*major, *minor));
                let how = if *killed { "was ended for opening" } else { "was kept from opening" };
                self.describe(event.seq, format!("device   {who} {how} {what}"));
            }
            Activity::IoUring | Activity::CgroupMove { .. } => {
                let who = who();
                let what = if matches!(event.activity, Activity::IoUring) { "io_uring" } else { "cgroup " };
                self.describe(event.seq, format!("{what} {who}"));
            }
            Activity::Attempt(attempt) => {
                let (who, what) = (who(), crate::detect::attempt_in_words(attempt));
                self.describe(event.seq, format!("attempt  {who} {what}"));
            }
            Activity::Exit { .. } => {}
        }
    }

    fn connection(&mut self, event: &Event, connection: &Connection) {
        let process = event.process.as_deref();
        if connection.ruling.verdict != Verdict::Allowed || connection.outside_cgroup {
            let who = process.map_or_else(|| "?".to_owned(), pid_and_name);
            let (endpoint, protocol, address) = (connection.endpoint(), connection.protocol, connection.address);
            let verdict = connection.ruling.verdict;
            self.describe(event.seq, format!("connect  {who} → {endpoint} ({protocol}, address {address}), {verdict}"));
        }
        let rule = connection.ruling.rule.as_deref().unwrap_or("default").to_owned();
        let key = (connection.ruling.verdict, connection.endpoint(), connection.protocol.to_string(), rule);
        if self.destinations.len() >= MAX_DESCRIBED && !self.destinations.contains_key(&key) {
            return;
        }
        let reached = self.destinations.entry(key).or_default();
        reached.count += 1;
        add(&mut reached.programs, process.map_or("?", Process::name));
        if !connection.names.is_empty() {
            add(&mut reached.addresses, &connection.address.to_string());
        } else if let Some(name) = connection.claimed_names.first() {
            add(&mut reached.addresses, &format!("said to be {name}"));
        }
    }

    fn finding(&mut self, finding: &Finding) {
        // Execs are too many to describe each; those that a finding stands on can be found in its process's lineage.
        for process in finding.process.iter().flat_map(|process| process.lineage()) {
            if let Some(seq) = process.exec_seq
                && finding.evidence.contains(&seq)
            {
                let argv = shorten(&process.program.argv.join(" "));
                self.describe(seq, format!("exec     {} — {argv}", pid_and_name(process)));
            }
        }
        self.findings.push(finding.clone());
    }

    fn describe(&mut self, seq: u64, text: String) {
        if self.described.len() < MAX_DESCRIBED {
            self.described.insert(seq, text);
        }
    }

    /// The summary as text, in colour where `style` says so. `log` is where the whole story stands, `receipt` what vouches for it.
    pub fn render(&self, style: Style, log: Option<&Path>, receipt: Option<&Path>) -> String {
        let mut out = String::new();
        self.render_head(&mut out, style);
        self.render_destinations(&mut out, style);
        self.render_reads(&mut out, style);
        self.render_findings(&mut out, style);
        if let Some(ended) = &self.ended {
            super::account::render(&mut out, style, &ended.account);
        }
        for (name, path) in [("log         ", log), ("receipt     ", receipt)] {
            if let Some(path) = path {
                let _ = writeln!(out, "{}  {}", style.heading(name), path.display());
            }
        }
        out
    }

    fn render_head(&self, out: &mut String, style: Style) {
        let _ = writeln!(out, "{}", style.heading("── runner-agent: what this job did ──"));
        if let Some(started) = &self.started {
            let _ = writeln!(out, "{}  {}", style.heading("command     "), shorten(&started.command.join(" ")));
            let hash = started.policy_sha256.get(..12).unwrap_or_default();
            let _ = writeln!(
                out,
                "{}  {} (mode {}, sha256 {hash}…)",
                style.heading("policy      "),
                started.policy,
                started.mode
            );
        }
        if let Some(ended) = &self.ended {
            let result = match (ended.exit_code, ended.signal) {
                (Some(code), _) => format!("exited with {code}"),
                (None, Some(signal)) => format!("ended by signal {signal}"),
                (None, None) => "its end was not seen".to_owned(),
            };
            let _ = writeln!(out, "{}  {result}", style.heading("result      "));
            if !ended.leftovers.is_empty() {
                let list = ended.leftovers.join(", ");
                let _ = writeln!(out, "{}  ended with the job: {}", style.heading("left over   "), shorten(&list));
            }
            if !ended.left_on_runner.is_empty() {
                let list = ended.left_on_runner.join(", ");
                let _ = writeln!(
                    out,
                    "{}  outside the job, and runs on: {}",
                    style.heading("left over   "),
                    shorten(&list)
                );
            }
        }
        let mut programs: Vec<(&String, &u64)> = self.programs.iter().collect();
        programs.sort_by_key(|&(exe, count)| (std::cmp::Reverse(*count), exe));
        let top: Vec<String> =
            programs.iter().take(6).map(|(exe, count)| format!("{} ×{count}", crate::text::base_name(exe))).collect();
        let _ = writeln!(
            out,
            "{}  {} program starts, {} programs{}{}{}",
            style.heading("processes   "),
            self.execs,
            programs.len(),
            if top.is_empty() { "" } else { ": " },
            printable(&top.join(", ")),
            if programs.len() > top.len() { ", …" } else { "" }
        );
    }

    fn render_destinations(&self, out: &mut String, style: Style) {
        if self.destinations.is_empty() {
            let _ = writeln!(out, "{}  none", style.heading("destinations"));
            return;
        }
        let _ = writeln!(out, "{}", style.heading("destinations"));
        // What was not allowed comes first: that is what the reader is here for.
        for ((verdict, endpoint, protocol, rule), reached) in self.destinations.iter().rev().take(MAX_ROWS) {
            let addresses = match reached.addresses.as_slice() {
                [] => String::new(),
                addresses => format!(" [{}]", addresses.join(", ")),
            };
            let _ = writeln!(
                out,
                "  {verdict:<8} {endpoint} {protocol} ×{}{addresses}  by {}  (rule {rule})",
                reached.count,
                printable(&reached.programs.join(", "))
            );
        }
        render_rest(out, style, self.destinations.len());
    }

    fn render_reads(&self, out: &mut String, style: Style) {
        if self.reads.is_empty() {
            let _ = writeln!(out, "{}  none", style.heading("secret reads"));
            return;
        }
        let _ = writeln!(out, "{}", style.heading("secret reads"));
        for read in self.reads.iter().take(MAX_ROWS) {
            let owner = match (read.refused, read.owner) {
                (true, _) => "refused, NOT an owner",
                (false, true) => "an owner",
                (false, false) => "NOT an owner",
            };
            let line = format!("{} by {}, {owner} — {}", read.path, read.who, read.title);
            let _ = writeln!(out, "  {}", printable(&line));
        }
        render_rest(out, style, self.reads.len());
    }

    fn render_findings(&self, out: &mut String, style: Style) {
        if self.findings.is_empty() {
            let _ = writeln!(out, "{}  none", style.heading("findings    "));
            return;
        }
        let _ = writeln!(out, "{}", style.heading("findings"));
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in findings.iter().take(MAX_ROWS) {
            let severity = style.severity(finding.severity);
            let _ = writeln!(out, "  {severity} {}: {}", finding.id, printable(&finding.message));
            for seq in &finding.evidence {
                let text = self.described.get(seq).map_or("(in the log)", String::as_str);
                let _ = writeln!(out, "      #{seq:<6} {}", printable(text));
            }
            if let Some(process) = &finding.process {
                let chain: Vec<String> = process.lineage().take(8).map(pid_and_name).collect();
                let _ = writeln!(out, "      {}  {}", style.faint("lineage"), printable(&chain.join(" ← ")));
            }
            if let Some(fix) = &finding.fix {
                let _ = writeln!(out, "      {}  {}", style.faint("to allow"), printable(fix));
            }
        }
        render_rest(out, style, findings.len());
    }
}

/// `name (pid 12)`.
fn pid_and_name(process: &Process) -> String {
    format!("{} (pid {})", process.name(), process.key.tgid)
}

fn render_rest(out: &mut String, style: Style, len: usize) {
    if len > MAX_ROWS {
        let _ = writeln!(out, "  {}", style.faint(&format!("… and {} more, in the log", len - MAX_ROWS)));
    }
}

fn add(list: &mut Vec<String>, item: &str) {
    const MAX_ITEMS: usize = 6;
    if list.len() < MAX_ITEMS && !list.iter().any(|known| known == item) {
        list.push(item.to_owned());
    }
}

/// One line of bearable length.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    let line: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
