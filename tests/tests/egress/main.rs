//! The proof of egress rules: each technique in a forbidden form that must not get out, beside an allowed one that must.
//!
//! Not libtest's harness, because attempts share agents and namespaces, and because their table is what one wants to
//! read: `cargo xtask test egress`. Its first lines are in libtest's form, so that `cargo xtask test` can count them.
//! With `--nobody` the jobs have no privilege.

mod attempt;
mod attempts;
mod bound;
mod proof;
mod session;
mod table;

use std::process::ExitCode;

use attempt::Attempt;
use session::User;

/// The helper that acts inside jobs.
const ACT: &str = env!("CARGO_BIN_EXE_act");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with("--")).map(String::as_str);
    let all = attempts::GROUPS.iter().flat_map(|group| group.iter()).enumerate();
    let chosen: Vec<(usize, &Attempt)> =
        all.filter(|(_, attempt)| filter.is_none_or(|filter| attempt.name.contains(filter))).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        table::list(&chosen, filter);
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = end_to_end::host::missing() {
        table::all_missing(&chosen, &reason);
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    let user = if arguments.iter().any(|argument| argument == "--nobody") { User::Nobody } else { User::Root };
    if table::print(&chosen, &proof::run(&chosen, user), filter) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
