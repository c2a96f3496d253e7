//! The `runner-agent` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runner_agent::cli::policy::{self, PolicyArgs};

/// eBPF agent for ephemeral CI runners.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check policies, write their schema.
    Policy(PolicyArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Policy(args) => policy::run(&args, &mut std::io::stdout().lock()),
    }
}
