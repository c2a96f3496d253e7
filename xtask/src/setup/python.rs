//! Python's packages, each set in an environment of its own below the target directory: a distribution's Python takes nothing
//! from outside any more. Names and versions are pinned; where they come from is the machine's own configuration.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::packages::Packages;
use crate::step;

/// A set of packages.
pub struct Environment {
    pub name: &'static str,
    /// Package and version.
    pub packages: &'static [(&'static str, &'static str)],
}

impl Environment {
    /// A program of it, whether or not it is there yet.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        Ok(self.folder()?.join("bin").join(name))
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(step::target_dir()?.join("tools").join(self.name))
    }

    /// Each package in its version, as pip would write it.
    fn pinned(&self) -> impl Iterator<Item = String> {
        self.packages.iter().map(|(name, version)| format!("{name}=={version}"))
    }

    /// What is there, when it is what is wanted.
    pub fn look(&self) -> Result<String> {
        let mut pip = Command::new(self.program("pip")?);
        let frozen = step::output(pip.args(["--disable-pip-version-check", "freeze"]).stdin(Stdio::null()))
            .with_context(|| format!("{} is missing", self.name))?;
        let there: Vec<String> = frozen.lines().map(plain).collect();
        if let Some(missing) = self.pinned().find(|wanted| !there.contains(&plain(wanted))) {
            bail!("{missing} is wanted in {}, and isn't there", self.name);
        }
        Ok(self.pinned().collect::<Vec<_>>().join(", "))
    }

    /// Makes it anew.
    pub fn supply(&self, packages: &mut Packages) -> Result<()> {
        let folder = self.folder()?;
        // One that was begun and not finished would be taken as it is.
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        if !step::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
            packages.install(&["python3-venv"])?;
        }
        step::output(Command::new("python3").args(["-m", "venv"]).arg(&folder).stdin(Stdio::null()))?;
        let mut pip = Command::new(self.program("pip")?);
        pip.args(["--quiet", "--disable-pip-version-check", "install"]).args(self.pinned()).stdin(Stdio::null());
        step::run(format_args!("installing {} from Python's packages", self.name), &mut pip)
    }
}

/// Names of packages mean the same in either case and with `-`, `_` or `.`, and what is asked for besides doesn't count.
fn plain(pinned: &str) -> String {
    let (name, version) = pinned.split_once("==").unwrap_or((pinned, ""));
    // `[…]` asks for what the package may do without; pip lists that by itself.
    let name = name.split('[').next().unwrap_or(name);
    format!("{}=={version}", name.to_ascii_lowercase().replace(['_', '.'], "-"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_packages_name_may_be_written_in_several_ways() {
        assert_eq!(super::plain("OCSF_json.schema==1.2.0"), super::plain("ocsf-json-schema==1.2.0"));
        assert_eq!(super::plain("a[json]==1.2"), super::plain("a==1.2"));
        assert_ne!(super::plain("a==1.2"), super::plain("a==1.3"));
    }
}
