//! A package of npm's, in a folder of its own below the target directory. Name and version are pinned; where it comes from is the
//! machine's own configuration.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::step;

/// A package.
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
}

impl Package {
    /// The folder that holds its `node_modules`, whether or not it is there yet.
    pub fn folder(&self) -> Result<PathBuf> {
        Ok(step::target_dir()?.join("tools/npm").join(self.name))
    }

    /// What is there, when it is what is wanted.
    pub fn look(&self) -> Result<String> {
        let described = self.folder()?.join("node_modules").join(self.name).join("package.json");
        let text = fs::read_to_string(&described).with_context(|| format!("{} is missing", self.name))?;
        let described: serde_json::Value = serde_json::from_str(&text).context("its package.json")?;
        if described["version"] != self.version {
            bail!("{} is {}, and {} is wanted", self.name, described["version"], self.version);
        }
        Ok(format!("{} {}", self.name, self.version))
    }

    /// Makes it anew.
    pub fn supply(&self) -> Result<()> {
        let folder = self.folder()?;
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&folder);
        npm.arg(format!("{}@{}", self.name, self.version)).stdin(Stdio::null());
        step::run(format_args!("installing {} from npm", self.name), &mut npm)
    }
}
