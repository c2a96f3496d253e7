//! The project's own commands: one module for each, no shell scripts.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "these commands talk to the person who runs them")]

mod step;
mod target;
mod setup;
mod tidy;
mod action;
mod build;
mod check;
mod suite;
mod test;
mod demo;
mod bench;
mod vm;
mod package;
mod sinks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What working on runner-agent takes", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what the kernel side, the tests and the demo need
    Setup(setup::Options),
    /// Build the runner-agent binary, kernel side included
    Build(build::Options),
    /// The quick loop: format, clippy on both targets, unit tests, tidy
    Check,
    /// The project's own rules: file length, module order, who names what, words that stay out
    Tidy,
    /// Everything CI runs, with a table of what ran, what failed and what could not run here
    Test(test::Options),
    /// A real build under the agent, with one planted bad dependency
    Demo(demo::Options),
    /// What the agent costs: baseline and agent interleaved
    Bench(bench::Options),
    /// The end-to-end tests on other kernels, in guests; or one command in one guest: `vm 6.1 -- COMMAND`
    Vm(Box<vm::Options>),
    /// The Debian package of the static binary, and whether it is what it should be
    Package(package::Options),
    /// The inside of such a guest
    #[command(hide = true)]
    VmGuest(vm::guest::Options),
    /// The drop host of the demo, inside its namespace
    #[command(hide = true)]
    DemoDropHost(demo::drop_host::Options),
    /// One load of the benchmark, in this process
    #[command(hide = true)]
    BenchLoad(bench::load::Options),
    /// One load of the benchmark of block mode, in this process
    #[command(hide = true)]
    BenchBlockLoad(bench::block::load::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup(options) => setup::run(&options),
        Task::Build(options) => build::run(&options),
        Task::Check => check::run(),
        Task::Tidy => tidy::run(),
        Task::Test(options) => test::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::Package(options) => package::run(&options),
        Task::VmGuest(options) => vm::guest::run(&options),
        Task::DemoDropHost(options) => demo::drop_host::run(&options),
        Task::BenchLoad(options) => bench::load::run(&options),
        Task::BenchBlockLoad(options) => bench::block::load::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
