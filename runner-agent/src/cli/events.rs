//! `events`.
use std::io::Write;
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub struct EventsArgs {}
pub fn run(_: &EventsArgs, _: &mut impl Write) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
