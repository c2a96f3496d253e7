//! Execs whose argument vector is too long for one record, until its continuations have come.

use std::collections::HashMap;
use std::sync::Arc;

use runner_agent_common::record::{self, ProcessKey, flag};

use crate::event::Program;
use crate::event::REMEMBERED_ARGUMENT_BYTES;
use crate::redact::Redactor;
use crate::text;

/// How long an exec may wait for the rest of its arguments, nanoseconds of record time.
const WAIT_NS: u64 = 1_000_000_000;

/// An exec with the arguments that have come so far.
#[derive(Debug)]
pub(super) struct StartedProgram {
    /// The record's fixed part.
    pub(super) fixed: record::Exec,
    /// Path of the executable.
    pub(super) exe: Arc<str>,
    /// Working directory.
    pub(super) cwd: Arc<str>,
    /// The argument vector's bytes.
    pub(super) argv: Vec<u8>,
}

/// Execs that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    execs: HashMap<ProcessKey, StartedProgram>,
}

impl Waiting {
    /// Takes in an exec, and gives it back if nothing of it is to come.
    pub(super) fn begin(&mut self, exec: StartedProgram) -> Option<StartedProgram> {
        if exec.is_whole() || exec.fixed.header.flags & flag::ARGV_TRUNCATED != 0 {
            return Some(exec);
        }
        self.execs.insert(exec.fixed.header.process, exec);
        None
    }

    /// Takes in a continuation, and gives back the exec if that was the last one.
    pub(super) fn continue_with(&mut self, fixed: &record::ExecArgs, argv: &[u8]) -> Option<StartedProgram> {
        let key = fixed.header.process;
        let exec = self.execs.get_mut(&key)?;
        if exec.fixed.header.at_ns != fixed.header.at_ns || exec.argv.len() != fixed.offset as usize {
            // A continuation in between was lost: what is there so far is all there will be.
            return self.execs.remove(&key);
        }
        exec.argv.extend_from_slice(argv);
        let is_last = exec.is_whole() || fixed.header.flags & flag::ARGV_TRUNCATED != 0;
        if is_last { self.execs.remove(&key) } else { None }
    }

    /// Gives back the exec of a process that has gone on to something else.
    pub(super) fn take(&mut self, key: ProcessKey) -> Option<StartedProgram> {
        self.execs.remove(&key)
    }

    /// Gives back the execs that have waited too long.
    pub(super) fn take_late(&mut self, now_ns: u64) -> Vec<StartedProgram> {
        let is_late =
            |_: &ProcessKey, exec: &mut StartedProgram| exec.fixed.header.at_ns.saturating_add(WAIT_NS) <= now_ns;
        let mut late: Vec<StartedProgram> = self.execs.extract_if(is_late).map(|(_, exec)| exec).collect();
        late.sort_by_key(|exec| exec.fixed.header.at_ns);
        late
    }
}

impl StartedProgram {
    pub(super) fn is_whole(&self) -> bool {
        self.argv.len() >= self.fixed.argv_total as usize
    }

    /// All arguments, secrets removed.
    pub(super) fn arguments(&self, redactor: &Redactor) -> Arc<[String]> {
        redactor.arguments(text::arguments(&self.argv)).into()
    }

    /// What the process table is told of the program; `argv` is what [`Self::arguments`] gave.
    pub(super) fn program(&self, argv: &Arc<[String]>) -> Program {
        let fixed = &self.fixed;
        let argv_remembered = first_arguments(argv);
        Program {
            argv_whole: self.is_whole() && argv_remembered.len() == argv.len(),
            argv: argv_remembered,
            exe: self.exe.clone(),
            cwd: self.cwd.clone(),
            uid: fixed.uid,
            cgroup: fixed.cgroup,
            mount_namespace: fixed.mount_namespace,
            stdin_pipe: fixed.stdin_pipe,
            stdout_pipe: fixed.stdout_pipe,
            exe_unlinked: fixed.header.flags & flag::UNLINKED != 0,
        }
    }
}

/// As many of the first arguments as are remembered with a process.
pub(super) fn first_arguments(argv: &Arc<[String]>) -> Arc<[String]> {
    let mut left = REMEMBERED_ARGUMENT_BYTES;
    let fitting = argv
        .iter()
        .take_while(|argument| {
            let fits = argument.len() < left;
            left = left.saturating_sub(argument.len() + 1);
            fits
        })
        .count();
    if fitting == argv.len() { argv.clone() } else { argv[..fitting].into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runner_agent_common::record::{Exec, ExecArgs, Header};

    use super::*;

    fn header() -> Header {
        let process = ProcessKey { start_ns: 1, tgid: 2, reserved: 0 };
        Header { at_ns: 10, process, ..Header::default() }
    }

    fn exec(argv: &[u8], total: usize) -> StartedProgram {
        let fixed = Exec { header: header(), argv_total: total as u32, ..Exec::default() };
        StartedProgram { fixed, exe: "/bin/x".into(), cwd: "/".into(), argv: argv.to_vec() }
    }

    fn continuation(offset: usize) -> ExecArgs {
        ExecArgs { header: header(), offset: offset as u32, len: 0 }
    }

    proptest! {
        #[test]
        fn however_a_vector_is_cut_it_comes_out_whole(
            argv in proptest::collection::vec(any::<u8>(), 1..500),
            cuts in proptest::collection::vec(1_usize..100, 0..20),
        ) {
            let mut waiting = Waiting::default();
            let mut sent = cuts.first().copied().unwrap_or(argv.len()).min(argv.len());
            let mut done = waiting.begin(exec(&argv[..sent], argv.len()));
            for cut in cuts.iter().skip(1).chain(std::iter::repeat(&37)) {
                if sent == argv.len() {
                    break;
                }
                prop_assert!(done.is_none());
                let end = (sent + cut).min(argv.len());
                done = waiting.continue_with(&continuation(sent), &argv[sent..end]);
                sent = end;
            }
            prop_assert_eq!(done.unwrap().argv, argv);
        }
    }

    #[test]
    fn a_lost_continuation_gives_what_there_is_and_says_so() {
        let mut waiting = Waiting::default();
        assert!(waiting.begin(exec(b"a\0b", 30)).is_none());
        let cut = waiting.continue_with(&continuation(20), b"tail").unwrap();
        assert!(!cut.program(&cut.arguments(&Redactor::default())).argv_whole);
    }

    #[test]
    fn a_process_remembers_few_of_many_arguments_and_says_so() {
        let argv = [b"x\0".repeat(20), b"y".repeat(5000)].concat();
        let program = exec(&argv, argv.len());
        let all = program.arguments(&Redactor::default());
        let remembered = program.program(&all);
        assert_eq!((all.len(), remembered.argv.len(), remembered.argv_whole), (21, 20, false));
        let few = exec(b"a\0b\0", 4);
        assert!(few.program(&few.arguments(&Redactor::default())).argv_whole);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut waiting = Waiting::default();
        assert!(waiting.begin(exec(b"a", 30)).is_none());
        assert!(waiting.take_late(10 + WAIT_NS - 1).is_empty());
        assert_eq!(waiting.take_late(10 + WAIT_NS).len(), 1);
    }
}
