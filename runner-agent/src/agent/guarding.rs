//! The agent's guard: what of the runner a job must leave alone, arranged before the job starts.
//!
//! What is done to the agent itself is refused in every mode, because a record that the recorded can end proves nothing. The rest
//! is the policy's choice, and refused in mode `block` alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use runner_agent_common::guard::{GuardRules, guarded, operation};
use runner_agent_common::map::FileKey;
use rustix::thread::CapabilitySet;

use super::exes::search_path;
use super::footing::Stand;
use super::run::RunError;
use super::state::Held;
use super::{daemons, disks, reads, started};
use crate::kernel::watch::any_key;
use crate::kernel::{Kernel, LoadError};
use crate::policy::{EngineAccess, Mode, Policy};

/// Operations at the agent itself.
const AT_THE_AGENT: [u16; 6] = [
    operation::SIGNAL,
    operation::TRACE_AGENT,
    operation::PRIORITY,
    operation::MOUNT,
    operation::WRITE,
    operation::REMOVE,
];

/// Operations that no build needs.
const AT_THE_RUNNER: [u16; 5] =
    [operation::CLOCK, operation::CGROUP, operation::SETTING, operation::REBOOT, operation::DISK];

/// What is told and denied under a policy.
pub(super) fn rules(policy: &Policy) -> GuardRules {
    let mut rules = GuardRules { tells: bit(operation::NAMESPACE), denies: 0, withholds: withheld(policy).bits() };
    for operation in AT_THE_AGENT {
        rules.tells |= bit(operation);
        rules.denies |= bit(operation);
    }
    for operation in AT_THE_RUNNER {
        rules.tells |= bit(operation);
        if policy.mode == Mode::Block {
            rules.denies |= bit(operation);
        }
    }
    let guard = &policy.guard;
    for (operation, access) in [
        (operation::PRIVILEGE, guard.sudo),
        (operation::ENGINE, guard.docker.to_socket()),
        (operation::SERVICES, guard.services),
        (operation::BPF, guard.bpf),
        (operation::KERNEL_CODE, guard.modules),
        (operation::TRACE, guard.trace),
        (operation::PROBE, guard.trace),
        (operation::NETWORK, guard.network),
    ] {
        if access.is_told() {
            rules.tells |= bit(operation);
        }
        if access.is_refused(policy.mode) {
            rules.denies |= bit(operation);
        }
    }
    if policy.refuses_reads() {
        // Environment and memory are secrets like any file of theirs.
        rules.denies |= bit(operation::READ_SECRET) | bit(operation::INSPECT);
    }
    rules
}

const fn bit(operation: u16) -> u32 {
    1 << operation
}

/// Words of `guard` that a blocked job's policy has and that can't be kept here: what they deny is told, and happens. What a withheld
/// capability refuses needs no hook.
pub(super) fn unkept(policy: &Policy, can_refuse: impl Fn(&str) -> bool) -> Vec<String> {
    let guard = &policy.guard;
    let docker = match guard.docker {
        EngineAccess::Gate => {
            "gate: a job that may write to the container engine's own socket gets past the gate, which"
        }
        _ => "deny: a connect to a container engine's socket",
    };
    let words = [
        ("sudo", guard.sudo, "bprm_check_security", "deny: that sudo and its like are started"),
        ("docker", guard.docker.to_socket(), "unix_stream_connect", docker),
        ("services", guard.services, "unix_stream_connect", "deny: a connect to a service manager or message bus"),
    ];
    let unkept = words.into_iter().filter(|(_, access, hook, _)| access.is_refused(policy.mode) && !can_refuse(hook));
    unkept.map(|(key, _, _, what)| format!("guard.{key}: {what} is told, and can't be refused on this tier")).collect()
}

/// Capabilities that a blocked job is withheld, root too. A command that the agent starts begins without them, on every tier; where a
/// hook can refuse, so is whoever else is the job's.
pub(super) fn withheld(policy: &Policy) -> CapabilitySet {
    let mut withheld = CapabilitySet::empty();
    if policy.mode == Mode::Audit {
        return withheld;
    }
    withheld |= CapabilitySet::SYS_TIME | CapabilitySet::SYS_BOOT | CapabilitySet::SYS_RAWIO;
    // A log that nobody may change is one that the agent can't go on with.
    withheld |= CapabilitySet::LINUX_IMMUTABLE;
    if policy.guard.modules.is_refused(policy.mode) {
        withheld |= CapabilitySet::SYS_MODULE;
    }
    if policy.guard.trace.is_refused(policy.mode) {
        withheld |= CapabilitySet::SYS_PTRACE;
    }
    if policy.guard.bpf.is_refused(policy.mode) {
        withheld |= CapabilitySet::BPF | CapabilitySet::PERFMON;
    }
    if policy.guard.network.is_refused(policy.mode) {
        // Verdicts are spoken before tc(8), nftables' egress hook and tunnels, which could send elsewhere what was judged.
        withheld |= CapabilitySet::NET_ADMIN;
    }
    withheld
}

/// What of that is looked at from time to time.
pub(super) fn stand(policy: &Policy, held: Option<&Held>, log: Option<&Path>) -> Stand {
    let program = std::env::current_exe().ok();
    let policies = policy.origin.files.iter().map(|file| ("the policy", file.as_path()));
    let record = held.map(Held::files);
    let steady = policies
        .chain(program.as_deref().map(|program| ("the agent's program", program)))
        .chain(record.iter().flatten().map(|file| ("what a successor needs,", file.as_path())));
    let stand = Stand::of(steady, log);
    match held {
        Some(held) => stand.with_folder(held.folder(), &Held::NAMES),
        None => stand,
    }
}

/// Guards folders of the agent's that were made for a job, which has no business in them.
pub(super) fn keep_out(kernel: &mut Kernel, slot: u32, folders: &[&Path]) -> Result<(), LoadError> {
    let key = |folder: &&Path| Some((any_key(folder)?, guarded::ENTRIES | guarded::COVER));
    kernel.guard_files(slot, &folders.iter().filter_map(key).collect::<Vec<_>>())
}

/// Programs that give their caller another user's rights, by the names that distributions give them.
const PRIVILEGE_PROGRAMS: [&str; 6] = ["sudo", "su", "pkexec", "doas", "runuser", "sudo-rs"];

/// Arranges the guard of a job, before it is a job.
pub(super) fn arrange(kernel: &mut Kernel, slot: u32, policy: &Policy, log: Option<&Path>) -> Result<(), RunError> {
    kernel.guard_files(slot, &of_job(policy, log))?;
    kernel.guard_files(slot, &disks::in_use())?;
    kernel.guard_files(slot, &started::by_kernel())?;
    if policy.refuses_reads() {
        reads::refuse(kernel, slot, policy)?;
    }
    kernel.set_guard(slot, rules(policy))?;
    Ok(())
}

/// What of a job nobody but its agent may change.
fn of_job(policy: &Policy, log: Option<&Path>) -> Vec<(FileKey, u32)> {
    let written = policy.origin.files.iter().map(PathBuf::as_path).chain(log);
    // Who changes a program that is exempt is exempt.
    let exempt = policy.platform.iter().flat_map(|service| &service.exes).map(PathBuf::as_path);
    contents(written.chain(exempt))
}

/// Files that nobody but the agent may write to, nor cover, nor move away with a folder above.
pub(super) fn contents<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<(FileKey, u32)> {
    let mut files = Vec::new();
    for path in paths.filter_map(|path| path.canonicalize().ok()) {
        let above = path.ancestors().skip(1).map(|above| (above, guarded::COVER));
        let all = std::iter::once((path.as_path(), guarded::CONTENT | guarded::COVER)).chain(above);
        files.extend(all.filter_map(|(path, bits)| Some((any_key(path)?, bits))));
    }
    files
}

/// What an agent goes by and leaves behind: configuration and policies, and the folders of policies, logs and what waits for sinks.
pub(super) fn settings<'a>(
    files: impl Iterator<Item = &'a Path>,
    folders: impl IntoIterator<Item = &'a Path>,
) -> Vec<(FileKey, u32)> {
    let folders = folders.into_iter().filter_map(|folder| folder.canonicalize().ok());
    let own = folders.filter(|folder| !is_anybodys(folder)).flat_map(|folder| kept_folder(&folder));
    contents(files).into_iter().chain(own).collect()
}

/// Whether everybody makes files in a folder, as in `/tmp`: it can't be the agent's alone.
fn is_anybodys(folder: &Path) -> bool {
    const WRITTEN_BY_OTHERS: u32 = 0o002;
    folder.metadata().is_ok_and(|folder| folder.mode() & WRITTEN_BY_OTHERS != 0)
}

/// A folder in which nobody but the agent makes, replaces or writes to anything.
fn kept_folder(folder: &Path) -> Vec<(FileKey, u32)> {
    // A mount over any folder above would take it away too.
    let above = folder.ancestors().skip(1).map(|above| (above, guarded::COVER));
    let all = std::iter::once((folder, guarded::ENTRIES | guarded::COVER)).chain(above);
    all.filter_map(|(path, bits)| Some((any_key(path)?, bits))).collect()
}

/// What the agent stands on: its program, where it keeps what must outlive it, with what lies there now, the folder of its pins;
/// and what a job might reach the runner by.
pub(super) fn footing(runtime: &Path, pins: Option<&Path>) -> Vec<(FileKey, u32)> {
    let mut files = contents(std::env::current_exe().ok().as_deref().into_iter());
    for folder in [Some(runtime), pins].into_iter().flatten() {
        let Ok(folder) = folder.canonicalize() else { continue };
        files.extend(kept_folder(&folder));
        below(&folder, &mut |path, is_folder| {
            let bits = if is_folder { guarded::ENTRIES | guarded::COVER } else { guarded::CONTENT };
            files.extend(any_key(path).map(|key| (key, bits)));
        });
    }
    let mut add = |path: &Path, bits: u32| files.extend(any_key(path).map(|key| (key, bits)));
    for folder in ["/proc", "/sys", "/sys/fs/cgroup"] {
        add(Path::new(folder), guarded::COVER);
    }
    for directory in search_path() {
        for name in PRIVILEGE_PROGRAMS {
            add(&directory.join(name), guarded::PRIVILEGE);
        }
    }
    files.extend(daemons::sockets());
    files
}

/// Everything in a folder; it is the agent's own and small.
fn below(folder: &Path, each: &mut impl FnMut(&Path, bool)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        each(&entry.path(), is_folder);
        if is_folder {
            below(&entry.path(), each);
        }
    }
}

/// What is said of a guard that was not as it was left.
pub(super) const REPAIRED: &str = "what the job may not touch was changed in the kernel's maps, and was written again";

/// Looks whether the guard of a job is as it was left; writes it again if not, and says so.
pub(super) fn repair(kernel: &mut Kernel, slot: u32, rules: GuardRules) -> Result<bool, LoadError> {
    if kernel.guard(slot) == Some(rules) {
        return Ok(false);
    }
    kernel.set_guard(slot, rules)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use runner_agent_common::guard::WITHHOLDABLE;

    use super::*;
    use crate::policy::{Access, GuardPolicy, SecretPolicy};

    #[test]
    fn what_is_done_to_the_agent_is_refused_in_every_mode_and_the_rest_in_block() {
        let audit = rules(&Policy::default());
        assert_eq!(audit.denies, AT_THE_AGENT.into_iter().fold(0, |bits, operation| bits | bit(operation)));
        let block = rules(&Policy { mode: Mode::Block, ..Policy::default() });
        assert_ne!(block.denies & bit(operation::CGROUP), 0);
        assert_ne!(block.denies & bit(operation::BPF), 0);
        assert_eq!(block.denies & bit(operation::READ_SECRET), 0);
        assert_eq!(block.tells & bit(operation::PRIVILEGE), 0, "sudo is every hosted job's");
    }

    #[test]
    fn a_policy_may_allow_what_its_job_needs() {
        let guard = GuardPolicy { bpf: Access::Allow, sudo: Access::Deny, ..GuardPolicy::default() };
        let secrets = SecretPolicy::new(Vec::new(), Mode::Block);
        let policy = Policy { mode: Mode::Block, guard, secrets, ..Policy::default() };
        let rules = rules(&policy);
        assert_eq!((rules.tells | rules.denies) & bit(operation::BPF), 0);
        assert_ne!(rules.denies & bit(operation::PRIVILEGE), 0);
        assert_ne!(rules.denies & bit(operation::READ_SECRET), 0);
        assert!(
            !withheld(&policy).contains(CapabilitySet::BPF) && withheld(&policy).contains(CapabilitySet::SYS_MODULE)
        );
    }

    #[test]
    fn what_no_hook_can_refuse_is_said_of_a_blocked_job() {
        let guard = GuardPolicy { sudo: Access::Deny, docker: EngineAccess::Gate, ..GuardPolicy::default() };
        let policy = Policy { mode: Mode::Block, guard, ..Policy::default() };
        assert!(unkept(&policy, |_| true).is_empty());
        let said = unkept(&policy, |hook| hook == "unix_stream_connect");
        assert_eq!(
            said,
            ["guard.sudo: deny: that sudo and its like are started is told, and can't be refused on this tier"]
        );
        assert_eq!(unkept(&policy, |_| false).len(), 2);
        assert!(unkept(&Policy { mode: Mode::Audit, ..policy }, |_| false).is_empty());
    }

    #[test]
    fn the_machines_network_is_told_in_audit_and_closed_in_block_unless_the_policy_allows_it() {
        let with = |mode, network| {
            let guard = GuardPolicy { network, ..GuardPolicy::default() };
            let policy = Policy { mode, guard, ..Policy::default() };
            let rules = rules(&policy);
            let has = |bits: u32| bits & bit(operation::NETWORK) != 0;
            (has(rules.tells), has(rules.denies), rules.withholds & 1 << 12 != 0)
        };
        assert_eq!(GuardPolicy::default().network, Access::Deny);
        assert_eq!(with(Mode::Block, Access::Deny), (true, true, true));
        assert_eq!(with(Mode::Block, Access::Audit), (true, false, false));
        assert_eq!(with(Mode::Block, Access::Allow), (false, false, false));
        assert_eq!(with(Mode::Audit, Access::Deny), (true, false, false));
    }

    #[test]
    fn the_kernel_side_looks_at_every_capability_that_a_policy_can_withhold() {
        let guard = GuardPolicy {
            bpf: Access::Deny,
            modules: Access::Deny,
            trace: Access::Deny,
            network: Access::Deny,
            ..GuardPolicy::default()
        };
        let most = rules(&Policy { mode: Mode::Block, guard, ..Policy::default() }).withholds;
        assert_eq!(most, WITHHOLDABLE);
    }

    #[test]
    fn an_audited_job_keeps_every_capability() {
        assert_eq!(rules(&Policy::default()).withholds, 0);
    }
}
