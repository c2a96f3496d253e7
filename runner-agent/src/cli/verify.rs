//! `verify`: whether a log, a receipt and a statement are as an agent wrote them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::ledger::PublicKey;
use crate::sink::wire::statement::{self, what_is};
use crate::verify::{Evidence, LogCheck, LogState, Verdict, verify};

/// Exit code when something is not as an agent wrote it.
const NOT_WHOLE: u8 = 1;

/// Name and version of the form of `--format json`.
const SCHEMA: &str = "runner-agent/verify/1";

/// A receipt or a statement is read at once; none is larger than this.
const MOST_BYTES: u64 = 64 << 20;

/// What `verify` is told.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A log, a receipt, a statement, or several of them about one job. With a log alone, its receipt and statement are taken
    /// from beside it.
    #[arg(value_name = "LOG|RECEIPT", required = true)]
    files: Vec<PathBuf>,
    /// A file with a public key that you have from elsewhere: base64 of its 32 bytes, or PEM. Without one, the key is taken from
    /// the evidence, which says nothing about whose it is.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// How to say it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Verifies, and says what it found.
pub fn run(args: &VerifyArgs, out: &mut impl Write) -> Result<ExitCode> {
    let known = args.key.iter().map(|path| key(path)).collect::<Result<Vec<_>>>()?;
    let files = gather(&args.files)?;
    let checkpoints = files.evidence.log.as_ref().map(|log| log.checkpoints);
    let verdict = verify(files.evidence, &known);
    match args.format {
        Format::Text => text(&files.names, checkpoints, &verdict, out)?,
        Format::Json => writeln!(out, "{}", value(&files.names, &verdict))?,
    }
    Ok(if verdict.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) })
}

fn key(path: &Path) -> Result<PublicKey> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read the key {}", path.display()))?;
    PublicKey::parse(&text).with_context(|| format!("{} holds no key", path.display()))
}

#[derive(Default)]
struct Files {
    evidence: Evidence,
    names: Vec<(&'static str, PathBuf)>,
}

/// What kind of evidence a file holds.
enum Holds {
    Log,
    Receipt(Vec<u8>),
    Statement(Vec<u8>),
}

fn gather(paths: &[PathBuf]) -> Result<Files> {
    let mut files = Files::default();
    for path in paths {
        files.add(path)?;
    }
    if let [only] = paths
        && files.evidence.log.is_some()
    {
        for end in [".receipt.json", ".intoto.json"] {
            let mut beside = OsString::from(only.as_os_str());
            beside.push(end);
            if fs::exists(&beside)? {
                files.add(Path::new(&beside))?;
            }
        }
    }
    Ok(files)
}

impl Files {
    fn add(&mut self, path: &Path) -> Result<()> {
        let (kind, is_second) = match holds(path)? {
            Holds::Log => ("log", self.evidence.log.replace(log(path)?).is_some()),
            Holds::Receipt(bytes) => ("receipt", self.evidence.receipt.replace(bytes).is_some()),
            Holds::Statement(bytes) => ("statement", self.evidence.statement.replace(bytes).is_some()),
        };
        if is_second {
            bail!("{} is a second {kind}; verify one job at a time", path.display());
        }
        self.names.push((kind, path.to_owned()));
        Ok(())
    }
}

/// A log is lines of objects; a receipt and a statement are one object each, and say what they are.
fn holds(path: &Path) -> Result<Holds> {
    let cannot = || format!("can't read {}", path.display());
    let mut file = BufReader::new(File::open(path).with_context(cannot)?);
    let metadata = file.get_ref().metadata().with_context(cannot)?;
    if metadata.is_dir() {
        bail!("{} is a folder; name a log, a receipt or a statement", path.display());
    }
    // Only the first line of a log that may be large; a receipt's is `{`.
    let mut first = Vec::new();
    file.read_until(b'\n', &mut first).with_context(cannot)?;
    if what_is(&first) == Some(statement::Evidence::Line) || metadata.len() > MOST_BYTES {
        return Ok(Holds::Log);
    }
    let bytes = fs::read(path).with_context(cannot)?;
    Ok(match what_is(&bytes) {
        Some(statement::Evidence::Envelope) => Holds::Statement(bytes),
        Some(statement::Evidence::Receipt) => Holds::Receipt(bytes),
        // Named as one and no JSON any more: that is what is to be found.
        _ if is_named(path, ".receipt.json") => Holds::Receipt(bytes),
        _ if is_named(path, ".intoto.json") => Holds::Statement(bytes),
        _ => Holds::Log,
    })
}

fn is_named(path: &Path, end: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(end))
}

fn log(path: &Path) -> Result<LogState> {
    let cannot = || format!("can't read {}", path.display());
    let mut file = BufReader::new(File::open(path).with_context(cannot)?);
    let mut check = LogCheck::default();
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line).with_context(cannot)? > 0 {
        check.take(&line);
        line.clear();
    }
    Ok(check.finish())
}

fn text(names: &[(&str, PathBuf)], checkpoints: Option<u64>, verdict: &Verdict, out: &mut impl Write) -> Result<()> {
    for (kind, path) in names {
        let about = match (*kind, checkpoints) {
            ("log", Some(checkpoints)) => {
                format!(
                    ": {} lines, signed up to line {}, {checkpoints} checkpoints",
                    verdict.lines, verdict.signed_lines
                )
            }
            _ => String::new(),
        };
        writeln!(out, "{kind:<10} {}{about}", path.display())?;
    }
    if let Some(key) = verdict.key {
        let whose = if verdict.is_key_known {
            "one of those that you gave"
        } else {
            "named by the evidence itself: compare it with what the job's start announced elsewhere, or give --key"
        };
        writeln!(out, "{:<10} {} ({key}), {whose}", "key", key.id())?;
    }
    for problem in &verdict.problems {
        writeln!(out, "{:<10} {problem}", "problem")?;
    }
    writeln!(out, "{}", if verdict.problems.is_empty() { "whole" } else { "NOT WHOLE" })?;
    Ok(())
}

fn value(names: &[(&str, PathBuf)], verdict: &Verdict) -> Value {
    let files: Vec<Value> = names.iter().map(|(kind, path)| json!({ "kind": kind, "path": path })).collect();
    let problems: Vec<Value> =
        verdict.problems.iter().map(|problem| json!({ "line": problem.line, "what": problem.what })).collect();
    json!({
        "schema": SCHEMA,
        "whole": verdict.problems.is_empty(),
        "files": files,
        "lines": verdict.lines,
        "signed_lines": verdict.signed_lines,
        "key": verdict.key.map(|key| key.to_string()),
        "key_id": verdict.key.map(PublicKey::id),
        "key_known": verdict.is_key_known,
        "problems": problems,
    })
}
