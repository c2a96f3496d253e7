//! What `run`, `daemon` and `sink` have in common where sinks are configured: reading it, the folder of the spool, and what is
//! said of what was not delivered.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{USAGE, complain};
use crate::agent;
use crate::config::daemon::{self, DaemonConfig};
use crate::sink::{Deliveries, Drained};

/// Folder of the spool below a state folder.
const SPOOL: &str = "spool";

/// Reads a configuration; what is wrong with it was told when there is none.
pub(super) fn configuration(file: &Path, then: &str) -> Result<DaemonConfig, ExitCode> {
    daemon::read(file).map_err(|problems| {
        problems.iter().for_each(complain);
        complain(&format!("the configuration is not right; {then}"));
        ExitCode::from(USAGE)
    })
}

/// Starts the sinks of a configuration, which was read from that file.
pub(super) fn start(config: &DaemonConfig, file: &Path, state: Option<&Path>) -> Result<Deliveries, String> {
    if config.sinks.is_empty() {
        return Ok(Deliveries::default());
    }
    let folder = match &config.spool {
        Some(folder) => folder.clone(),
        None => folder(state)?,
    };
    Ok(Deliveries::start(&config.sinks, &folder)?.configured_in(file))
}

/// The same for an agent that goes on with another's jobs and has nobody to complain to.
pub(super) fn again(file: &Path, state: &Path) -> Result<Deliveries, String> {
    let config = daemon::read(file).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    })?;
    start(&config, file, Some(state))
}

/// Where the spool is: below the state folder, or, where nobody named one and the usual one can't be written to, in a temporary
/// one.
fn folder(state: Option<&Path>) -> Result<PathBuf, String> {
    let usual = agent::default_runtime();
    let wanted = state.unwrap_or(&usual).join(SPOOL);
    let make = |folder: &Path| DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let writable =
        |folder: &Path| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(std::io::Error::from);
    match make(&wanted).and_then(|()| writable(&wanted)) {
        Ok(()) => Ok(wanted),
        Err(error) if state.is_some() => {
            Err(format!("can't keep what sinks are to deliver in {}: {error}", wanted.display()))
        }
        Err(_) => {
            let own =
                std::env::temp_dir().join(format!("runner-agent-{}-{}", std::process::id(), super::clock::boot_ns()));
            // Not recursive: if it is there, somebody else made it.
            let created = DirBuilder::new().mode(0o700).create(&own);
            created.map(|()| own.clone()).map_err(|error| format!("can't make {}: {error}", own.display()))
        }
    }
}

/// What was not delivered, in a sentence.
pub(super) fn in_words(drained: &Drained) -> String {
    let Drained { sink, left, file, spool, why } = drained;
    let file = file.as_ref().map(|file| format!(" {} has them;", file.display())).unwrap_or_default();
    let they = if *left == 1 { "1 notice was" } else { &format!("{left} notices were") };
    format!("{they} not delivered to {sink} ({why});{file} the next agent sends what waits in {}", spool.display())
}
