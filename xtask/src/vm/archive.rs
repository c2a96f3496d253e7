//! Debian's packages, fetched by name from the archive that this machine is configured with, unpacked into a cache outside the
//! repository and never installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};

use crate::step;
use crate::target::Target;

/// Names the cache's folder.
const CACHE: &str = "RUNNER_AGENT_KERNELS";
/// Names Debian's archive on machines that have another distribution.
const ARCHIVE: &str = "RUNNER_AGENT_DEBIAN_ARCHIVE";
/// Debian's keys, where the package `debian-archive-keyring` puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where what was fetched lies.
pub fn cache() -> Result<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = "runner-agent/kernels";
    let path = named(CACHE)
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join(own)))
        .or_else(|| named("HOME").map(|home| home.join(".cache").join(own)))
        .with_context(|| format!("no folder for kernels: neither {CACHE} nor HOME is set"))?;
    Ok(std::path::absolute(path)?)
}

/// apt with lists, sources and cache of its own, so that the machine's package state stays as it is.
pub struct Apt<'a> {
    folder: &'a Path,
    architecture: &'static str,
}

impl<'a> Apt<'a> {
    /// One that knows what a suite has for an architecture, and works in that folder.
    pub fn of(folder: &'a Path, suite: &str, target: &'static Target) -> Result<Self> {
        eprintln!("── asking for packages of Debian {suite} for {} by name", target.debian);
        for name in ["lists/partial", "archives/partial", "packages"] {
            fs::create_dir_all(folder.join(name)).context("the cache of packages")?;
        }
        let apt = Self { folder, architecture: target.debian };
        fs::write(folder.join("sources.list"), source(&archive()?, suite, Path::new(KEYRING).is_file()))?;
        step::output(apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// One of apt's programs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.folder.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("")),
            // What this machine has installed may be of a version that the suite doesn't have.
            "Dir::State::status=/dev/null".to_owned(),
            // Both: the list of them is the machine's own otherwise, and its lists would be fetched too.
            format!("APT::Architecture={}", self.architecture),
            format!("APT::Architectures={}", self.architecture),
            // Without this, root's downloads are made by a user that can't write to root's cache.
            "APT::Sandbox::User=root".to_owned(),
            // Nothing but the package lists is needed.
            "Acquire::Languages=none".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.arg("-q").stdin(Stdio::null()).env("LC_ALL", "C");
        command
    }

    /// Fetches packages and unpacks them into `root` of the folder, which is swapped in only when all are there and `is_whole`.
    pub fn unpack(&self, packages: &[String], is_whole: impl Fn(&Path) -> Result<()>) -> Result<()> {
        let folder = self.folder;
        let new = folder.join("new");
        for stale in [&new, &folder.join("packages")] {
            let _ = fs::remove_dir_all(stale);
            fs::create_dir_all(stale)?;
        }
        let mut download = self.command("apt-get");
        step::output(download.arg("download").args(packages).current_dir(folder.join("packages")))?;
        for package in fs::read_dir(folder.join("packages"))? {
            step::output(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&new))?;
        }
        is_whole(&new)?;
        let root = folder.join("root");
        let _ = fs::remove_dir_all(&root);
        fs::rename(&new, &root).context("what was unpacked")?;
        // Unpacked, they are needed no more; the lists are large and would be stale.
        for done in ["packages", "archives", "lists"] {
            let _ = fs::remove_dir_all(folder.join(done));
        }
        Ok(())
    }
}

/// Where this machine takes Debian's packages from; a mirror of its own stays one.
fn archive() -> Result<String> {
    if let Ok(archive) = env::var(ARCHIVE) {
        return Ok(archive);
    }
    let format = "$(ORIGIN)|$(LABEL)|$(SITE)";
    let text =
        step::output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    archive_in(&text).with_context(|| format!("this machine has no Debian archive configured; {ARCHIVE} names one"))
}

/// The first whose origin and label are Debian's own: that of the security team has another label.
fn archive_in(targets: &str) -> Result<String> {
    targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian|Debian|"))
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("no package list is Debian's"))
}

fn source(archive: &str, suite: &str, with_keyring: bool) -> String {
    let options = if with_keyring { format!("[signed-by={KEYRING}] ") } else { String::new() };
    format!("deb {options}{archive} {suite} main\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_debians_own_and_not_its_security_teams() {
        let targets =
            "Debian|Debian-Security|http://mirror.example/security\nDebian|Debian|http://mirror.example/main\n";
        assert_eq!(archive_in(targets).unwrap(), "http://mirror.example/main");
        assert!(archive_in("Other|Debian|http://mirror.example/other\n").is_err());
        assert_eq!(source("http://mirror.example/main", "sid", false), "deb http://mirror.example/main sid main\n");
    }
}
