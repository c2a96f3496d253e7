//! Opened files: which secret each is, whose, and what its reader holds from then on.

use std::sync::Arc;

use runner_agent_common::guard::ProgramKey;
use runner_agent_common::map::FileKey;
use runner_agent_common::record::{self, flag};

use super::{Measure, Permit, Pipeline};
use crate::event::{Activity, FileAccess, Process};
use crate::job::Taint;
use crate::notice::Notice;
use crate::policy::{Reader, Verdict};
use crate::text;

impl Pipeline {
    pub(super) fn file(&mut self, fixed: &record::File, path: &[u8], out: &mut Vec<Notice>) {
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
        let is_decided = state.job.policy.refuses_reads();
        let refused = fixed.header.flags & flag::REFUSED != 0;
        let known_by_path = fixed.header.flags & flag::BY_INODE == 0;
        let identity = FileKey { inode: fixed.inode, device: fixed.device, reserved: 0 };
        let known =
            state.job.secret_files.get(&identity).and_then(|path| Some((secrets.classify(path)?, path.clone())));
        // What the kernel side refused it knew by identity, if by nothing else.
        let refused_as = || refused.then(|| secrets.classes.get((fixed.syscall as usize).checked_sub(1)?)).flatten();
        let (class, known_as) = match (secrets.classify(&path), known) {
            (Some(class), _) => (class, None),
            (None, Some((class, path))) => (class, Some(path)),
            (None, None) => match refused_as() {
                Some(class) => (class, None),
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
            inherited: fixed.header.flags & flag::INHERITED != 0,
            verdict: match (refused, owner || !read) {
                (true, _) => Verdict::Blocked,
                (false, true) => Verdict::Allowed,
                (false, false) => Verdict::Audited,
            },
        };
        if is_decided && known_by_path && !class.is_per_process() {
            // Whatever it is called later. What is about a process is called nothing else, and who owns it the kernel side can't
            // tell by its identity.
            self.measures
                .extend(secrets.number_of(&access.class).map(|class| Measure::Know(fixed.header.job, identity, class)));
        }
        if read && !refused {
            // The program that read, and the read.
            let reads = process.exec_seq.into_iter().chain([state.next_seq()]).collect();
            let taint = Taint { reads, titles: vec![access.title.clone()], by_owners: owner };
            state.taints.read(&process, taint, &self.table);
        }
        self.happened(&fixed.header, Some(process), Activity::File(access), out);
    }

    /// What a program may read, where the kernel side must know it: it knows programs by their files alone, and some owners of
    /// secrets are scripts. Whether the name is the program's own is for those who can look.
    pub(super) fn permit(&mut self, exec: &record::Exec, process: &Process) {
        let Some(state) = self.jobs.get(&exec.header.job) else { return };
        let policy = &state.job.policy;
        if !policy.refuses_reads() {
            return;
        }
        let exe = exe_for_rules(process);
        let classes = policy.secrets.readable_by(&exe, &process.program.argv);
        if classes != 0 {
            let by_name = classes & policy.secrets.readable_by(&exe, &[exe.to_string()]);
            self.measures.push(Measure::Permit(Permit {
                program: ProgramKey { at_ns: exec.header.at_ns, tgid: process.key.tgid, reserved: 0 },
                file: FileKey { inode: exec.exe_inode, device: exec.exe_device, reserved: 0 },
                mount_namespace: exec.mount_namespace,
                by_name,
                by_arguments: classes & !by_name,
                exe,
            }));
        }
    }
}

/// The executable as rules about programs see it: one that has no name any more is nobody's.
pub(super) fn exe_for_rules(process: &Process) -> Arc<str> {
    if process.program.exe_unlinked {
        format!("{} (deleted)", process.program.exe).into()
    } else {
        process.program.exe.clone()
    }
}
