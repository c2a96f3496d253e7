//! Everything that must be in place before a job's command starts, in the order in which it must be.

use std::sync::Arc;

use super::account::Bookkeeper;
use super::block::Prepared;
use super::flow::{Flow, now_ns};
use super::run::{Armed, RunError, RunOptions, SLOT, io_error, ready, started};
use super::self_check;
use super::succession::{Testament, settle_orphans};
use super::watched::{secret_files, watch_keys};
use crate::job::Job;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::load::object_hash;
use crate::kernel::procfs;
use crate::kernel::{Kernel, Room};
use crate::pipeline::Pipeline;
use crate::policy::Mode;

impl Armed {
    /// Arms. Whatever fails, nothing of the job has started, and nothing that was made stays.
    pub(super) fn arm(options: RunOptions) -> Result<Self, RunError> {
        settle_orphans(&options.runtime, options.pins.as_deref());
        let hierarchy = Hierarchy::find()?;
        let name = format!("runner-agent-job-{}", std::process::id());
        let prepared = match options.policy.mode {
            Mode::Audit => None,
            Mode::Block => {
                let pins = options.pins.as_deref();
                Some(Prepared::new(&options.policy, SLOT, &name, &options.runtime, pins)?)
            }
        };
        let room = prepared.as_ref().map_or(Room::default(), Prepared::room);
        let pins = prepared.as_ref().map(|prepared| prepared.pins.folder().to_owned());
        let mut kernel = Kernel::load(&options.load, hierarchy.job_level(), room, pins.as_deref())?;
        kernel.watch(&watch_keys(&options.policy))?;
        kernel.attach_tracepoints(pins.as_deref())?;
        let mut received = 0;
        let (cgroup, blocking, rule_ids) = match prepared {
            None => {
                received += self_check::run(&mut kernel, &hierarchy, &options.scratch, None)?;
                let cgroup = hierarchy.create_job(&name)?;
                kernel.add_job(&cgroup, SLOT, None)?;
                (cgroup, None, Vec::new())
            }
            Some(prepared) => {
                for program in prepared.missing_programs() {
                    tracing::warn!("no {program} is on the PATH, so rules for it alone allow nothing");
                }
                let cgroup = hierarchy.create_job(&name)?;
                let rule_ids = prepared.rule_ids();
                let blocking =
                    prepared.arm(&mut kernel, &cgroup, &options.policy.egress, |kernel, closed, egress| {
                        received += self_check::run(kernel, &hierarchy, &options.scratch, Some((closed, egress)))?;
                        Ok(())
                    })?;
                (cgroup, Some(blocking), rule_ids)
            }
        };
        let mut book = Bookkeeper::default();
        book.received += received;
        book.decoded += received;
        let id: Arc<str> = format!("run-{}-{}", std::process::id(), now_ns()).into();
        let command: Vec<String> =
            options.command.iter().map(|word| crate::text::from_bytes(word.as_encoded_bytes())).collect();
        let secret_files = secret_files(&options.policy);
        let job = Arc::new(Job {
            slot: SLOT,
            id,
            command: options.redactor.arguments(command),
            policy: options.policy,
            secret_files,
            rule_ids,
        });
        if let Some(blocking) = &blocking {
            let testament = Testament {
                kernel_side: object_hash(),
                id: job.id.clone(),
                command: job.command.clone(),
                cgroup: cgroup.path().to_owned(),
                pins: options.pins,
                log: options.log,
                policy: options.recorded,
                policy_sha256: job.policy.origin.sha256.clone(),
            };
            testament.write(&blocking.held).map_err(io_error("write down what a successor must know"))?;
        }
        let mut pipeline = Pipeline::new(options.redactor);
        pipeline.start_job(job.clone(), &procfs::hosts("/etc/hosts".as_ref()));
        let mut flow = Flow::new(pipeline, book, options.outboxes, options.recorder);
        flow.announce(None, ready(options.started));
        flow.announce(Some(&job), started(&job, &cgroup));
        flow.send();
        Ok(Self { kernel, cgroup, job, command: options.command, flow, blocking, disarmed: None })
    }
}
