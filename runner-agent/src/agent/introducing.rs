//! Processes that a job did not give birth to, and those that may be in another network than they were.

use runner_agent_common::guard::operation;
use runner_agent_common::record::flag;

use crate::decode::Record;
use crate::kernel::procfs::Snapshot;
use crate::pipeline::Pipeline;

/// A process that the job did not give birth to is introduced by `/proc`, and so are its ancestors.
pub(super) fn introduce(record: &Record, pipeline: &mut Pipeline) {
    let Record::Fork(fork) = record else { return };
    if fork.header.flags & flag::ADOPTED == 0 {
        return;
    }
    for key in [fork.header.process, fork.parent] {
        let Some(snapshot) = Snapshot::read(key.tgid).filter(|snapshot| snapshot.is(key)) else { continue };
        let mut lineage = vec![(key, snapshot)];
        // What is above the agent is the runner's own, and no part of the job's story.
        let agent = std::process::id();
        while let Some(parent) =
            lineage.last().filter(|(key, _)| key.tgid != agent).and_then(|(_, child)| Snapshot::read(child.parent))
        {
            // The exact key of the parent is known from the record; of those above only what /proc tells.
            let key = if parent.is(fork.parent) { fork.parent } else { parent.rough_key() };
            lineage.push((key, parent));
        }
        let mut above = None;
        for (key, snapshot) in lineage.into_iter().rev() {
            pipeline.snapshot(fork.header.job, key, above, snapshot.program);
            above = Some(key);
        }
    }
}

/// Whether a process may be in another network namespace than when it was last heard of: it entered one, or it was made in one
/// and starts a program there.
pub(super) fn may_have_moved(record: &Record) -> bool {
    match record {
        Record::Exec { .. } => true,
        Record::Guard { fixed, .. } => fixed.operation == operation::NAMESPACE,
        _ => false,
    }
}
