//! What a job that is root may try against the agent, the runner and the kernel: each attempt is denied, or found, or
//! claimed to be missed, and none is silent.
//!
//! Not libtest's harness, because attempts share agents, and because their table is what one wants to read: `cargo xtask
//! test tamper`. Its first lines are in libtest's form, so that `cargo xtask test` can count them.

mod attempt;
mod attempts;
mod proof;
mod session;
mod state;
mod table;

use std::process::ExitCode;

use attempt::Attempt;

/// The helper that acts inside jobs.
const ACT: &str = env!("CARGO_BIN_EXE_act");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // As libtest takes them: whatever any of them asks for.
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |attempt: &&Attempt| {
        let name = format!("tamper::{}", attempt.name);
        filters.is_empty() || filters.iter().any(|filter| name.contains(&**filter))
    };
    let chosen: Vec<&Attempt> = attempts::GROUPS.iter().flat_map(|group| group.iter()).filter(wanted).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        table::list(&chosen);
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = end_to_end::host::missing() {
        table::all_missing(&chosen, &reason);
        return ExitCode::SUCCESS;
    }
    match proof::run(&chosen) {
        Ok(proof) if table::print(&chosen, &proof) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(reason) => {
            table::all_broken(&chosen, &reason);
            ExitCode::FAILURE
        }
    }
}
