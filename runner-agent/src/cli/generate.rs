//! `completions` and `man`: made from the command line's own description.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Arguments;

/// What `completions` is told.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell.
    shell: Shell,
}

/// What `man` is told.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page for each command into this directory, instead of the main page to standard output.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// Writes a completion script.
pub fn completions(args: &CompletionsArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    // Into memory first: clap_complete panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "runner-agent", &mut script);
    out.write_all(&script).context("writing the completion script")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes manual pages.
pub fn man(args: &ManArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let command = Arguments::command();
    match &args.out_dir {
        Some(directory) => {
            std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
            clap_mangen::generate_to(command, directory)
                .with_context(|| format!("writing manual pages to {}", directory.display()))?;
        }
        None => clap_mangen::Man::new(command).render(out).context("writing the manual page")?,
    }
    Ok(ExitCode::SUCCESS)
}
