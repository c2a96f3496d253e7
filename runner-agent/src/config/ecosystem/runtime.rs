//! This machine: its environment, its files, its programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Ecosystem, Resolved, Surroundings, apt, cargo, github, npm, pip};
use crate::policy::secret::Place;

/// Configuration files are small; what is larger is none.
const MAX_BYTES: u64 = 1024 * 1024;
/// Home directories that `~` stands for at most.
const MAX_HOMES: usize = 16;

/// What is asked about the runner, all of it given, so that a test can make one up.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Environment variables.
    pub vars: BTreeMap<String, String>,
    /// Home directory of the user whose jobs run.
    pub home: PathBuf,
    /// Where programs are looked for, in order; empty means that none is run.
    pub path: Vec<PathBuf>,
    /// What stands for `/` before `/etc/…`.
    pub root: PathBuf,
    /// Where includes other than `presets/…` lie.
    pub policy_dir: Option<PathBuf>,
    /// Directories that the job's code lies in.
    pub workspaces: Vec<PathBuf>,
    /// How long one program may take.
    pub timeout: Duration,
}

impl Runtime {
    /// This machine, for these policy files: where their includes lie, if not where it was said.
    ///
    /// `policy check`, `policy explain` and `run` must agree about that, or a policy that passes one fails the other.
    #[must_use]
    pub fn including(&self, asked: Option<&Path>, files: &[PathBuf]) -> Self {
        let beside = files.first().and_then(|file| file.parent());
        let directory =
            asked.or(beside).filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { policy_dir: Some(directory.to_owned()), ..self.clone() }
    }

    /// The machine this runs on, with the environment of this process.
    ///
    /// The workspaces are what CI systems name in the environment; a caller that knows better sets them.
    pub fn from_env() -> Self {
        let vars = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::of(vars, fs::metadata("/proc/self").map(|own| own.uid()).ok())
    }

    /// The same with the environment of another process of this machine, and of that user.
    pub fn of(vars: BTreeMap<String, String>, user: Option<u32>) -> Self {
        let path = vars.get("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
        let workspaces = ["GITHUB_WORKSPACE", "CI_PROJECT_DIR", "BUILDKITE_BUILD_CHECKOUT_PATH", "WORKSPACE"]
            .iter()
            .filter_map(|key| vars.get(*key))
            .filter(|value| value.starts_with('/') && value.len() > 1)
            .map(PathBuf::from)
            .collect();
        let home = vars.get("HOME").filter(|home| home.starts_with('/')).map(PathBuf::from);
        let mut runtime = Self {
            home: home.clone().unwrap_or_default(),
            path,
            root: "/".into(),
            policy_dir: None,
            workspaces,
            timeout: Duration::from_secs(2),
            vars,
        };
        if home.is_none() {
            let account = runtime.accounts().into_iter().find(|(uid, _)| Some(*uid) == user);
            runtime.home = account.map_or_else(|| "/nonexistent".into(), |(_, home)| home.into());
        }
        runtime
    }

    /// User id and home directory of root and of those accounts that people and jobs have; not of services.
    fn accounts(&self) -> Vec<(u32, String)> {
        let text = text(&self.system("/etc/passwd"), &mut Resolved::default()).unwrap_or_default();
        let account = |line: &str| {
            let mut fields = line.split(':').skip(2);
            let uid: u32 = fields.next()?.parse().ok()?;
            let home = fields.nth(2)?.to_owned();
            let person = uid == 0 || (1000..65534).contains(&uid);
            (person && home.len() > 1).then_some((uid, home))
        };
        text.lines().filter_map(account).collect()
    }

    /// A variable that is set and not empty.
    pub(super) fn var(&self, key: &str) -> Option<&str> {
        self.vars.get(key).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// A file under `/`, by its absolute path.
    pub(super) fn system(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The files of a directory with one of these endings, by name.
    pub(super) fn files_in(&self, directory: &str, endings: &[&str]) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.system(directory)) else {
            return Vec::new();
        };
        let fits = |path: &PathBuf| path.extension().map_or("", |ending| ending.to_str().unwrap_or("?")).to_owned();
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| endings.contains(&fits(path).as_str()))
            .collect();
        files.sort();
        files
    }
}

/// The text of a file; `None` if there is none. A file that is there and can't be read is a warning.
pub(super) fn text(path: &Path, resolved: &mut Resolved) -> Option<String> {
    let read = || -> std::io::Result<Option<String>> {
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    };
    match read() {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => None,
        Err(error) => {
            resolved.warnings.push(format!("{} can't be read ({error}); what it names is left out", path.display()));
            None
        }
    }
}

impl Surroundings for Runtime {
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved {
        match ecosystem {
            Ecosystem::Npm => npm::hosts(self),
            Ecosystem::Pip => pip::hosts(self),
            Ecosystem::Cargo => cargo::hosts(self),
            Ecosystem::Apt => apt::hosts(self),
            Ecosystem::Github => github::hosts(self),
        }
    }

    fn proxies(&self) -> Resolved {
        let mut resolved = Resolved::default();
        for key in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            if let Some(value) = self.var(key) {
                // Programs take a proxy without a scheme as http.
                let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
                resolved.add(&url, key);
            }
        }
        resolved
    }

    fn resolvers(&self) -> Vec<IpAddr> {
        let text = text(&self.system("/etc/resolv.conf"), &mut Resolved::default()).unwrap_or_default();
        let mut found = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("nameserver")
                && let Some(address) = words.next().and_then(|word| word.split('%').next()?.parse().ok())
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
        found
    }

    fn place(&self) -> Place {
        let mut homes = Vec::new();
        let mut add = |home: &str| {
            let home = home.trim_end_matches('/');
            // Patterns are written out once for each home; a machine with many users is no ephemeral runner.
            if home.starts_with('/') && homes.len() < MAX_HOMES && !homes.iter().any(|known| known == home) {
                homes.push(home.to_owned());
            }
        };
        add(&self.home.to_string_lossy());
        // The home directory inside GitHub's job containers.
        add("/github/home");
        for (_, home) in self.accounts() {
            add(&home);
        }
        let workspaces = self.workspaces.iter().map(|path| path.to_string_lossy().trim_end_matches('/').to_owned());
        Place { homes, workspaces: workspaces.collect() }
    }

    fn policy_dir(&self) -> Option<&Path> {
        self.policy_dir.as_deref()
    }
}
