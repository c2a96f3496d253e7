//! The command line, one file per subcommand.

mod clock;
mod daemon;
mod doctor;
mod events;
mod generate;
mod job;
pub mod policy;
mod run;
mod verify;
mod sending;
mod sink;
mod words;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::thread::CapabilitySet;

use crate::agent::launch::{self, Confinement};
use crate::report::style::Style;

/// Exit code for a command line or a policy that is not right.
pub const USAGE: u8 = 2;

/// eBPF agent for ephemeral CI runners: records what a job runs, reads and reaches, and checks it against a policy.
#[derive(Debug, Parser)]
#[command(name = "runner-agent", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Say more about the agent itself on standard error; twice for everything [also: RUNNER_AGENT_LOG].
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command as one job: watch it, stream findings, end with a summary.
    Run(run::RunArgs),
    /// Serve a runner's jobs: what its image starts.
    Daemon(daemon::DaemonArgs),
    /// Begin and end a job of the daemon's, and ask about them: what runner hooks and the Action call.
    Job(job::JobArgs),
    /// Read an event log as a person would.
    Events(events::EventsArgs),
    /// Say whether a log, a receipt and a statement are as an agent wrote them.
    Verify(verify::VerifyArgs),
    /// Everything about a policy that needs no kernel.
    Policy(policy::PolicyArgs),
    /// Try the sinks of a configuration: who is sent what jobs did.
    Sink(sink::SinkArgs),
    /// Say what this kernel and this runner can do, what is lost without it, and what to do about it.
    Doctor(doctor::DoctorArgs),
    /// Write a completion script for a shell.
    Completions(generate::CompletionsArgs),
    /// Write the manual pages.
    Man(generate::ManArgs),
    /// Join a cgroup and become a command; `run` starts it.
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        cgroup: PathBuf,
        /// Close network sockets that were inherited.
        #[arg(long)]
        close_sockets: bool,
        /// Capabilities to give up for good, as the kernel's bits.
        #[arg(long, default_value_t = 0)]
        without: u64,
        /// Score for the out-of-memory killer.
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        oom_score: i32,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Look after a job whose agent is gone; the next start of an agent starts it.
    #[command(hide = true)]
    Keep {
        #[arg(long)]
        state: PathBuf,
        /// The configuration that has the sinks.
        #[arg(long)]
        config: Option<PathBuf>,
        name: String,
    },
    /// Do what a job does, once; the agent's self-check starts it.
    #[command(hide = true)]
    SelfCheck {
        canary: PathBuf,
        /// A loopback port that must be refused.
        #[arg(long)]
        closed: Option<u16>,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are results, the rest is usage; clap knows which.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(arguments.verbose);
    let mut out = std::io::stdout();
    let result = match arguments.command {
        Command::Run(args) => Ok(run::run(args)),
        Command::Daemon(args) => Ok(daemon::run(&args)),
        Command::Job(args) => job::run(args, &mut out.lock()),
        Command::Events(args) => events::run(&args, &mut out.lock()),
        Command::Verify(args) => verify::run(&args, &mut out.lock()),
        Command::Policy(args) => policy::run(&args, &mut out.lock()),
        Command::Sink(args) => sink::run(&args, &mut out.lock()),
        Command::Doctor(args) => doctor::run(&args, &mut out.lock()),
        Command::Completions(args) => generate::completions(&args, &mut out.lock()),
        Command::Man(args) => generate::man(&args, &mut out.lock()),
        Command::Launch { cgroup, close_sockets, without, oom_score, command } => {
            let without = CapabilitySet::from_bits_truncate(without);
            let confinement = Confinement { close_sockets, without, oom_score };
            let (code, message) = launch::launch(&cgroup, &command, confinement);
            complain(&message);
            Ok(ExitCode::from(code))
        }
        Command::Keep { state, config, name } => Ok(run::keep(state, name, config.as_deref())),
        Command::SelfCheck { canary, closed } => Ok(match crate::agent::act_as_child(&canary, closed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        }),
    };
    match result {
        Ok(code) => {
            let _ = out.flush();
            code
        }
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(USAGE)
        }
    }
}

/// One line on standard error, from the agent.
fn complain(message: &impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "runner-agent: {message}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The agent's own messages; what a job does goes to sinks and never here.
fn log_to_stderr(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let by_count = ["warn,async_nats=off", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("RUNNER_AGENT_LOG").unwrap_or_else(|_| EnvFilter::new(by_count));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Style::for_stderr().is_coloured())
        .with_target(false)
        .without_time()
        .try_init();
}
