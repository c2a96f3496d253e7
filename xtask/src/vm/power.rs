//! A guest that loses its power in the midst of a job, and is started again with the disk that it had.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};

use super::frame::Frame;
use super::kernels::{self, Kernel};
use super::machine::{End, Outcome};
use super::whole::Whole;
use super::{Built, Options, build, in_guest, tail, test_run};
use crate::step;

const NAME: &str = "guest: loss of power in the midst of a job";

/// The test binary, and what its first half says when it is ready.
const BINARY: &str = "sinks";
const NOW: &str = "the power may fail now";

/// Size of the disk, in MiB: a log and a spool of some seconds.
const DISK_MIB: u64 = 64;

/// The two halves in two boots of one machine.
pub fn loses_power() -> Whole {
    Whole::new(NAME, "cargo xtask vm --power-loss", |say| hold(say).map(|()| None))
}

fn hold(say: &mut dyn Write) -> Result<()> {
    let disk = tempfile::NamedTempFile::with_prefix("runner-agent-disk-").context("a file for a guest's disk")?;
    disk.as_file().set_len(DISK_MIB << 20)?;
    step::run("making a file system", Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.path()))?;
    lose_power(disk.path(), say)
}

fn lose_power(disk: &Path, say: &mut dyn Write) -> Result<()> {
    let words = ["6.12", "--tier", "tracing", "--disk", disk.to_str().context("temporary files have plain names")?];
    let options = test_run::options(words)?;
    let kernel = kernels::get(kernels::series("6.12")?, options.target(), false)?;
    let built = build(options.target())?;
    let (_, program) = built.tests.iter().find(|(name, _)| name == BINARY).context("cargo built the tests of sinks")?;
    let half = |name: &str| {
        let program = program.to_str().context("paths of the build are text")?;
        Ok::<_, anyhow::Error>([program, "--exact", name].map(str::to_owned).into())
    };
    let fails = Arc::new(AtomicBool::new(false));
    let (first, said) = boot(&options, &kernel, &built, half("power::before")?, &fails, Some(NOW))?;
    ensure!(first.end == End::Stopped, "the first half ended before the power failed: {:?}\n{said}", first.end);
    let stop = step::stop_flag()?;
    let (second, said) = boot(&options, &kernel, &built, half("power::after")?, &stop, None)?;
    say.write_all(said.as_bytes())?;
    if second.end != End::Done || !said.contains("test result: ok. 1 passed") || said.contains("needs-guest") {
        bail!("the second half: {:?}\n{}", second.end, tail(&second.console));
    }
    Ok(())
}

/// Boots the machine for one half of the test; the power fails once that is said.
fn boot(
    options: &Options,
    kernel: &Kernel,
    built: &Built,
    half: Vec<String>,
    stop: &Arc<AtomicBool>,
    fails_at: Option<&str>,
) -> Result<(Outcome, String)> {
    let mut said = String::new();
    let outcome = in_guest(options, kernel, built, None, vec![half], stop, |frame| match frame {
        Frame::Output(bytes) => {
            said.push_str(&String::from_utf8_lossy(&bytes));
            if fails_at.is_some_and(|word| said.contains(word)) {
                stop.store(true, Ordering::Relaxed);
            }
        }
        Frame::Report(text) => said.push_str(&text),
        _ => {}
    })?;
    Ok((outcome, said))
}
