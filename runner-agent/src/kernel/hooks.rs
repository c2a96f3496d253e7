//! The tracing tier: programs before the kernel's `security_*` functions. Which there are, in which way this kernel takes
//! each, and what it means where it takes one in none.

pub use tracing_loader::Way;
use tracing_loader::{Loaded, Place, Preemption};

use super::btf::Btf;

/// When a hook is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// For every job.
    Always,
    /// Where a policy has reads of secret files refused; each read of every file on the machine pays for it.
    ReadsRefused,
    /// Where jobs are of processes that somebody else started; each check of a capability on the machine pays for it.
    WorkersTaken,
    /// For every job, on kernels that have the function: others ask one that has a hook of its own.
    WhereThereIs,
}

/// A place before a function of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program's name, which is also that of the LSM hook.
    pub program: &'static str,
    /// The function.
    pub function: &'static str,
    /// What goes by unseen, or can't be refused, without it.
    pub gap: &'static str,
    pub(super) when: When,
}

/// Hooks without which the same is still seen when it has happened.
const SEEN_AT_RETURN: [&str; 17] = [
    SOCKETS,
    "netlink_send",
    "file_open",
    "ptrace_access_check",
    "task_kill",
    "file_send_sigiotask",
    "perf_event_open",
    "task_setscheduler",
    "task_setnice",
    "task_setrlimit",
    "bpf",
    "kernel_read_file",
    "kernel_load_data",
    "bprm_check_security",
    "unix_stream_connect",
    "file_lock",
    "path_notify",
];

impl Hook {
    /// Whether kernels that don't have the function don't need it.
    pub fn is_where_there_is(&self) -> bool {
        self.when == When::WhereThereIs
    }

    /// Whether something else tells of the same where this hook is missing.
    pub fn has_fallback(&self) -> bool {
        SEEN_AT_RETURN.contains(&self.program)
    }
}

const fn hook(program: &'static str, function: &'static str, when: When, gap: &'static str) -> Hook {
    Hook { program, function, gap, when }
}

/// The setting by which ftrace, and with it every program before a function, is stopped.
pub(super) const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

/// The hook without which there is no tier.
pub(super) const FOUNDATION: usize = 0;

/// How many there are.
const COUNT: usize = 37;

/// Every hook.
pub static HOOKS: [Hook; COUNT] = [
    hook("file_open", "security_file_open", When::Always, "opens are seen after the fact, none is refused"),
    hook(
        "file_permission",
        "security_file_permission",
        When::ReadsRefused,
        "a descriptor of a secret file that was inherited can be read",
    ),
    hook("mmap_file", "security_mmap_file", When::ReadsRefused, "a descriptor of a secret file can be mapped"),
    hook(
        "file_receive",
        "security_file_receive",
        When::ReadsRefused,
        "a descriptor of a secret file can be received from another process",
    ),
    hook(
        "ptrace_access_check",
        "security_ptrace_access_check",
        When::Always,
        "reading the memory of processes outside the job is told by ptrace(2) and its like alone, and refused by a \
         capability alone",
    ),
    hook("task_kill", "security_task_kill", When::Always, "a signal to the agent is told and not refused"),
    hook(
        "file_send_sigiotask",
        "security_file_send_sigiotask",
        When::Always,
        "that the agent is made the owner of a file, which then signals it, is told and not refused",
    ),
    hook(
        "task_setscheduler",
        "security_task_setscheduler",
        When::Always,
        "the agent's scheduling class can be changed, which is told",
    ),
    hook("task_setnice", "security_task_setnice", When::Always, "the agent's nice value can be changed, which is told"),
    hook("task_setrlimit", "security_task_setrlimit", When::Always, "the agent's limits can be changed, which is told"),
    hook("bpf", "security_bpf", When::Always, "bpf(2) is told and not refused"),
    hook(
        "kernel_read_file",
        "security_kernel_read_file",
        When::Always,
        "modules and kernels from files are refused by a capability alone",
    ),
    hook(
        "kernel_load_data",
        "security_kernel_load_data",
        When::Always,
        "modules and kernels from memory are refused by a capability alone",
    ),
    hook("settime", "security_settime64", When::Always, "setting the clock is refused by a capability alone"),
    hook(
        "path_unlink",
        "security_path_unlink",
        When::Always,
        "the agent's files can be removed, which is found within seconds",
    ),
    hook(
        "path_rename",
        "security_path_rename",
        When::Always,
        "the agent's files can be renamed, which is found within seconds",
    ),
    hook(
        "path_link",
        "security_path_link",
        When::Always,
        "a new secret file can be linked and read by the other name, and links can be put into the agent's folders",
    ),
    hook("path_rmdir", "security_path_rmdir", When::Always, "empty folders of the agent's can be removed"),
    hook("path_mknod", "security_path_mknod", When::Always, "files can be made in the agent's folders"),
    hook("path_mkdir", "security_path_mkdir", When::Always, "folders can be made in the agent's folders"),
    hook("path_symlink", "security_path_symlink", When::Always, "links can be put into the agent's folders"),
    hook("path_truncate", "security_path_truncate", When::Always, "the agent's files can be cut"),
    hook("file_truncate", "security_file_truncate", When::WhereThereIs, "the agent's files can be cut while open"),
    hook("path_chmod", "security_path_chmod", When::Always, "the agent's files can get another mode"),
    hook("path_chown", "security_path_chown", When::Always, "the agent's files can get another owner"),
    hook("sb_mount", "security_sb_mount", When::Always, "the agent's folders can be mounted over"),
    hook("move_mount", "security_move_mount", When::Always, "the agent's folders can be mounted over"),
    hook("sb_umount", "security_sb_umount", When::Always, "what the agent stands on can be unmounted"),
    hook("sb_pivotroot", "security_sb_pivotroot", When::Always, "the root that the agent sees can be replaced"),
    hook(
        "perf_event_open",
        "security_perf_event_open",
        When::Always,
        "sampling all programs of a CPU is told and not refused",
    ),
    hook(
        "file_lock",
        "security_file_lock",
        When::Always,
        "that a lock keeps the agent or its successor waiting is told and not refused",
    ),
    hook(
        "path_notify",
        "security_path_notify",
        When::Always,
        "that the agent is kept waiting for answers of fanotify(7) is told and not refused",
    ),
    hook("bprm_check_security", "security_bprm_check", When::Always, "sudo and its like are told and not refused"),
    hook(
        "unix_stream_connect",
        "security_unix_stream_connect",
        When::Always,
        "connects to container engines and service managers are told and not refused",
    ),
    hook(
        SOCKETS,
        "security_socket_post_create",
        When::Always,
        "packet, VSOCK and other sockets end whoever makes them by socket(2), and are missed when they are made through io_uring",
    ),
    hook(
        "netlink_send",
        "security_netlink_send",
        When::Always,
        "changes of the machine's network are told by system calls alone, and refused by a capability alone",
    ),
    hook(
        CAPABILITIES,
        "security_capable",
        When::WorkersTaken,
        "capabilities are withheld from a command that `run` starts, and not from what a daemon's job runs",
    ),
];

/// The hook that sees sockets made. Where it can't refuse, their makers are ended when the system call returns.
pub(super) const SOCKETS: &str = "socket_post_create";

/// The hook that says nothing and only refuses.
const CAPABILITIES: &str = "capable";

/// Ways to stand before a function, the ones that can refuse first.
pub(super) const WAYS: [Way; 3] = [Way::ModifyReturn, Way::Lsm, Way::Entry];

/// What of the kernel's functions and modules the hooks need.
pub(super) struct Functions {
    direct: Vec<Option<u32>>,
    by_lsm: Vec<Option<u32>>,
    has_bpf_lsm: bool,
    /// Where the kernel has functions that turn preemption and interrupts off and on.
    pub(super) preemption: Option<Preemption>,
    /// The only way that is tried, where one was asked for.
    only: Option<Way>,
}

impl Functions {
    pub(super) fn find(btf: &Btf, only: Option<Way>) -> Self {
        let lsm_names: Vec<String> = HOOKS.iter().map(|hook| format!("bpf_lsm_{}", hook.program)).collect();
        let names: Vec<&str> =
            HOOKS.iter().map(|hook| hook.function).chain(lsm_names.iter().map(String::as_str)).collect();
        let mut direct = btf.functions(&[&names[..], &Preemption::FUNCTIONS].concat());
        let preemption = Preemption::with(&direct.split_off(2 * COUNT));
        let by_lsm = direct.split_off(COUNT);
        let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        Self { direct, by_lsm, only, preemption, has_bpf_lsm: modules.trim().split(',').any(|module| module == "bpf") }
    }

    /// Whether this kernel needs a hook at all.
    pub(super) fn needs(&self, index: usize) -> bool {
        HOOKS[index].when != When::WhereThereIs || self.direct[index].is_some()
    }

    /// The function's id for a way.
    pub(super) fn id(&self, index: usize, way: Way) -> Result<u32, String> {
        match way {
            _ if self.only.is_some_and(|only| only != way) => Err("another way was asked for".to_owned()),
            Way::Lsm if !self.has_bpf_lsm => Err("bpf is not among the kernel's security modules".to_owned()),
            Way::Lsm => self.by_lsm[index].ok_or_else(|| "this kernel has no such LSM hook".to_owned()),
            Way::Entry if [SOCKETS, CAPABILITIES].contains(&HOOKS[index].program) => {
                Err("it could not refuse there".to_owned())
            }
            Way::ModifyReturn | Way::Entry => {
                self.direct[index].ok_or_else(|| format!("this kernel has no {}", HOOKS[index].function))
            }
        }
    }
}

/// Why this kernel takes no program of the tier, by trying one that does nothing; nothing if it takes it.
pub(super) fn refusal(functions: &Functions) -> Option<String> {
    // With ftrace stopped, programs before functions load, and are attached, and never run.
    if std::fs::read_to_string(FTRACE).is_ok_and(|on| on.trim() == "0") {
        return Some(format!("{FTRACE} is 0, so that programs before functions are not run"));
    }
    let mut refusals = Vec::new();
    for way in WAYS {
        let tried = functions.id(FOUNDATION, way).and_then(|id| {
            let loaded = Loaded::nothing(Place::Function(way, id)).map_err(|refused| refused.to_string())?;
            loaded.attach().map_err(|error| error.to_string())
        });
        match tried {
            Ok(link) => {
                // It is gone after a grace period, a tenth of a second, which loading needn't wait for.
                let _ = std::thread::Builder::new().spawn(move || drop(link));
                return None;
            }
            Err(error) => refusals.push(format!("{}: {error}", word(way))),
        }
    }
    Some(refusals.join("; "))
}

/// The hooks that this kernel takes, by trying each with a program that does nothing.
pub(super) fn taken(functions: &Functions) -> impl Fn(&str) -> bool {
    let taken: Vec<&'static str> = HOOKS
        .iter()
        .enumerate()
        .filter(|&(index, _)| {
            WAYS.into_iter()
                .any(|way| functions.id(index, way).is_ok_and(|id| Loaded::nothing(Place::Function(way, id)).is_ok()))
        })
        .map(|(_, hook)| hook.program)
        .collect();
    move |program| taken.contains(&program)
}

/// A way in a word.
pub fn word(way: Way) -> &'static str {
    match way {
        Way::ModifyReturn => "fmod_ret",
        Way::Lsm => "lsm",
        Way::Entry => "fentry",
    }
}

/// A hook and what became of it.
#[derive(Clone, Debug)]
pub struct HookState {
    /// The hook.
    pub hook: &'static Hook,
    /// The way it was taken, or what the kernel said.
    pub taken: Result<Way, String>,
    /// Instructions that the verifier went through, where the kernel tells.
    pub verified: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_a_name_of_its_own_and_says_what_is_missed_without_it() {
        let names: std::collections::BTreeSet<_> = HOOKS.iter().map(|hook| hook.program).collect();
        assert_eq!(names.len(), COUNT);
        assert!(HOOKS.iter().all(|hook| hook.function.starts_with("security_") && !hook.gap.is_empty()));
    }
}
