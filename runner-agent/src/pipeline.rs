//! The product without root: records in, notices out. No I/O, no clock, no kernel; time comes from the records.

mod arguments;
mod destinations;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use runner_agent_common::map::FileKey;
use runner_agent_common::record::{self, ProcessKey, flag};

use arguments::{StartedProgram, Waiting};
pub use destinations::Resolved;
use destinations::verdict_of;

use crate::decode::Record;
use crate::detect;
use crate::event::{Activity, Event, FileAccess, Process, Program};
use crate::job::{Job, JobState, Taint};
use crate::notice::{Content, Notice};
use crate::policy::{Mode, Reader, Verdict};
use crate::process::ProcessTable;
use crate::redact::Redactor;
use crate::text;

/// Records in, notices out.
#[derive(Debug)]
pub struct Pipeline {
    table: ProcessTable,
    jobs: HashMap<u32, JobState>,
    waiting: Waiting,
    sockets: HashMap<u64, ProcessKey>,
    socket_order: VecDeque<u64>,
    redactor: Redactor,
    next_seq: u64,
    unreadable_dns: u64,
    measures: Vec<Measure>,
}

/// What the kernel side must be told, or a process made to do, because of what happened in a blocked job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// This process holds a secret now.
    MarkHolder(ProcessKey),
    /// This process left its job's cgroup, where its rules don't reach it: it must end.
    End(ProcessKey),
}

impl Pipeline {
    /// A pipeline without jobs.
    pub fn new(redactor: Redactor) -> Self {
        Self {
            table: ProcessTable::default(),
            jobs: HashMap::new(),
            waiting: Waiting::default(),
            sockets: HashMap::new(),
            socket_order: VecDeque::new(),
            redactor,
            next_seq: 1,
            unreadable_dns: 0,
            measures: Vec::new(),
        }
    }

    /// From here on, records with the job's slot are the job's. `hosts` are names that need no resolver.
    pub fn start_job(&mut self, job: Arc<Job>, hosts: &[(IpAddr, String)]) {
        let mut state = JobState::new(job.clone());
        for (address, name) in hosts {
            state.names.add(*address, name);
        }
        self.jobs.insert(job.slot, state);
    }

    /// Goes on with the numbers of an agent before.
    pub fn go_on_after(&mut self, seq: u64) {
        self.next_seq = seq + 1;
    }

    /// Forgets a job and returns what was remembered of it.
    pub fn end_job(&mut self, slot: u32) -> Option<JobState> {
        self.jobs.remove(&slot)
    }

    /// What is known of processes.
    pub fn processes(&self) -> &ProcessTable {
        &self.table
    }

    /// DNS messages that could not be read.
    pub fn unreadable_dns(&self) -> u64 {
        self.unreadable_dns
    }

    /// Takes in what `/proc` says about a process that is older than the agent, or was adopted.
    pub fn snapshot(&mut self, key: ProcessKey, parent: Option<ProcessKey>, mut program: Program) {
        let argv: Arc<[String]> = self.redactor.arguments(program.argv.to_vec()).into();
        program.argv = arguments::first_arguments(&argv);
        program.argv_whole &= program.argv.len() == argv.len();
        self.table.snapshot(key, parent, program);
    }

    /// Numbers a notice that doesn't come from a record.
    pub fn announce(&mut self, at_ns: u64, job: Option<Arc<str>>, content: Content, out: &mut Vec<Notice>) {
        let seq = self.take_seq();
        out.push(Notice { seq, at_ns, job, content });
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
                let activity = Activity::Device { major: device.major, minor: device.minor };
                self.happened_to(header, activity, out);
            }
            Record::IoUring(_) => self.happened_to(header, Activity::IoUring, out),
            Record::CgroupMove(moved) => {
                let (inside, killed) = (moved.inside != 0, header.flags & flag::KILLED != 0);
                if !inside && self.is_blocked(header.job) {
                    self.measures.push(Measure::End(key));
                }
                let shares = header.flags & flag::SHARES_DESCRIPTORS != 0;
                let activity = Activity::CgroupMove { by: moved.by, to: moved.to, inside, killed, shares };
                self.happened_to(header, activity, out);
            }
            Record::Dns { fixed, message } => self.dns(fixed, message, out),
        }
        self.mark_holders(header.job);
    }

    /// What has to be done because of what was handled, each once.
    pub fn take_measures(&mut self) -> Vec<Measure> {
        std::mem::take(&mut self.measures)
    }

    fn is_blocked(&self, slot: u32) -> bool {
        self.jobs.get(&slot).is_some_and(|state| state.job.policy.mode == Mode::Block)
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
        let argv = exec.arguments(&self.redactor);
        let program = exec.program(&argv);
        let process = self.table.exec(fixed.header.process, fixed.parent, program, self.next_seq);
        if let Some(state) = self.jobs.get_mut(&fixed.header.job) {
            state.taints.exec(&process, &self.table);
        }
        let outside_cgroup = fixed.header.flags & flag::OUTSIDE_CGROUP != 0;
        self.happened(
            &fixed.header,
            Some(process),
            Activity::Exec { argv, argv_whole: exec.is_whole(), outside_cgroup },
            out,
        );
    }

    fn file(&mut self, fixed: &record::File, path: &[u8], out: &mut Vec<Notice>) {
        const FMODE_READ: u32 = 1;
        const FMODE_WRITE: u32 = 2;
        let process = self.table.get_or_unknown(fixed.header.process);
        let Some(state) = self.jobs.get_mut(&fixed.header.job) else { return };
        let (read, write) = (fixed.mode & FMODE_READ != 0, fixed.mode & FMODE_WRITE != 0);
        if !read && !write {
            return;
        }
        let path: Arc<str> = text::from_bytes(path).into();
        let secrets = &state.job.policy.secrets;
        let identity = FileKey { inode: fixed.inode, device: fixed.device, reserved: 0 };
        let (class, known_as) = match secrets.classify(&path) {
            Some(class) => (class, None),
            None => match state.job.secret_files.get(&identity) {
                Some(known) => match secrets.classify(known) {
                    Some(class) => (class, Some(known.clone())),
                    None => return,
                },
                // The kernel's filter lets a little too much through.
                None => return,
            },
        };
        let owner = class.may_read(&Reader {
            exe: &exe_for_rules(&process),
            argv: &process.program.argv,
            pid: process.key.tgid,
            path: known_as.as_deref().unwrap_or(&path),
        });
        let access = FileAccess {
            path,
            known_as,
            class: class.id.clone(),
            title: class.title.clone(),
            class_severity: class.severity,
            read,
            write,
            owner,
            compat: fixed.header.flags & flag::COMPAT != 0,
            path_truncated: fixed.header.flags & flag::PATH_TRUNCATED != 0,
            verdict: if owner || !read { Verdict::Allowed } else { Verdict::Audited },
        };
        if read {
            // The program that read, and the read.
            let reads = process.exec_seq.into_iter().chain([self.next_seq]).collect();
            let taint = Taint { reads, titles: vec![access.title.clone()], by_owners: owner };
            state.taints.read(&process, taint, &self.table);
        }
        self.happened(&fixed.header, Some(process), Activity::File(access), out);
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
        let job = Some(state.job.id.clone());
        let event = Event { seq: self.next_seq, at_ns: header.at_ns, process, activity };
        self.next_seq += 1;
        let found: Vec<_> = detect::run(&event, state).collect();
        out.push(Notice { seq: event.seq, at_ns: header.at_ns, job: job.clone(), content: Content::Event(event) });
        for finding in found {
            if state.is_news(finding.id, &finding.subject) {
                let seq = self.next_seq;
                self.next_seq += 1;
                out.push(Notice { seq, at_ns: header.at_ns, job: job.clone(), content: Content::Finding(finding) });
            }
        }
    }

    fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }
}

/// The executable as rules about programs see it: one that has no name any more is nobody's.
fn exe_for_rules(process: &Process) -> Arc<str> {
    if process.program.exe_unlinked {
        format!("{} (deleted)", process.program.exe).into()
    } else {
        process.program.exe.clone()
    }
}
