//! `job`: what runner hooks and the Action call.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::run::FOUND;
use super::words::{FailOn, ModeArg};
use super::{USAGE, complain};
use crate::control::{GivenPolicy, Request, SCHEMA, ask};

/// What `job` is told.
#[derive(Debug, Args)]
pub struct JobArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Begin a job: what its worker does from here on is recorded and held to its policy.
    Start {
        #[command(flatten)]
        to: To,
        /// What to do when the job can't be watched as asked: end with 125, or warn and end with 0.
        #[arg(long, default_value = "fail")]
        on_failure: OnFailure,
        /// Use this mode instead of the policy's; `audit` only where that doesn't block.
        #[arg(long)]
        mode: Option<ModeArg>,
        /// A policy that narrows the machine's; several are combined.
        #[arg(long, value_name = "FILE")]
        policy: Vec<PathBuf>,
        /// The process whose descendants run the job's steps [default: the provider's worker above this process, or else its
        /// parent].
        #[arg(long, value_name = "PID")]
        worker: Option<u32>,
        /// If the caller's job has begun already, say so and end with 0: where hooks and a step both begin it.
        #[arg(long)]
        join: bool,
    },
    /// Say that the job's steps are over, and tell what it did. Its rules stay in force until its worker has ended.
    Stop {
        #[command(flatten)]
        to: To,
        /// The job [default: the one that this process belongs to].
        #[arg(long, value_name = "ID")]
        job: Option<String>,
        /// Tell what the job did so far, and announce nothing: for who did not begin it.
        #[arg(long)]
        only_tell: bool,
        /// End with 3 if there is a finding of at least this severity.
        #[arg(long, value_name = "SEVERITY", default_value = "never")]
        fail_on: FailOn,
    },
    /// Say how the daemon is.
    Status {
        #[command(flatten)]
        to: To,
    },
    /// Say how its jobs are.
    List {
        #[command(flatten)]
        to: To,
    },
    /// Print the daemon's figures as OpenMetrics text; root and the daemon's owner may.
    Metrics {
        #[command(flatten)]
        to: To,
    },
}

#[derive(Debug, Args)]
struct To {
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = "/run/runner-agent/control.sock")]
    socket: PathBuf,
    /// How long to wait for the daemon's answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    deadline: Duration,
    /// How the answer is printed.
    #[arg(long, default_value = "pretty")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Pretty,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailure {
    Fail,
    Warn,
}

/// Asks the daemon, prints what it says.
pub fn run(args: JobArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Start { to, on_failure, mode, policy, worker, join } => {
            let policies = match policy.into_iter().map(given).collect::<Result<Vec<_>, _>>() {
                Ok(policies) => policies,
                Err(message) => {
                    complain(&message);
                    return Ok(ExitCode::from(USAGE));
                }
            };
            let mode = mode.map(|mode| mode.mode().to_string());
            match asked(&to, &Request::Start { mode, policies, worker, join }) {
                Ok(answer) => {
                    print(out, &to, &answer, started)?;
                    Ok(ExitCode::SUCCESS)
                }
                // What was asked for wrongly is no question of the machine's state.
                Err((code, message)) if on_failure == OnFailure::Fail || code == USAGE => {
                    complain(&format!("the job is not watched: {message}"));
                    Ok(ExitCode::from(code))
                }
                Err((_, message)) => {
                    complain(&format!("WARNING: the job is not watched: {message}"));
                    if to.format == Format::Json {
                        let answer = serde_json::json!({ "schema": SCHEMA, "state": "unwatched", "reason": message });
                        writeln!(out, "{answer}")?;
                    }
                    Ok(ExitCode::SUCCESS)
                }
            }
        }
        Action::Stop { to, job, only_tell, fail_on } => match asked(&to, &Request::Stop { job, only_tell }) {
            Ok(answer) => {
                print(out, &to, &answer, |answer| text(answer, "summary").trim_end().to_owned())?;
                Ok(if is_found(&answer, fail_on) { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
            }
            Err((code, message)) => Ok(refused(code, &message)),
        },
        Action::Status { to } => simple(&to, &Request::Status, out, status),
        Action::List { to } => simple(&to, &Request::List, out, list),
        Action::Metrics { to } => {
            simple(&to, &Request::Metrics, out, |answer| text(answer, "metrics").trim_end().to_owned())
        }
    }
}

fn simple(
    to: &To,
    request: &Request,
    out: &mut impl Write,
    words: impl FnOnce(&Value) -> String,
) -> anyhow::Result<ExitCode> {
    match asked(to, request) {
        Ok(answer) => {
            print(out, to, &answer, words)?;
            Ok(ExitCode::SUCCESS)
        }
        Err((code, message)) => Ok(refused(code, &message)),
    }
}

fn refused(code: u8, message: &str) -> ExitCode {
    complain(&message);
    ExitCode::from(code)
}

fn given(path: PathBuf) -> Result<GivenPolicy, String> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(GivenPolicy { name: path, text }),
        Err(error) => Err(format!("{} can't be read: {error}", path.display())),
    }
}

/// The answer, or the exit code and what to say.
fn asked(to: &To, request: &Request) -> Result<Value, (u8, String)> {
    ask(&to.socket, request, to.deadline).map_err(|error| (error.code(), error.to_string()))
}

fn print(out: &mut impl Write, to: &To, answer: &Value, words: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    match to.format {
        Format::Json => writeln!(out, "{answer}")?,
        Format::Pretty => writeln!(out, "{}", words(answer))?,
    }
    Ok(())
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_default()
}

fn started(answer: &Value) -> String {
    format!(
        "{} is watched: mode {}, policy {}, {} ({}); its log is {}",
        text(answer, "job"),
        text(answer, "mode"),
        text(answer, "policy"),
        text(answer, "trust"),
        text(answer, "trust_reason"),
        text(answer, "log"),
    )
}

fn status(answer: &Value) -> String {
    let jobs = answer["jobs"].as_u64().unwrap_or_default();
    format!("ready: version {}, tier {}, {jobs} jobs", text(answer, "version"), text(answer, "tier"))
}

fn list(answer: &Value) -> String {
    let jobs = answer["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = jobs.iter().map(|job| {
        let (id, state) = (text(job, "job"), text(job, "state"));
        let looker = match text(job, "kept_by") {
            "daemon" => format!("worker {}", job["worker"]),
            "keeper" => "with a keeper, since its daemon is gone".to_owned(),
            _ => return format!("{id}  {state}  its daemon is gone and no keeper answers; its rules stay in force"),
        };
        let (mode, policy, processes) = (text(job, "mode"), text(job, "policy"), &job["processes"]);
        format!("{id}  {state}  mode {mode}  policy {policy}  {looker}  {processes} processes")
    });
    if jobs.is_empty() { "no jobs".to_owned() } else { lines.collect::<Vec<_>>().join("\n") }
}

fn is_found(answer: &Value, fail_on: FailOn) -> bool {
    let Some(least) = fail_on.severity() else { return false };
    let findings = answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    findings.iter().any(|found| text(found, "severity").parse::<crate::policy::Severity>().is_ok_and(|it| it >= least))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time in seconds; a number from 0.001 to 3600 is");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.001..=3600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}
