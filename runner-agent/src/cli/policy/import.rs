//! `policy import`: a policy made of another action's list.

use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Format, USAGE};
use crate::config::{Problem, raw};
use crate::import::peer::Peer;
use crate::import::{Imported, Request, import};
use crate::policy::egress::smallest;
use crate::text::printable;

/// Version of the JSON that `policy import --format json` writes.
const FORMAT_VERSION: u32 = 1;

/// Arguments of `policy import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Whose words the file is in.
    #[arg(long, value_name = "ACTION")]
    pub from: Peer,
    /// A workflow, a step, the text of a list, or cargowall's own file; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Which job's step, if several jobs of a workflow have one.
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// The policy's name [default: the job's, or imported].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How to write the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

impl ValueEnum for Peer {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()).help(self.action()))
    }
}

/// The result for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    passed: bool,
    /// The policy file.
    policy: Option<String>,
    name: Option<&'a str>,
    mode: Option<&'static str>,
    /// Its rules, as `policy explain` shows them.
    rules: Vec<Shown>,
    /// Networks that it closes, likewise.
    denied: Vec<Shown>,
    problems: &'a [Problem],
}

#[derive(Debug, Serialize)]
struct Shown {
    line: String,
    why: String,
}

/// Writes the policy to `out`, and to `told` what was left out or keeps it from being written.
pub fn run(args: &ImportArgs, out: &mut dyn Write, told: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let is_stdin = args.file.as_os_str() == "-";
    let file = if is_stdin { PathBuf::from("standard input") } else { args.file.clone() };
    let read = if is_stdin {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(raw::MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .context("reading standard input")?;
        Ok(bytes)
    } else {
        raw::read(&file).map_err(|error| vec![Problem::error(&file, error.at, "", error.message)])
    };
    let request = Request { from: args.from, file: &file, job: args.job.as_deref(), name: args.name.as_deref() };
    let result = read.and_then(|bytes| import(&request, &bytes));
    let (imported, problems) = match &result {
        Ok(imported) => (Some(imported), imported.problems.as_slice()),
        Err(problems) => (None, problems.as_slice()),
    };
    match args.format {
        Format::Text => text(imported, problems, out, told),
        Format::Json => json(imported, problems, out),
    }
    .context("writing the policy")?;
    Ok(if imported.is_some() { ExitCode::SUCCESS } else { ExitCode::from(USAGE) })
}

fn text(
    imported: Option<&Imported>,
    problems: &[Problem],
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> std::io::Result<()> {
    for problem in problems {
        // Names of inputs and jobs are whatever the file says.
        writeln!(told, "{}", printable(&problem.to_string()))?;
    }
    imported.map_or(Ok(()), |imported| out.write_all(imported.yaml().as_bytes()))
}

fn json(imported: Option<&Imported>, problems: &[Problem], out: &mut dyn Write) -> std::io::Result<()> {
    let shown = |imported: &Imported| -> Vec<Shown> {
        imported
            .rules()
            .map(|rule| Shown { line: smallest::line_with_ports(rule), why: rule.why.to_string() })
            .collect()
    };
    let closed = |imported: &Imported| -> Vec<Shown> {
        let shown = |rule| Shown { line: smallest::deny_line(rule), why: rule.why.to_string() };
        imported.denied.iter().map(shown).collect()
    };
    let report = Report {
        version: FORMAT_VERSION,
        passed: imported.is_some(),
        policy: imported.map(Imported::yaml),
        name: imported.map(|imported| imported.name.as_str()),
        mode: imported.map(|imported| imported.mode.as_str()),
        rules: imported.map(shown).unwrap_or_default(),
        denied: imported.map(closed).unwrap_or_default(),
        problems,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}
