//! The distribution's packages, by name only: where they come from is the machine's own configuration.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::step;

/// Installs packages, and refreshes the lists once before the first.
#[derive(Default)]
pub struct Packages {
    refreshed: bool,
}

impl Packages {
    /// `apt-get install -y NAMES`.
    pub fn install(&mut self, names: &[&str]) -> Result<()> {
        let names_line = names.join(" ");
        if !step::succeeds(Command::new("apt-get").arg("--version")) {
            bail!(
                "there is no apt-get here: install what Debian calls {names_line} with this system's package manager"
            );
        }
        if !step::is_root() {
            bail!("only root can install packages: run `sudo apt-get install -y {names_line}`, then this again");
        }
        self.refresh();
        step::run(
            format_args!("apt-get install -y {names_line}"),
            apt_get().args(["install", "-y", "-q", "--no-install-recommends"]).args(names),
        )
    }

    /// `apt-get update`, once.
    pub fn refresh(&mut self) {
        if !self.refreshed {
            // A list that can't be refreshed may still be good enough; the install says so if it is not.
            if let Err(error) = step::run("refreshing the package lists", apt_get().args(["-qq", "update"])) {
                eprintln!("    {error:#}");
            }
            self.refreshed = true;
        }
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}
