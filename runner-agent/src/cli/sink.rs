//! `sink`: the sinks of a configuration, and one signed sample to one of them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};

use super::clock::{boot_ns, now_ns};
use super::{USAGE, complain, sending};
use crate::event::Finding;
use crate::kernel::procfs;
use crate::notice::{Content, Notice};
use crate::policy::{Mode, Severity};
use crate::sink::receiver::{Answer, Attempt, Receiver};
use crate::sink::settings::{Settings, Target};
use crate::sink::sign::SigningKey;
use crate::sink::wire::format::About;
use crate::sink::wire::{Encoder, tried};
use crate::text::{from_bytes, printable};

/// What `sink` is told.
#[derive(Debug, Args)]
pub struct SinkArgs {
    #[command(subcommand)]
    command: SinkCommand,
}

#[derive(Debug, Subcommand)]
enum SinkCommand {
    /// Send one signed sample to a sink, and say what comes back.
    Test {
        /// Name of the sink.
        name: String,
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/runner-agent/config.yml")]
        config: PathBuf,
        /// How the result is shown.
        #[arg(long, default_value = "text")]
        format: FormatArg,
    },
    /// List the sinks of a configuration, with the public keys of those that sign with one.
    List {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/runner-agent/config.yml")]
        config: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Text,
    Json,
}

/// Runs it.
pub fn run(args: &SinkArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        SinkCommand::Test { name, config, format } => {
            let config = match sending::configuration(config, "nothing was sent") {
                Ok(config) => config,
                Err(code) => return Ok(code),
            };
            let Some(settings) = config.sinks.iter().find(|settings| settings.name == name) else {
                let names: Vec<&str> = config.sinks.iter().map(|settings| settings.name).collect();
                let known = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
                complain(&format!("no sink is named {name:?}; known here: {known}"));
                return Ok(ExitCode::from(USAGE));
            };
            test(settings, *format, out)
        }
        SinkCommand::List { config } => {
            let config = match sending::configuration(config, "it is as if there were none") {
                Ok(config) => config,
                Err(code) => return Ok(code),
            };
            for settings in &config.sinks {
                let Settings { name, target, format, only, .. } = settings;
                writeln!(out, "{name}: {} {target}, format {format}, gets {only}", target.kind())?;
                if let Target::Webhook(webhook) = target {
                    for public in webhook.keys.iter().filter_map(SigningKey::public) {
                        writeln!(out, "  signs with the key whose public half is {public}")?;
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn test(settings: &Settings, format: FormatArg, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let encoder = Encoder { boot_ns: boot_ns(), mount_namespace: procfs::own_mount_namespace() };
    let (about, notice) = sample(encoder);
    let mut bytes = Vec::new();
    if !settings.encode(&notice, &about, &mut bytes) {
        anyhow::bail!("the form {} has no place for a finding; choose another for {}", settings.format, settings.name);
    }
    let mut receiver =
        Receiver::new(settings).map_err(|error| anyhow::anyhow!("the sink {}: {error}", settings.name))?;
    let parcel = receiver.parcel(settings.format, vec![(about.id(&notice), bytes.into())], false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let (attempt, answer) = runtime.block_on(receiver.send(&parcel));
    let took = began.elapsed();
    match format {
        FormatArg::Text => text(settings, &parcel.id, &attempt, &answer, took, out)?,
        FormatArg::Json => writeln!(out, "{}", tried::json(settings, &parcel.id, &attempt, &answer, took))?,
    }
    Ok(if attempt == Attempt::Delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(
    settings: &Settings,
    id: &str,
    attempt: &Attempt,
    answer: &Answer,
    took: Duration,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
    let (name, target) = (settings.name, &settings.target);
    match attempt {
        Attempt::Delivered => writeln!(out, "{name}: delivered {id} to {target} in {took}")?,
        Attempt::Failed { why, wait } => {
            writeln!(out, "{name}: not delivered to {target} after {took}: {}", printable(why))?;
            if let Some(wait) = wait {
                writeln!(out, "  it asks to be left alone for {wait:?}")?;
            }
        }
        Attempt::Refused { why } => writeln!(out, "{name}: refused by {target} after {took}: {}", printable(why))?,
        Attempt::Gone => writeln!(out, "{name}: {target} wants nothing any more (410 Gone), after {took}")?,
    }
    if let Some(status) = answer.status {
        let said = from_bytes(&answer.body);
        let said = if said.is_empty() { "nothing".to_owned() } else { printable(&said).to_string() };
        writeln!(out, "  status {status}, and it said: {said}")?;
    }
    Ok(())
}

/// A finding that says that it is none.
fn sample(encoder: Encoder) -> (About, Notice) {
    let at_ns = now_ns();
    let job: Arc<str> = format!("sink-test-{}-{at_ns}", std::process::id()).into();
    let finding = Finding {
        id: "sink-test",
        severity: Severity::Info,
        message: "a sample that `runner-agent sink test` sent; nothing happened".to_owned(),
        techniques: &[],
        evidence: Vec::new(),
        fix: None,
        process: None,
        subject: String::new(),
    };
    let notice = Notice { seq: 1, at_ns, slot: 0, job: Some(job.clone()), content: Content::Finding(finding) };
    let about = About {
        encoder,
        job,
        host: procfs::host_name(),
        identity: None,
        trust: None,
        policy: "sink-test".to_owned(),
        policy_sha256: String::new(),
        mode: Mode::Audit,
    };
    (about, notice)
}
