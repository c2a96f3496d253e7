//! The product without root: records in, notices out. No I/O, no clock, no kernel; time comes from the records.

mod arguments;
mod attempts;
mod destinations;
mod files;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use runner_agent_common::guard::ProgramKey;
use runner_agent_common::map::FileKey;
use runner_agent_common::record::{self, ProcessKey, flag};

use arguments::{StartedProgram, Waiting};
pub use attempts::EngineAsked;
pub use destinations::Resolved;
use destinations::verdict_of;

use crate::decode::Record;
use crate::detect;
use crate::event::{Activity, Event, Finding, Process, Program};
use crate::job::{Job, JobState, Scope};
use crate::notice::{AgentState, Content, Notice};
use crate::policy::{Mode, Verdict};
use crate::process::ProcessTable;
use crate::redact::Redactor;
use crate::text;

/// Records in, notices out.
#[derive(Debug, Default)]
pub struct Pipeline {
    table: ProcessTable,
    jobs: HashMap<u32, JobState>,
    waiting: Waiting,
    sockets: HashMap<u64, ProcessKey>,
    socket_order: VecDeque<u64>,
    measures: Vec<Measure>,
}

/// What the kernel side must be told, or a process made to do, because of what happened in a blocked job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// This process holds a secret now.
    MarkHolder(ProcessKey),
    /// This process left its job's cgroup, where its rules don't reach it: it must end.
    End(ProcessKey),
    /// This program may read secret files, if it is what its name says.
    Permit(Permit),
    /// This file belongs to a class of secret of the job in that slot, counted from 0.
    Know(u32, FileKey, usize),
}

/// Classes of secret files that a program may read by its name and its arguments, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The program.
    pub program: ProgramKey,
    /// Its path, in the mount namespace that it was started in.
    pub exe: Arc<str>,
    /// The file that runs.
    pub file: FileKey,
    /// Inode number of that namespace.
    pub mount_namespace: u32,
    /// Whoever the program is run by.
    pub by_name: u64,
    /// Because of its arguments, which may name a file that another namespace has another of.
    pub by_arguments: u64,
}

impl Pipeline {
    /// From here on, records with the job's slot are the job's. `hosts` are names that need no resolver.
    pub fn start_job(&mut self, job: Arc<Job>, hosts: &[(IpAddr, String)]) {
        let mut state = JobState::new(job.clone());
        for (address, name) in hosts {
            state.names.add(*address, name);
        }
        self.jobs.insert(job.slot, state);
    }

    /// Number of the last notice in a job's row.
    pub fn last_seq(&self, slot: u32) -> u64 {
        self.jobs.get(&slot).map_or(0, |state| state.next_seq() - 1)
    }

    /// Goes on with the numbers of an agent before.
    pub fn go_on_after(&mut self, slot: u32, seq: u64) {
        if let Some(state) = self.jobs.get_mut(&slot) {
            state.go_on_after(seq);
        }
    }

    /// Every finding of a job that was told, with how often it occurred.
    pub fn found(&self, slot: u32) -> Vec<(&'static str, String, u64)> {
        self.jobs.get(&slot).map(|state| state.found().collect()).unwrap_or_default()
    }

    /// Goes on with what an agent before found in a job.
    pub fn go_on_with(
        &mut self,
        slot: u32,
        found: impl Iterator<Item = (&'static str, String, u64)>,
        unreadable_dns: u64,
    ) {
        if let Some(state) = self.jobs.get_mut(&slot) {
            state.go_on_with(found, unreadable_dns);
        }
    }

    /// How often each finding of a job occurred, told or not.
    pub fn occurrences(&self, slot: u32) -> BTreeMap<&'static str, u64> {
        self.jobs.get(&slot).map(|state| state.occurrences().into_iter().collect()).unwrap_or_default()
    }

    /// How often a finding occurred that was told once.
    pub fn occurrences_of(&self, slot: u32, found: &Finding) -> u64 {
        self.jobs.get(&slot).map_or(0, |state| state.occurrences_of(found.id, &found.subject))
    }

    /// Forgets a job. What comes of it after that is nobody's.
    pub fn end_job(&mut self, slot: u32) {
        self.jobs.remove(&slot);
    }

    /// Nothing is heard of a process any more, its end included.
    pub fn released(&mut self, key: ProcessKey, at_ns: u64) {
        self.table.exit(key, at_ns);
    }

    /// What is known of processes.
    pub fn processes(&self) -> &ProcessTable {
        &self.table
    }

    /// DNS messages of a job that could not be read.
    pub fn unreadable_dns(&self, slot: u32) -> u64 {
        self.jobs.get(&slot).map_or(0, |state| state.unreadable_dns)
    }

    /// Takes in what `/proc` says about a process that is older than the agent, or was adopted.
    pub fn snapshot(&mut self, slot: u32, key: ProcessKey, parent: Option<ProcessKey>, mut program: Program) {
        let argv: Arc<[String]> = self.redactor(slot).arguments(program.argv.to_vec()).into();
        program.argv = arguments::first_arguments(&argv);
        program.argv_whole &= program.argv.len() == argv.len();
        self.table.snapshot(key, parent, program);
    }

    /// Numbers a notice that doesn't come from a record, in the row of a job; `job` says whether it is about that.
    pub fn announce(&mut self, at_ns: u64, slot: u32, job: Option<Arc<str>>, content: Content, out: &mut Vec<Notice>) {
        let Some(state) = self.jobs.get_mut(&slot) else { return };
        out.push(Notice { seq: state.take_seq(), at_ns, slot, job, content });
    }

    /// Tells that something about the agent itself has changed, and what is found in that.
    pub fn changed(&mut self, at_ns: u64, job: &Job, state: &'static str, detail: String, out: &mut Vec<Notice>) {
        let Some(remembered) = self.jobs.get_mut(&job.slot) else { return };
        let (slot, id) = (job.slot, Some(job.id.clone()));
        let seq = remembered.take_seq();
        let found = detect::of_change(state, &detail, seq).and_then(|found| detect::graded(found, &job.policy));
        let content = Content::Agent(AgentState::Changed { state, detail });
        out.push(Notice { seq, at_ns, slot, job: id.clone(), content });
        let Some(finding) = found else { return };
        if remembered.is_news(finding.id, &finding.subject) {
            out.push(Notice { seq: remembered.take_seq(), at_ns, slot, job: id, content: Content::Finding(finding) });
        }
    }

    /// Takes in one record.
    pub fn handle(&mut self, record: &Record, out: &mut Vec<Notice>) {
        let header = record.header();
        let key = header.process;
        match record {
            Record::Exec { .. } | Record::ExecArgs { .. } => {}
            Record::Fork(fork) => self.stop_waiting(fork.parent, out),
            _ => self.stop_waiting(key, out),
        }
        match record {
            Record::Fork(fork) => self.fork(fork),
            Record::Exec { fixed, exe, cwd, argv } => self.exec(fixed, exe, cwd, argv, out),
            Record::ExecArgs { fixed, argv } => self.more_arguments(fixed, argv, out),
            Record::Exit(exit) => {
                let process = self.table.exit(key, header.at_ns);
                if let Some(state) = self.jobs.get_mut(&header.job) {
                    state.taints.exit(key);
                }
                self.happened(header, Some(process), Activity::Exit { status: exit.status }, out);
            }
            Record::File { fixed, path } => self.file(fixed, path, out),
            Record::Connect(connect) => self.connect(connect, out),
            Record::Socket(socket) => {
                let activity = Activity::Socket {
                    family: socket.family,
                    socket_type: socket.socket_type,
                    protocol: socket.protocol,
                    verdict: verdict_of(socket.verdict).unwrap_or(Verdict::Audited),
                    killed: header.flags & flag::KILLED != 0,
                };
                self.happened_to(header, activity, out);
            }
            Record::Device(device) => {
                let killed = header.flags & flag::KILLED != 0;
                let activity = Activity::Device { major: device.major, minor: device.minor, killed };
                self.happened_to(header, activity, out);
            }
            Record::IoUring(_) => self.happened_to(header, Activity::IoUring, out),
            Record::CgroupMove(moved) => {
                let (inside, killed) = (moved.inside != 0, header.flags & flag::KILLED != 0);
                if !inside && self.is_confined(header.job) {
                    self.measures.push(Measure::End(key));
                }
                let shares = header.flags & flag::SHARES_DESCRIPTORS != 0;
                let activity = Activity::CgroupMove { by: moved.by, to: moved.to, inside, killed, shares };
                self.happened_to(header, activity, out);
            }
            Record::Guard { fixed, path } => self.attempted(fixed, path, out),
            Record::Dns { fixed, message } => self.dns(fixed, message, out),
        }
        self.mark_holders(header.job);
    }

    /// What has to be done because of what was handled, each once.
    pub fn take_measures(&mut self) -> Vec<Measure> {
        std::mem::take(&mut self.measures)
    }

    /// Whether whoever leaves the job's cgroup is out of reach of its rules.
    fn is_confined(&self, slot: u32) -> bool {
        self.jobs.get(&slot).is_some_and(|state| state.job.policy.mode == Mode::Block && state.job.scope == Scope::Job)
    }

    fn mark_holders(&mut self, slot: u32) {
        let Some(state) = self.jobs.get_mut(&slot) else { return };
        let news = state.taints.take_news();
        let policy = &state.job.policy;
        if policy.mode == Mode::Block && policy.carry.after_secret_read == Mode::Block {
            self.measures.extend(news.into_iter().map(Measure::MarkHolder));
        }
    }

    /// Lets go of execs that have waited too long for the rest of their arguments.
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<Notice>) {
        for exec in self.waiting.take_late(now_ns) {
            self.executed(&exec, out);
        }
    }

    fn fork(&mut self, fork: &record::Fork) {
        let (child, parent) = (fork.header.process, fork.parent);
        self.table.fork(child, parent, fork.cgroup);
        if let Some(state) = self.jobs.get_mut(&fork.header.job) {
            state.taints.fork(child, parent);
        }
    }

    fn exec(&mut self, fixed: &record::Exec, exe: &[u8], cwd: &[u8], argv: &[u8], out: &mut Vec<Notice>) {
        self.stop_waiting(fixed.header.process, out);
        let exec = StartedProgram {
            fixed: *fixed,
            exe: text::from_bytes(exe).into(),
            cwd: text::from_bytes(cwd).into(),
            argv: argv.to_vec(),
        };
        if let Some(exec) = self.waiting.begin(exec) {
            self.executed(&exec, out);
        }
    }

    fn more_arguments(&mut self, fixed: &record::ExecArgs, argv: &[u8], out: &mut Vec<Notice>) {
        if let Some(exec) = self.waiting.continue_with(fixed, argv) {
            self.executed(&exec, out);
        }
    }

    fn stop_waiting(&mut self, key: ProcessKey, out: &mut Vec<Notice>) {
        if let Some(exec) = self.waiting.take(key) {
            self.executed(&exec, out);
        }
    }

    fn executed(&mut self, exec: &StartedProgram, out: &mut Vec<Notice>) {
        let fixed = &exec.fixed;
        let argv = exec.arguments(&self.redactor(fixed.header.job));
        let program = exec.program(&argv);
        let next_seq = self.jobs.get(&fixed.header.job).map_or(0, JobState::next_seq);
        let process = self.table.exec(fixed.header.process, fixed.parent, program, next_seq);
        if let Some(state) = self.jobs.get_mut(&fixed.header.job) {
            state.taints.exec(&process, &self.table);
        }
        self.permit(fixed, &process);
        let outside_cgroup = fixed.header.flags & flag::OUTSIDE_CGROUP != 0;
        self.happened(
            &fixed.header,
            Some(process),
            Activity::Exec { argv, argv_whole: exec.is_whole(), outside_cgroup },
            out,
        );
        if fixed.header.flags & flag::EXEMPT != 0 {
            self.released(fixed.header.process, fixed.header.at_ns);
        }
    }

    /// What takes out the secrets of a job; of what is no job's, those that look like one.
    fn redactor(&self, slot: u32) -> Cow<'_, Redactor> {
        self.jobs.get(&slot).map_or_else(|| Cow::Owned(Redactor::default()), |state| Cow::Borrowed(&state.job.redactor))
    }

    fn happened_to(&mut self, header: &record::Header, activity: Activity, out: &mut Vec<Notice>) {
        let process = self.table.get_or_unknown(header.process);
        self.happened(header, Some(process), activity, out);
    }

    /// Tells of an event, and of what the detectors make of it.
    fn happened(
        &mut self,
        header: &record::Header,
        process: Option<Arc<Process>>,
        activity: Activity,
        out: &mut Vec<Notice>,
    ) {
        let Some(state) = self.jobs.get_mut(&header.job) else { return };
        let (slot, at_ns, job) = (header.job, header.at_ns, Some(state.job.id.clone()));
        let is_runners = header.flags & flag::RUNNERS != 0;
        let event = Event { seq: state.take_seq(), at_ns, process, is_runners, activity };
        let found: Vec<_> = detect::run(&event, state).collect();
        out.push(Notice { seq: event.seq, at_ns, slot, job: job.clone(), content: Content::Event(event) });
        for finding in found {
            if state.is_news(finding.id, &finding.subject) {
                let seq = state.take_seq();
                out.push(Notice { seq, at_ns, slot, job: job.clone(), content: Content::Finding(finding) });
            }
        }
    }
}
