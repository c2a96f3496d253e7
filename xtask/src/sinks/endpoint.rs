//! `real.py`: an endpoint on the loopback that goes with its handle, and readers of what others have stored.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::{setup, step};

/// Comes with this program, so that the two can't drift apart.
const SCRIPT: &str = include_str!("real.py");

/// What one of its acts printed.
pub fn python(act: &str, what: impl AsRef<OsStr>) -> Result<String> {
    step::output(command(act, what.as_ref())?.stdin(Stdio::null()))
}

fn command(act: &str, what: &OsStr) -> Result<Command> {
    let mut python = Command::new(setup::receivers::python()?);
    python.args(["-c", SCRIPT, act]).arg(what).current_dir(step::root());
    Ok(python)
}

/// OTLP/HTTP and webhooks.
pub struct Endpoint {
    child: Child,
    pub port: u16,
}

impl Endpoint {
    /// Starts it; what it takes goes to a folder.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut python = command("serve", folder.as_os_str())?;
        let mut child =
            python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("python can't be started")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let mut started = Self { child, port: 0 };
        // It says its port when it listens.
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("the endpoint's port")?;
        started.port = line.trim().parse().with_context(|| format!("the endpoint's port: {line:?}"))?;
        Ok(started)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // It is ours by its handle; that it is gone already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
