//! The daemon's configuration: `/etc/runner-agent/config.yml`.

mod trust;

use std::path::{Path, PathBuf};

use super::check::walk::{Cursor, Fields, Findings};
use super::problem::Problem;
use super::raw::{self, At};
use super::sinks;
use crate::identity::TrustRules;
use crate::job::Scope;
use crate::policy::words;
use crate::sink::settings::Settings;

/// Keys of the file.
pub const DAEMON_KEYS: &[&str] = &[
    "version",
    "socket",
    "policies",
    "floor",
    "logs",
    "state",
    "pins",
    "tier",
    "hooks",
    "scope",
    "jobs",
    "on-end",
    "owner",
    "trust",
    "metrics-file",
    "sinks",
    "spool",
];

/// Keys of `on-end`.
const ON_END_KEYS: &[&str] = &["leftovers"];

/// Jobs at once that the kernel side has room for; two more slots are the agent's own.
pub const MOST_JOBS: u32 = 60;

/// How the daemon works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// The control socket.
    pub socket: PathBuf,
    /// Folder of the policies, `*.yml`.
    pub policies: PathBuf,
    /// The policy that holds whatever else does.
    pub floor: Option<PathBuf>,
    /// Folder of the logs, one a job.
    pub logs: PathBuf,
    /// Where the daemon keeps what must outlive it.
    pub state: PathBuf,
    /// Where to pin; `None` for the system's BPF file system, or one below `state`.
    pub pins: Option<PathBuf>,
    /// How deep to look.
    pub tier: WantedTier,
    /// How the hooks of the tracing tier are taken.
    pub hooks: WantedHooks,
    /// Who is held to a job's policy.
    pub scope: Scope,
    /// Jobs at once.
    pub jobs: u32,
    /// What becomes of a job's processes when its worker has ended.
    pub leftovers: Leftovers,
    /// Who besides root may start jobs: a user's number.
    pub owner: Option<u32>,
    /// Where to write the daemon's figures now and then.
    pub metrics_file: Option<PathBuf>,
    /// Whose word is believed, and what makes code trusted.
    pub trust: TrustRules,
    /// Who is sent what the jobs did.
    pub sinks: Vec<Settings>,
    /// Where what waits for them is kept; `None` for a folder below the state's.
    pub spool: Option<PathBuf>,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            socket: "/run/runner-agent/control.sock".into(),
            policies: "/etc/runner-agent/policies".into(),
            floor: None,
            logs: "/var/log/runner-agent".into(),
            state: "/run/runner-agent".into(),
            pins: None,
            tier: WantedTier::Auto,
            hooks: WantedHooks::Auto,
            scope: Scope::Job,
            jobs: MOST_JOBS,
            leftovers: Leftovers::End,
            owner: None,
            metrics_file: None,
            trust: TrustRules::default(),
            sinks: Vec::new(),
            spool: None,
        }
    }
}

/// Which tier is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedTier {
    /// The best that this kernel loads.
    Auto,
    /// Raw tracepoints and cgroup hooks.
    Tracepoint,
    /// And programs before the kernel's own functions.
    Tracing,
}

words!(WantedTier, "auto, tracepoint, tracing", {
    WantedTier::Auto => "auto",
    WantedTier::Tracepoint => "tracepoint",
    WantedTier::Tracing => "tracing",
});

/// How the hooks of the tracing tier are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedHooks {
    /// Each by the first way that loads.
    Auto,
    /// All before the kernel's functions, refusing in their place.
    FmodRet,
    /// All as a security module.
    Lsm,
    /// All before the kernel's functions, refusing nothing.
    Fentry,
}

words!(WantedHooks, "auto, fmod-ret, lsm, fentry", {
    WantedHooks::Auto => "auto",
    WantedHooks::FmodRet => "fmod-ret",
    WantedHooks::Lsm => "lsm",
    WantedHooks::Fentry => "fentry",
});

/// What becomes of processes that a job leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They are listed and ended.
    End,
    /// They run on under the job's rules, and the job with them.
    Keep,
}

words!(Leftovers, "end, keep", {
    Leftovers::End => "end",
    Leftovers::Keep => "keep",
});

/// Reads the configuration, or says everything that is wrong with it.
pub fn read(file: &Path) -> Result<DaemonConfig, Vec<Problem>> {
    let bytes = std::fs::read(file).map_err(|error| {
        let what = format!("can't be read: {error}; it is the agent's configuration, YAML with `version: 1`");
        vec![Problem::error(file, At::START, "", what)]
    })?;
    parse(file, &bytes)
}

fn parse(file: &Path, bytes: &[u8]) -> Result<DaemonConfig, Vec<Problem>> {
    let tree = raw::parse(bytes).map_err(|error| vec![Problem::error(file, error.at, "", error.message)])?;
    let findings = Findings::new(file);
    let config = config(&Cursor { node: &tree, path: String::new(), findings: &findings });
    let problems = findings.into_problems();
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok(config) }
}

fn config(root: &Cursor) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    let Some(fields) = root.fields(DAEMON_KEYS) else { return config };
    if let Some(version) = fields.need("version", "start the file with `version: 1`")
        && version.plain_text() != Some("1")
    {
        version.error("is not 1, the only version there is; write `version: 1`");
    }
    for (key, place) in [
        ("socket", &mut config.socket),
        ("policies", &mut config.policies),
        ("logs", &mut config.logs),
        ("state", &mut config.state),
    ] {
        if let Some(path) = path(&fields, key) {
            *place = path;
        }
    }
    config.floor = path(&fields, "floor");
    config.pins = path(&fields, "pins");
    config.metrics_file = path(&fields, "metrics-file");
    config.spool = path(&fields, "spool");
    config.tier = fields.get("tier").and_then(|tier| tier.word()).unwrap_or(config.tier);
    if let Some(hooks) = fields.get("hooks") {
        config.hooks = hooks.word().unwrap_or(config.hooks);
        // Where that way doesn't load, the other tier would have none of them.
        if config.hooks != WantedHooks::Auto && config.tier != WantedTier::Tracing {
            hooks.error("are the tracing tier's; write `tier: tracing` beside it".to_owned());
        }
    }
    config.jobs = fields.get("jobs").and_then(|jobs| jobs.number(1, MOST_JOBS)).unwrap_or(config.jobs);
    if let Some(scope) = fields.get("scope") {
        config.scope = scope.word().unwrap_or_default();
        if config.scope == Scope::Runner {
            holds_runner(&scope, &fields, &mut config);
        }
    }
    config.owner = fields.get("owner").and_then(|owner| owner.number(0, u32::MAX - 1));
    if let Some(on_end) = fields.get("on-end").and_then(|cursor| cursor.fields(ON_END_KEYS)) {
        config.leftovers = on_end.get("leftovers").and_then(|word| word.word()).unwrap_or(config.leftovers);
    }
    if let Some(cursor) = fields.get("trust") {
        config.trust = trust::trust(&cursor);
    }
    if let Some(cursor) = fields.get("sinks") {
        config.sinks = sinks::sinks(&cursor);
    }
    config
}

/// What goes with `scope: runner`: whoever is outside a job can be held to one policy and to no two, and who is exempt is the
/// operator's to say.
fn holds_runner(scope: &Cursor, fields: &Fields, config: &mut DaemonConfig) {
    if config.floor.is_none() {
        scope.error(
            "runner needs a `floor`: its `platform` says which services no job's policy holds for (docs/scope.md)"
                .to_owned(),
        );
    }
    match fields.get("jobs") {
        None => config.jobs = 1,
        Some(jobs) if config.jobs != 1 => {
            jobs.error(
                "with `scope: runner` the whole machine is one job's; write `jobs: 1`, or `scope: job`".to_owned(),
            );
        }
        Some(_) => {}
    }
}

/// An absolute path.
fn path(fields: &Fields, key: &str) -> Option<PathBuf> {
    let cursor = fields.get(key)?;
    let text = cursor.text()?;
    if !text.starts_with('/') {
        cursor.error(format!("{text:?} is no absolute path; write it whole, as in \"/run/runner-agent\""));
        return None;
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Provider, ReleaseRules};

    fn problems(text: &str) -> Vec<String> {
        let problems = parse(Path::new("config.yml"), text.as_bytes()).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_left_out_is_where_a_package_puts_it() {
        assert_eq!(parse(Path::new("c"), b"version: 1\n").unwrap(), DaemonConfig::default());
    }

    #[test]
    fn every_key_is_read() {
        let text = "version: 1\nsocket: /a/s\npolicies: /a/p\nfloor: /a/f.yml\nlogs: /a/l\nstate: /a/r\npins: /a/b\nspool: /a/w\n\
                    tier: tracing\nhooks: lsm\nscope: job\njobs: 7\non-end: { leftovers: keep }\nowner: 1001\nmetrics-file: /a/m.prom\n\
                    trust: { believe: [github, gitlab], protected: 'release/*', internal-pull-requests: true, \
                    release: { tags: ['v*'], environments: [], events: [] } }\n";
        let wanted = DaemonConfig {
            socket: "/a/s".into(),
            policies: "/a/p".into(),
            floor: Some("/a/f.yml".into()),
            logs: "/a/l".into(),
            state: "/a/r".into(),
            pins: Some("/a/b".into()),
            tier: WantedTier::Tracing,
            hooks: WantedHooks::Lsm,
            scope: Scope::Job,
            jobs: 7,
            leftovers: Leftovers::Keep,
            owner: Some(1001),
            metrics_file: Some("/a/m.prom".into()),
            trust: TrustRules {
                believe: [Provider::Github, Provider::Gitlab].into(),
                protected: vec!["release/*".to_owned()],
                internal_pull_requests: true,
                release: ReleaseRules { tags: vec!["v*".to_owned()], ..ReleaseRules::default() },
                ..TrustRules::default()
            },
            sinks: Vec::new(),
            spool: Some("/a/w".into()),
        };
        assert_eq!(parse(Path::new("c"), text.as_bytes()).unwrap(), wanted);
    }

    #[test]
    fn the_whole_runner_is_one_jobs_and_who_is_exempt_is_said_by_the_floor() {
        let config = parse(Path::new("c"), b"version: 1\nscope: runner\nfloor: /a/f.yml\n").unwrap();
        assert_eq!((config.scope, config.jobs), (Scope::Runner, 1));
        let told = problems("version: 1\nscope: runner\njobs: 2\n");
        assert!(told.iter().any(|problem| problem.contains(":2:") && problem.contains("needs a `floor`")), "{told:#?}");
        assert!(told.iter().any(|problem| problem.contains(":3:") && problem.contains("write `jobs: 1`")), "{told:#?}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_place() {
        let told = problems(
            "socket: run/s\ntier: deep\njobs: 61\nowner: runner\non-end: { leftovers: kill }\npolicy: /p\nhooks: lsm\n",
        );
        assert_eq!(told.len(), 8, "{told:#?}");
        for (line, part) in [
            (1, "has no `version`"),
            (1, "is no absolute path"),
            (2, "is not one of auto, tracepoint, tracing"),
            (3, "a number from 1 to 60"),
            (4, "a number from 0"),
            (5, "is not one of end, keep"),
            (6, "did you mean \"policies\"?"),
            (7, "write `tier: tracing` beside it"),
        ] {
            let is_told = told.iter().any(|problem| problem.contains(part) && problem.contains(&format!(":{line}:")));
            assert!(is_told, "{part}: {told:#?}");
        }
    }
}
