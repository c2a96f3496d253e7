//! The process table: who a record is about, whatever order records come in.
//!
//! Keyed by (tgid, start time). A live entry is never overwritten by older knowledge: a fork that arrives after its
//! child's exec only fills in the parent, and `/proc` only fills in what nobody knows yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use runner_agent_common::record::ProcessKey;

use crate::event::{MAX_DEPTH, Process, Program};

/// How long an ended process is remembered for records that come late, nanoseconds of record time.
const REMEMBER_NS: u64 = 5_000_000_000;

/// How many ended processes are remembered at most.
const REMEMBER_COUNT: usize = 8192;

/// The processes of all jobs, and the ancestors that lead to them.
#[derive(Debug, Default)]
pub struct ProcessTable {
    entries: HashMap<ProcessKey, Entry>,
    ended: VecDeque<(u64, ProcessKey)>,
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    ended: bool,
}

impl ProcessTable {
    /// The process of that key.
    pub fn get(&self, key: ProcessKey) -> Option<&Arc<Process>> {
        self.entries.get(&key).map(|entry| &entry.process)
    }

    /// The process of that key; one that nobody told of becomes known with nothing but its key.
    pub fn get_or_unknown(&mut self, key: ProcessKey) -> Arc<Process> {
        self.entries
            .entry(key)
            .or_insert_with(|| Entry::new(build(key, Descent::default(), Program::default(), None)))
            .process
            .clone()
    }

    /// A child came to be: it runs its parent's program until it says otherwise.
    pub fn fork(&mut self, child: ProcessKey, parent: ProcessKey, cgroup: u64) {
        let parent_process = self.get_or_unknown(parent);
        let descent = Descent::below(&parent_process);
        let process = match self.get(child) {
            // Descriptors are inherited too; a redirection before an exec shows in the exec.
            None => {
                let program = Program { cgroup, ..parent_process.program.clone() };
                build(child, descent, program, parent_process.exec_seq)
            }
            Some(known) if known.parent.is_none() => build(child, descent, known.program.clone(), known.exec_seq),
            Some(_) => return,
        };
        self.put(process);
    }

    /// A process runs a new program, announced by notice `seq`.
    pub fn exec(&mut self, key: ProcessKey, parent: ProcessKey, program: Program, seq: u64) -> Arc<Process> {
        let descent = match self.get(key) {
            Some(process) => Descent::of(process),
            // The fork is still on its way, or was lost; the exec names the parent too.
            None => {
                self.get(parent).map_or_else(|| Descent { key: Some(parent), ..Descent::default() }, Descent::below)
            }
        };
        self.put(build(key, descent, program, Some(seq)));
        self.get_or_unknown(key)
    }

    /// What `/proc` says about a process that is older than the agent; ignored where records know better.
    pub fn snapshot(&mut self, key: ProcessKey, parent: Option<ProcessKey>, program: Program) {
        if self.get(key).is_some_and(|process| !process.program.exe.is_empty()) {
            return;
        }
        let descent = match parent {
            Some(parent) => Descent::below(&self.get_or_unknown(parent)),
            None => Descent::default(),
        };
        self.put(build(key, descent, program, None));
    }

    /// A process ended at `at_ns`. It stays known for a while.
    pub fn exit(&mut self, key: ProcessKey, at_ns: u64) -> Arc<Process> {
        let process = self.get_or_unknown(key);
        if let Some(entry) = self.entries.get_mut(&key)
            && !entry.ended
        {
            entry.ended = true;
            self.ended.push_back((at_ns, key));
        }
        self.forget(at_ns);
        process
    }

    /// The process that had a pid last.
    pub fn latest(&self, pid: u32) -> Option<&Arc<Process>> {
        let of_pid = self.entries.values().map(|entry| &entry.process).filter(|process| process.key.tgid == pid);
        of_pid.max_by_key(|process| process.key.start_ns)
    }

    /// Processes that have not ended, ancestors from outside the job included.
    pub fn alive(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.entries.values().filter(|entry| !entry.ended).map(|entry| &entry.process)
    }

    /// How many processes are known, ended ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no process is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(&mut self, process: Process) {
        let process = Arc::new(process);
        match self.entries.get_mut(&process.key) {
            Some(entry) => entry.process = process,
            None => {
                self.entries.insert(process.key, Entry { process, ended: false });
            }
        }
    }

    /// Drops ended processes that are too old or too many.
    fn forget(&mut self, now_ns: u64) {
        while let Some(&(at_ns, key)) = self.ended.front() {
            if self.ended.len() <= REMEMBER_COUNT && at_ns + REMEMBER_NS > now_ns {
                return;
            }
            self.ended.pop_front();
            self.entries.remove(&key);
        }
    }
}

impl Entry {
    fn new(process: Process) -> Self {
        Self { process: Arc::new(process), ended: false }
    }
}

/// Where a process hangs: its ancestors, and how many they are.
#[derive(Clone, Default)]
struct Descent {
    key: Option<ProcessKey>,
    parent: Option<Arc<Process>>,
    depth: u32,
}

impl Descent {
    /// Below this parent; a chain that has reached its bound is cut there and starts anew.
    fn below(parent: &Arc<Process>) -> Self {
        let key = Some(parent.key);
        if parent.depth >= MAX_DEPTH {
            return Self { key, parent: None, depth: 0 };
        }
        Self { key, parent: Some(parent.clone()), depth: parent.depth + 1 }
    }

    fn of(process: &Process) -> Self {
        Self { key: process.parent_key, parent: process.parent.clone(), depth: process.depth }
    }
}

fn build(key: ProcessKey, descent: Descent, program: Program, exec_seq: Option<u64>) -> Process {
    let Descent { key: parent_key, parent, depth } = descent;
    Process { key, parent_key, parent, depth, program, exec_seq }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(tgid: u32, start_ns: u64) -> ProcessKey {
        ProcessKey { start_ns, tgid, reserved: 0 }
    }

    fn program(exe: &str) -> Program {
        Program { exe: exe.into(), ..Program::default() }
    }

    #[test]
    fn a_child_runs_its_parents_program_until_it_execs() {
        let mut table = ProcessTable::default();
        table.exec(key(1, 1), key(0, 0), program("/bin/sh"), 10);
        table.fork(key(2, 2), key(1, 1), 0);
        assert_eq!(table.get(key(2, 2)).unwrap().name(), "sh");
        table.exec(key(2, 2), key(1, 1), program("/bin/cat"), 11);
        let cat = table.get(key(2, 2)).unwrap();
        let names: Vec<&str> = cat.lineage().map(Process::name).collect();
        assert_eq!(names[..2], ["cat", "sh"]);
        assert_eq!(cat.exec_seq, Some(11));
    }

    #[test]
    fn a_pid_that_comes_back_is_another_process() {
        let mut table = ProcessTable::default();
        table.exec(key(7, 1), key(1, 1), program("/bin/first"), 1);
        table.exit(key(7, 1), 100);
        table.exec(key(7, 200), key(1, 1), program("/bin/second"), 2);
        assert_eq!(table.get(key(7, 1)).unwrap().name(), "first");
        assert_eq!(table.get(key(7, 200)).unwrap().name(), "second");
    }

    #[test]
    fn a_fork_that_comes_after_its_childs_exec_only_fills_in_the_parent() {
        let mut table = ProcessTable::default();
        table.exec(key(2, 2), key(1, 1), program("/bin/cat"), 5);
        table.exec(key(1, 1), key(0, 0), program("/bin/sh"), 6);
        table.fork(key(2, 2), key(1, 1), 9);
        let cat = table.get(key(2, 2)).unwrap();
        assert_eq!((cat.name(), cat.parent.as_ref().unwrap().name()), ("cat", "sh"));
    }

    #[test]
    fn proc_never_overwrites_what_records_say() {
        let mut table = ProcessTable::default();
        table.exec(key(2, 2), key(1, 1), program("/bin/new"), 5);
        table.snapshot(key(2, 2), None, program("/bin/old"));
        assert_eq!(table.get(key(2, 2)).unwrap().name(), "new");
    }

    #[test]
    fn a_fork_chain_without_end_keeps_a_bounded_lineage_and_drops_without_recursion() {
        let mut table = ProcessTable::default();
        for i in 1..50_000_u32 {
            table.fork(key(i + 1, u64::from(i) + 1), key(i, u64::from(i)), 0);
            table.exit(key(i, u64::from(i)), u64::from(i));
        }
        assert!(table.get(key(50_000, 50_000)).unwrap().lineage().count() as u32 <= MAX_DEPTH + 1);
        assert!(table.len() <= REMEMBER_COUNT + 2, "{}", table.len());
    }

    proptest! {
        /// Whatever the order in which fork, exec and exit of one process arrive, its program and parent end up right.
        #[test]
        fn order_does_not_matter(order in Just([0, 1, 2]).prop_shuffle()) {
            let mut table = ProcessTable::default();
            table.exec(key(1, 1), key(0, 0), program("/bin/sh"), 1);
            for step in order {
                match step {
                    0 => table.fork(key(2, 2), key(1, 1), 0),
                    1 => drop(table.exec(key(2, 2), key(1, 1), program("/bin/cat"), 2)),
                    _ => drop(table.exit(key(2, 2), 50)),
                }
            }
            let cat = table.get(key(2, 2)).unwrap();
            prop_assert_eq!(cat.name(), "cat");
            prop_assert_eq!(cat.parent.as_ref().unwrap().name(), "sh");
        }
    }
}
