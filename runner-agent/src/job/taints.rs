//! Which processes of a job hold secrets.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::event::{Process, ProcessKey};
use crate::process::ProcessTable;

/// A secret that a process may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Numbers of the notices of the reads and of the programs that read, oldest first; at most [`MAX_READS`].
    pub reads: Vec<u64>,
    /// Titles of what was read, for people.
    pub titles: Vec<Arc<str>>,
    /// Whether every read was by an owner of the file.
    pub by_owners: bool,
}

/// Reads that one taint remembers.
const MAX_READS: usize = 16;

/// How a process came to hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It, or an ancestor of it, read the file, or it reads a pipe that a reader writes.
    Direct,
    /// A reader of the file wrote to a pipe that nobody but a process above took: `$(…)` in a shell.
    Captured,
}

/// Follows secrets from the process that read a file: to its children, down its pipeline, and up into `$(…)`.
///
/// Not followed: secrets that travel through files, through descriptors other than standard input and output, or
/// through memory. A read and a forbidden connect are findings of their own all the same.
#[derive(Debug, Default)]
pub struct Taints {
    by_process: HashMap<ProcessKey, Arc<Taint>>,
    by_pipe: HashMap<u64, Arc<Taint>>,
    /// Pipes that some program has as standard input.
    read_pipes: HashSet<u64>,
    /// Processes that may have captured what was written to a pipe.
    captures: Vec<(ProcessKey, u64, Arc<Taint>)>,
    ended: VecDeque<ProcessKey>,
    /// Processes that began to hold a secret and were not asked for yet.
    news: Vec<ProcessKey>,
}

/// Ended processes whose taint is remembered for records that come late.
const REMEMBER_ENDED: usize = 4096;

impl Taints {
    /// A process read a secret file.
    pub fn read(&mut self, process: &Process, taint: Taint, table: &ProcessTable) {
        let taint = Arc::new(self.by_process.get(&process.key).map_or(taint.clone(), |known| known.and(&taint)));
        self.set(process, &taint, table);
    }

    /// A child holds what its parent holds.
    pub fn fork(&mut self, child: ProcessKey, parent: ProcessKey) {
        if let Some(taint) = self.by_process.get(&parent) {
            self.by_process.insert(child, taint.clone());
        }
    }

    /// A program whose standard input is a pipe that carries a secret holds it.
    pub fn exec(&mut self, process: &Process, table: &ProcessTable) {
        if process.program.stdin_pipe == 0 {
            return;
        }
        // A pipe that the whole job inherited as its input says nothing about who reads whom.
        self.read_pipes.insert(process.program.stdin_pipe);
        if let Some(taint) = self.by_pipe.get(&process.program.stdin_pipe).cloned() {
            self.set(process, &taint, table);
        }
    }

    /// A process ended.
    pub fn exit(&mut self, key: ProcessKey) {
        if self.by_process.contains_key(&key) {
            self.ended.push_back(key);
            if self.ended.len() > REMEMBER_ENDED
                && let Some(oldest) = self.ended.pop_front()
            {
                self.by_process.remove(&oldest);
            }
        }
    }

    /// Processes that began to hold a secret since this was asked last. Children of holders are not named: the kernel side
    /// knows them by birth.
    pub fn take_news(&mut self) -> Vec<ProcessKey> {
        std::mem::take(&mut self.news)
    }

    /// What a process may hold, and how it came by it.
    pub fn of(&self, process: &Process) -> Option<(&Taint, Relation)> {
        if let Some(taint) = self.by_process.get(&process.key) {
            return Some((taint, Relation::Direct));
        }
        self.captures
            .iter()
            .rev()
            .filter(|(_, pipe, _)| !self.read_pipes.contains(pipe))
            .find(|(by, _, _)| process.lineage().any(|ancestor| ancestor.key == *by))
            .map(|(_, _, taint)| (&**taint, Relation::Captured))
    }

    /// Marks a process, and everything down its pipeline.
    fn set(&mut self, process: &Process, taint: &Arc<Taint>, table: &ProcessTable) {
        let mut reached = vec![(process.key, process.program.stdout_pipe, process.parent.clone())];
        let mut next = 0;
        while let Some((key, pipe, parent)) = reached.get(next).cloned() {
            next += 1;
            self.by_process.insert(key, taint.clone());
            self.news.push(key);
            if pipe == 0 || self.by_pipe.insert(pipe, taint.clone()).as_ref() == Some(taint) {
                continue;
            }
            for reader in table.alive().filter(|reader| reader.program.stdin_pipe == pipe && reader.key != key) {
                reached.push((reader.key, reader.program.stdout_pipe, reader.parent.clone()));
            }
            if let Some(parent) = parent
                && parent.program.stdout_pipe != pipe
            {
                self.news.push(parent.key);
                self.captures.push((parent.key, pipe, taint.clone()));
            }
        }
    }
}

impl Taint {
    /// Both taints as one.
    fn and(&self, other: &Self) -> Self {
        let mut reads = [self.reads.as_slice(), &other.reads].concat();
        reads.truncate(MAX_READS);
        let mut titles = self.titles.clone();
        titles.extend(other.titles.iter().filter(|title| !self.titles.contains(title)).cloned());
        titles.truncate(MAX_READS);
        Self { reads, titles, by_owners: self.by_owners && other.by_owners }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Program;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey { start_ns: 1, tgid, reserved: 0 }
    }

    fn taint() -> Taint {
        Taint { reads: vec![9], titles: vec!["AWS".into()], by_owners: false }
    }

    /// A shell (1) with children, each `(tgid, stdin pipe, stdout pipe)`.
    fn shell_with(children: &[(u32, u64, u64)], taints: &mut Taints) -> ProcessTable {
        let mut table = ProcessTable::default();
        table.exec(key(1), key(0), Program::default(), 1);
        for &(tgid, stdin_pipe, stdout_pipe) in children {
            table.fork(key(tgid), key(1), 0);
            taints.fork(key(tgid), key(1));
            let process = table.exec(key(tgid), key(1), Program { stdin_pipe, stdout_pipe, ..Program::default() }, 2);
            taints.exec(&process, &table);
        }
        table
    }

    fn relation(taints: &Taints, table: &ProcessTable, tgid: u32) -> Option<Relation> {
        taints.of(table.get(key(tgid)).unwrap()).map(|(_, relation)| relation)
    }

    #[test]
    fn a_secret_follows_the_pipeline_however_long_and_in_whatever_order_it_starts() {
        let mut taints = Taints::default();
        // cat | base64 | curl, and make beside them.
        let table = shell_with(&[(2, 0, 100), (3, 100, 200), (4, 200, 0), (5, 0, 0)], &mut taints);
        taints.read(table.get(key(2)).unwrap(), taint(), &table);
        assert_eq!(relation(&taints, &table, 3), Some(Relation::Direct));
        assert_eq!(relation(&taints, &table, 4), Some(Relation::Direct));
        assert_eq!(relation(&taints, &table, 5), None);
        assert_eq!(relation(&taints, &table, 1), None, "the shell took no part in the pipeline");
    }

    #[test]
    fn a_reader_that_starts_after_the_read_is_reached_too() {
        let mut taints = Taints::default();
        let mut table = shell_with(&[(2, 0, 100)], &mut taints);
        taints.read(table.get(key(2)).unwrap(), taint(), &table);
        let program = Program { stdin_pipe: 100, ..Program::default() };
        let late = table.exec(key(3), key(1), program, 3);
        taints.exec(&late, &table);
        assert_eq!(relation(&taints, &table, 3), Some(Relation::Direct));
    }

    #[test]
    fn a_command_substitution_hands_the_secret_to_the_shell_and_its_later_children() {
        let mut taints = Taints::default();
        let mut table = shell_with(&[(2, 0, 100)], &mut taints);
        taints.read(table.get(key(2)).unwrap(), taint(), &table);
        assert_eq!(relation(&taints, &table, 1), Some(Relation::Captured));
        table.fork(key(6), key(1), 0);
        taints.fork(key(6), key(1));
        assert_eq!(relation(&taints, &table, 6), Some(Relation::Captured));
    }

    #[test]
    fn output_that_goes_where_the_shells_own_goes_is_not_captured() {
        let mut taints = Taints::default();
        let mut table = ProcessTable::default();
        let log = Program { stdout_pipe: 50, ..Program::default() };
        table.exec(key(1), key(0), log.clone(), 1);
        table.fork(key(2), key(1), 0);
        table.exec(key(2), key(1), log, 2);
        taints.read(table.get(key(2)).unwrap(), taint(), &table);
        assert_eq!(relation(&taints, &table, 1), None);
    }

    #[test]
    fn children_inherit_and_siblings_do_not() {
        let mut taints = Taints::default();
        let mut table = shell_with(&[(2, 0, 0), (3, 0, 0)], &mut taints);
        taints.read(table.get(key(2)).unwrap(), taint(), &table);
        table.fork(key(4), key(2), 0);
        taints.fork(key(4), key(2));
        assert_eq!(relation(&taints, &table, 4), Some(Relation::Direct));
        assert_eq!(relation(&taints, &table, 3), None);
    }
}
