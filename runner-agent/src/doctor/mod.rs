//! What this kernel and this runner can do, what is lost without it, and what to do about it.
//!
//! Facts come from below a root directory, so that a test can make up a machine. Whether the probes load is not concluded
//! from facts: it is tried. Nothing is loaded but what `run` loads.

mod block;
mod kernel;
mod runner;
mod settings;
pub mod tier;
mod whole_runs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::agent::{self, Trial};
use crate::kernel::hooks::{self, Hook, Way};
use crate::kernel::{LoadError, LoadOptions, Tier, support};

/// Version of the JSON form; documented in `docs/doctor.md`.
pub const SCHEMA: u32 = 2;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// For information: nothing depends on it in this version.
    Info,
    /// `run` works, and something gets by that it could see, or that could be closed; or mode `block` doesn't work.
    Warning,
    /// `run` doesn't work.
    Failed,
    /// Could not be tried.
    NotTried,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name.
    pub id: &'static str,
    /// How it went.
    pub status: Status,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub needed: &'static str,
    /// What is lost because it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn ok(id: &'static str, needed: &'static str, found: impl Into<String>) -> Self {
        Self { id, status: Status::Ok, found: found.into(), needed, lost: None, fix: None }
    }

    fn with(mut self, status: Status, lost: impl Into<String>, fix: impl Into<String>) -> Self {
        self.status = status;
        self.lost = Some(lost.into()).filter(|text: &String| !text.is_empty());
        self.fix = Some(fix.into()).filter(|text: &String| !text.is_empty());
        self
    }

    fn info(mut self) -> Self {
        self.status = Status::Info;
        self
    }
}

/// A probe that was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadedProbe {
    /// The program's name.
    pub name: String,
    /// Instructions that the verifier went through, where the kernel tells (before 5.16 none of programs on cgroups).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_instructions: Option<u32>,
}

/// A hook of the tracing tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookReport {
    /// The LSM hook's name.
    pub name: &'static str,
    /// The function before which the program stands.
    pub function: &'static str,
    /// What became of it.
    pub state: HookOutcome,
    /// How it was taken: `fmod_ret`, `lsm` or `fentry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
    /// What it means that it is not attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<&'static str>,
    /// What the kernel said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// What became of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookOutcome {
    /// It sees and can refuse.
    Attached,
    /// Something weaker tells of the same.
    FellBack,
    /// Nothing does.
    Missing,
}

impl HookReport {
    /// Of every hook, from what arming brought. Where others are taken, one that this kernel has no function for and needs none is no
    /// gap.
    fn all(trial: &Trial) -> Vec<Self> {
        let is_needless = |hook: &Hook| {
            hook.is_where_there_is() && !trial.hooks.is_empty() && trial.hooks.iter().all(|state| state.hook != hook)
        };
        hooks::HOOKS.iter().filter(|hook| !is_needless(hook)).map(|hook| Self::of(hook, trial)).collect()
    }

    fn of(hook: &'static Hook, trial: &Trial) -> Self {
        let taken = trial.hooks.iter().find(|state| state.hook == hook).map(|state| state.taken.clone());
        let missing = if hook.has_fallback() { HookOutcome::FellBack } else { HookOutcome::Missing };
        let (state, by, refusal) = match taken {
            Some(Ok(Way::Entry)) => (HookOutcome::FellBack, Some(Way::Entry), None),
            Some(Ok(way)) => (HookOutcome::Attached, Some(way), None),
            Some(Err(refusal)) => (missing, None, Some(refusal)),
            None => (missing, None, None),
        };
        let gap = (state != HookOutcome::Attached).then_some(hook.gap);
        Self { name: hook.program, function: hook.function, state, by: by.map(hooks::word), gap, refusal }
    }
}

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the agent.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Whether `run` works here: it was tried.
    pub can_run: bool,
    /// Whether `run` works here in mode `block` too: it was tried.
    pub can_block: bool,
    /// How long the kernel took to load all programs of a blocked job, in milliseconds; absent when none can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<u64>,
    /// The tier that `run` would have; absent when it can't run.
    pub tier: Option<&'static str>,
    /// What that tier can't see, wherever it runs.
    pub blind_spots: Vec<&'static tier::BlindSpot>,
    /// What would see more.
    pub would_help: &'static str,
    /// Why the tier is not the tracing tier, as the kernel said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_tracing: Option<String>,
    /// Every hook of the tracing tier; none when `run` can't run.
    pub hooks: Vec<HookReport>,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// Probes that were loaded and attached.
    pub probes: Vec<LoadedProbe>,
}

/// A machine, or what a test makes of one.
#[derive(Clone, Debug)]
pub struct Machine {
    /// In front of `/proc`, `/sys`, `/etc` and `/run`.
    pub root: PathBuf,
}

impl Machine {
    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Trimmed text of a file.
    fn text(&self, absolute: &str) -> Option<String> {
        std::fs::read_to_string(self.path(absolute)).ok().map(|text| text.trim().to_owned())
    }

    fn has(&self, absolute: &str) -> bool {
        self.path(absolute).exists()
    }
}

/// Looks at this machine, and tries.
pub fn diagnose(options: &LoadOptions) -> Diagnosis {
    let machine = Machine { root: "/".into() };
    let mut checks = kernel::checks(&machine, &options.btf);
    let missing = support::missing_capabilities();
    let mut armed = None;
    let (trial, mut probes) = if missing.is_empty() {
        let tried = agent::try_to_arm(options, &std::env::temp_dir());
        trial(tried.map(|trial| armed.insert(trial).probes.clone()))
    } else {
        let needed = "each is loaded, attached and checked against /proc";
        let check = Check::ok("probes", needed, "not tried: that takes the privileges above");
        (check.with(Status::NotTried, "", "sudo runner-agent doctor"), Vec::new())
    };
    let is_armed = trial.status == Status::Ok;
    checks.push(trial);
    checks.extend(
        armed
            .as_ref()
            .map(|trial| whole_runs::check(&trial.interruptible, &rustix::system::uname().version().to_string_lossy())),
    );
    checks.push(kernel::rings(options, is_armed));
    let runtime = agent::default_runtime();
    let blocked = is_armed.then(|| agent::try_to_block(options, &std::env::temp_dir(), &runtime));
    checks.push(block::trial(blocked.as_ref()));
    let blocked = blocked.and_then(Result::ok);
    probes = longest(probes, blocked.iter().flat_map(|trial| &trial.probes));
    checks.push(block::bpf_fs(&machine, &runtime, rustix::process::geteuid().is_root()));
    checks.push(block::ipv6_loopback(&machine));
    checks.extend(settings::checks(&machine));
    checks.extend(runner::checks(&machine));
    let tier = armed.as_ref().map_or(Tier::Tracepoint, |trial| trial.tier);
    Diagnosis {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        can_run: is_armed,
        can_block: blocked.is_some(),
        load_ms: blocked.map(|trial| trial.loaded_in.as_millis().try_into().unwrap_or(u64::MAX)),
        tier: armed.as_ref().map(|trial| trial.tier.name()),
        blind_spots: tier::blind_spots(tier).collect(),
        would_help: tier::would_help(tier),
        hooks: armed.as_ref().map(HookReport::all).unwrap_or_default(),
        no_tracing: armed.and_then(|trial| trial.no_tracing),
        checks,
        probes,
    }
}

/// Probes with the longer of two trials each: a program of a blocked job decides, and has more to it than one that only tells.
fn longest<'a>(
    known: Vec<LoadedProbe>,
    others: impl IntoIterator<Item = &'a (String, Option<u32>)>,
) -> Vec<LoadedProbe> {
    let mut all: BTreeMap<String, Option<u32>> =
        known.into_iter().map(|probe| (probe.name, probe.verified_instructions)).collect();
    for (name, count) in others {
        let longest = all.entry(name.clone()).or_default();
        *longest = (*longest).max(*count);
    }
    all.into_iter().map(|(name, verified_instructions)| LoadedProbe { name, verified_instructions }).collect()
}

/// What trying to arm brought.
fn trial(result: Result<Vec<(String, Option<u32>)>, LoadError>) -> (Check, Vec<LoadedProbe>) {
    let needed = "each is loaded, attached and checked against /proc";
    match result {
        Ok(mut probes) => {
            probes.sort();
            let probes: Vec<LoadedProbe> = probes
                .into_iter()
                .map(|(name, verified_instructions)| LoadedProbe { name, verified_instructions })
                .collect();
            let largest = probes.iter().filter_map(|probe| Some((probe.verified_instructions?, &probe.name))).max();
            let verifier = match largest {
                Some((count, name)) => format!("; the verifier's longest was {name}, {count} of 1000000 instructions"),
                None => String::new(),
            };
            let found = format!("{} loaded and attached, self-check passed{verifier}", probes.len());
            (Check::ok("probes", needed, found), probes)
        }
        Err(error) => {
            let fix = match &error {
                LoadError::SelfCheck(_) => "report it with the kernel's release; the probes misread this kernel",
                LoadError::Program { .. } => {
                    "check `lockdown` below and whether a container's seccomp profile or an LSM forbids bpf(2)"
                }
                _ => "",
            };
            let lost = "`run` refuses to start a command that it can't watch";
            (Check::ok("probes", needed, error.to_string()).with(Status::Failed, lost, fix), Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_probe_fails_the_check_and_says_where_to_look() {
        let error = LoadError::Program { program: "sys_exit", action: "load", detail: "EPERM".into() };
        let (check, probes) = trial(Err(error));
        assert_eq!((check.status, probes.len()), (Status::Failed, 0));
        assert!(check.found.contains("sys_exit") && check.fix.unwrap().contains("lockdown"));
    }

    #[test]
    fn each_probe_stands_with_what_took_the_verifier_longest() {
        let probe = |name: &str, count| LoadedProbe { name: name.into(), verified_instructions: count };
        let blocked = [("a".to_owned(), Some(7)), ("b".to_owned(), Some(9)), ("c".to_owned(), None)];
        let probes = longest(vec![probe("a", Some(8)), probe("b", Some(1))], &blocked);
        assert_eq!(probes, [probe("a", Some(8)), probe("b", Some(9)), probe("c", None)]);
    }

    #[test]
    fn loaded_probes_are_counted_with_the_longest() {
        let (check, probes) = trial(Ok(vec![("b".into(), Some(5)), ("a".into(), Some(9)), ("c".into(), None)]));
        assert_eq!(check.status, Status::Ok);
        assert!(check.found.starts_with("3 loaded"), "{}", check.found);
        assert!(check.found.contains("longest was a, 9 of"), "{}", check.found);
        assert_eq!(probes[0].name, "a");
    }
}
