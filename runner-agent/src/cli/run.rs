//! `run`: one command as one job.

mod args;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::boot_ns;
use super::{USAGE, complain, sending};
pub(super) use crate::agent::launch::NOT_ARMED;
use crate::agent::{self, KeepOptions, Outcome, RunError, RunOptions, Sealing};
use crate::config::{self, Recorded, Runtime};
use crate::control::answer_for_keeper;
use crate::identity::{self, Environment, JobIdentity};
use crate::job::Scope;
use crate::kernel::{LoadOptions, procfs};
use crate::ledger::SigningKey;
use crate::policy::Policy;
use crate::record_file::Recorder;
use crate::redact::Redactor;
use crate::report::style::Style;
use crate::sink::json_lines::JsonLines;
use crate::sink::terminal::{Format, Terminal};
use crate::sink::wire::Encoder;
use crate::sink::{Deliveries, Drained, Outbox};
pub use args::RunArgs;
use args::{FormatArg, ScopeArg};

/// Exit code when the command succeeded and what was found or lost is more than was allowed.
pub(super) const FOUND: u8 = 3;

/// Runs the command and returns the exit code; when the command was ended by a signal, so is this process.
pub fn run(args: RunArgs) -> ExitCode {
    let started = Instant::now();
    let (policy, sources) = match policy(&args) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let deliveries = match deliveries(&args) {
        Ok(deliveries) => deliveries,
        Err(code) => return code,
    };
    let encoder = Encoder { boot_ns: boot_ns(), mount_namespace: procfs::own_mount_namespace() };
    let identity = own_identity();
    let sealing = match sealing(&args, encoder, identity.clone()) {
        Ok(sealing) => sealing,
        Err(message) => {
            complain(&message);
            return ExitCode::from(NOT_ARMED);
        }
    };
    let outboxes = match outboxes(&args, encoder, sealing.as_ref()) {
        Ok(outboxes) => outboxes,
        Err(message) => {
            complain(&message);
            return ExitCode::from(NOT_ARMED);
        }
    };
    let recorder = match args.record.as_deref().map(Recorder::create).transpose() {
        Ok(recorder) => recorder,
        Err(error) => {
            let path = args.record.unwrap_or_default();
            complain(&format!("can't write the recording {}: {error}; the command was not started", path.display()));
            return ExitCode::from(NOT_ARMED);
        }
    };
    let options = RunOptions {
        command: args.command.clone(),
        policy,
        load: LoadOptions {
            btf: args.btf.clone(),
            critical_ring_bytes: args.critical_ring * 1024,
            bulk_ring_bytes: args.bulk_ring * 1024,
            tier: args.tier.into(),
            hooks: args.hooks.map(Into::into),
            ..LoadOptions::default()
        },
        scope: match args.scope {
            ScopeArg::Job => Scope::Job,
            ScopeArg::Runner => Scope::Runner,
        },
        redactor: redactor(),
        outboxes,
        deliveries: deliveries.clone(),
        encoder,
        identity,
        recorder,
        started,
        scratch: std::env::temp_dir(),
        runtime: args.state.clone().unwrap_or_else(agent::default_runtime),
        pins: args.pins.clone(),
        log: args.log.as_deref().and_then(|log| std::path::absolute(log).ok()),
        recorded: sources,
        sealing,
    };
    let ran = agent::run(options);
    let drained = deliveries.drain(args.log.as_deref());
    match ran {
        Ok(outcome) => finish(&args, &outcome, &drained),
        Err(error @ RunError::Started(_)) => {
            complain(&error);
            ExitCode::from(NOT_ARMED)
        }
        Err(error) => {
            complain(&format!("not armed, the command was not started: {error}"));
            ExitCode::from(NOT_ARMED)
        }
    }
}

/// Starts the sinks, where there are any.
fn deliveries(args: &RunArgs) -> Result<Deliveries, ExitCode> {
    let Some(file) = &args.config else { return Ok(Deliveries::default()) };
    let config = sending::configuration(file, "the command was not started")?;
    sending::start(&config, file, args.state.as_deref()).map_err(|message| {
        complain(&format!("{message}; the command was not started"));
        ExitCode::from(NOT_ARMED)
    })
}

/// Keeps a job whose agent is gone, to its end. The sinks are those of this configuration.
pub fn keep(runtime: PathBuf, name: String, config: Option<&Path>) -> ExitCode {
    let encoder = Encoder { boot_ns: boot_ns(), mount_namespace: procfs::own_mount_namespace() };
    let redactor = redactor();
    let (config, state) = (config.map(Path::to_owned), runtime.clone());
    let deliveries =
        Box::new(move || config.map_or_else(|| Ok(Deliveries::default()), |file| sending::again(&file, &state)));
    match agent::keep(KeepOptions { runtime, name, encoder, redactor, deliveries, clerk: answer_for_keeper }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(NOT_ARMED)
        }
    }
}

/// Takes out what this process's environment says is secret.
fn redactor() -> Redactor {
    Redactor::with_environment(
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )
}

fn policy(args: &RunArgs) -> Result<(Policy, Recorded), ExitCode> {
    let runtime = Runtime::from_env().including(args.policy_dir.as_deref(), &args.policy);
    let loaded = config::load_recording(&args.policy, &runtime);
    let (mut policy, warnings, sources) = loaded.map_err(|problems| {
        for problem in &problems {
            complain(problem);
        }
        complain(&"the policy is not right; the command was not started");
        ExitCode::from(USAGE)
    })?;
    for warning in &warnings {
        complain(warning);
    }
    if let Some(mode) = args.mode {
        policy.mode = mode.mode();
    }
    Ok((policy, sources))
}

/// Which job this is, by what this process was started with: its caller's word.
fn own_identity() -> Option<JobIdentity> {
    identity::identify(&Environment::from_os(std::env::vars_os()), None).ok()
}

/// What signs the log. One that is no file, such as a pipe, has no receipt beside it.
fn sealing(args: &RunArgs, encoder: Encoder, identity: Option<JobIdentity>) -> Result<Option<Sealing>, String> {
    let Some(log) = args.log.as_deref().and_then(|log| std::path::absolute(log).ok()) else { return Ok(None) };
    let is_file = std::fs::metadata(&log).map_or(true, |there| there.is_file());
    if !is_file && args.receipt.is_none() {
        return Ok(None);
    }
    let key = SigningKey::generate().map_err(|error| format!("{error}; the command was not started"))?;
    let mut sealing = Sealing::beside(&log, Arc::new(key), encoder);
    if let Some(receipt) = &args.receipt {
        sealing.receipt.clone_from(receipt);
        sealing.statement = receipt.with_extension("intoto.json");
    }
    sealing.every = Duration::from_secs(args.checkpoint_every);
    sealing.subjects.clone_from(&args.subject);
    sealing.identity = identity;
    Ok(Some(sealing))
}

fn outboxes(args: &RunArgs, encoder: Encoder, sealing: Option<&Sealing>) -> Result<Vec<Outbox>, String> {
    let format = match args.format {
        FormatArg::Pretty => Format::Pretty,
        FormatArg::Json => Format::Json,
    };
    let terminal = Terminal { format, style: Style::for_stderr(), encoder };
    let cannot = |error| format!("can't start a thread for a sink: {error}");
    let mut outboxes = vec![Outbox::start("terminal", terminal, Terminal::wants).map_err(cannot)?];
    if let Some(path) = &args.log {
        let log = JsonLines::create(path, encoder)
            .map_err(|error| format!("can't write the log {}: {error}; the command was not started", path.display()))?;
        let log = match sealing {
            Some(sealing) => log.signed(sealing.ledger.clone()),
            None => log,
        };
        outboxes.push(Outbox::start(agent::LOG, log, |_| true).map_err(cannot)?);
    }
    Ok(outboxes)
}

fn finish(args: &RunArgs, outcome: &Outcome, drained: &[Drained]) -> ExitCode {
    let is_pretty = matches!(args.format, FormatArg::Pretty);
    if is_pretty {
        let log: Option<&Path> = args.log.as_deref();
        let style = Style::for_stderr();
        let mut text = outcome.summary.render(style, log, outcome.receipt.as_deref());
        for drained in drained {
            let _ = writeln!(text, "{}  {}", style.heading("undelivered "), sending::in_words(drained));
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
    if !is_pretty {
        for drained in drained {
            complain(&sending::in_words(drained));
        }
    }
    if let (Some(log), 1..) = (&args.log, outcome.account.notices_dropped) {
        let missing = outcome.account.notices_dropped;
        complain(&format!("the log {} is not whole: {missing} notices could not be written", log.display()));
    }
    if let Some(reason) = &outcome.disarmed {
        complain(reason);
        return ExitCode::from(NOT_ARMED);
    }
    let Some(status) = outcome.status else { return ExitCode::SUCCESS };
    if let Some(signal) = status.signal() {
        die_of(signal);
    }
    let code = code_of(status);
    if code != 0 {
        return ExitCode::from(code);
    }
    let is_found = args
        .fail_on
        .severity()
        .is_some_and(|least| outcome.summary.findings().iter().any(|found| found.severity >= least));
    let lost = outcome.account.missing();
    let is_lost = args.max_loss.is_some_and(|most| lost > most);
    if is_found {
        complain(&"ending with 3: there are findings at or above --fail-on");
    }
    if is_lost {
        let skipped = match outcome.account.told_skipped().map(|(_, runs)| runs).sum() {
            0 => String::new(),
            runs @ 1u64.. => format!(", {runs} of them runs of probes that the kernel left out"),
        };
        complain(&format!("ending with 3: {lost} records or notices were lost{skipped}, more than --max-loss allows"));
    }
    if is_found || is_lost { ExitCode::from(FOUND) } else { ExitCode::SUCCESS }
}

fn code_of(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Ends this process as the command ended, so that whoever waits for it sees the same.
fn die_of(signal: i32) {
    // The command's core dump is its own matter; a second one, of the agent, would be ours.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    if signal == signal_hook::consts::SIGKILL {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}
