//! The `runner-agent` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    runner_agent::cli::main()
}
