//! `doctor`.
use std::io::Write;
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {}
pub fn run(_: &DoctorArgs, _: &mut impl Write) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
