//! What the pipeline finds to be necessary and can't do itself: it is pure.

use std::path::Path;

use runner_agent_common::map::FileKey;

use super::child;
use crate::kernel::Kernel;
use crate::kernel::procfs::{mount_namespace, own_mount_namespace};
use crate::kernel::watch::any_key;
use crate::pipeline::{Measure, Permit};

/// The process that there was before any job.
const FIRST: u32 = 1;

/// Does what the pipeline found to be necessary.
pub(super) fn carry_out(measure: Measure, kernel: &mut Kernel) {
    match measure {
        Measure::MarkHolder(key) => {
            if let Err(error) = kernel.holds_secret(key) {
                tracing::error!("{error}");
            }
        }
        Measure::Permit(permit) => {
            let classes = granted(&permit, own_mount_namespace(), mount_namespace(FIRST), any_key);
            if classes != 0
                && let Err(error) = kernel.permit(permit.program, classes)
            {
                tracing::error!("{error}");
            }
        }
        Measure::Know(slot, file, class) => {
            if let Err(error) = kernel.learn(slot, file, class) {
                tracing::error!("{error}");
            }
        }
        Measure::End(key) => {
            if child::end_process(key) {
                tracing::warn!("pid {} left its job's cgroup and was ended", key.tgid);
            }
        }
    }
}

/// The classes that a program may read. In a mount namespace of its own a job can give any file any name: there a name is worth
/// what it is worth to the agent, if the same file has it, and what arguments name is worth nothing. In the machine's own, that of
/// the first process, arguments are worth what they are in the agent's: a service may have been given one of its own.
fn granted(permit: &Permit, own: u32, machines: u32, file_at: impl Fn(&Path) -> Option<FileKey>) -> u64 {
    let Permit { exe, file, mount_namespace, by_name, by_arguments, .. } = permit;
    if *mount_namespace == own {
        return by_name | by_arguments;
    }
    if file_at(Path::new(&**exe)) != Some(*file) {
        tracing::debug!(
            "another file than {exe} runs under its name, in a mount namespace of its own: it may read no secret"
        );
        return 0;
    }
    if *mount_namespace == machines { by_name | by_arguments } else { *by_name }
}

#[cfg(test)]
mod tests {
    use runner_agent_common::guard::ProgramKey;

    use super::*;

    const AWS: FileKey = FileKey { inode: 7, device: 1, reserved: 0 };

    fn aws(mount_namespace: u32, file: FileKey) -> Permit {
        let exe = "/usr/bin/aws".into();
        Permit { program: ProgramKey::default(), exe, file, mount_namespace, by_name: 0b01, by_arguments: 0b10 }
    }

    fn seen(permit: &Permit) -> u64 {
        granted(permit, 100, 1, |path| (path == Path::new("/usr/bin/aws")).then_some(AWS))
    }

    #[test]
    fn in_another_mount_namespace_a_name_counts_if_the_agent_sees_the_same_file_there() {
        let other = FileKey { inode: 8, ..AWS };
        assert_eq!(seen(&aws(100, other)), 0b11, "where the agent lives, what it sees is what there is");
        assert_eq!(seen(&aws(200, AWS)), 0b01, "a script may be another there");
        assert_eq!(seen(&aws(200, other)), 0);
        assert_eq!(seen(&Permit { exe: "/opt/aws".into(), ..aws(200, AWS) }), 0, "nothing lies there for the agent");
    }

    #[test]
    fn in_the_machines_own_namespace_arguments_count_too() {
        assert_eq!(seen(&aws(1, AWS)), 0b11);
        assert_eq!(seen(&aws(1, FileKey { device: 2, ..AWS })), 0);
    }
}
