//! `policy check`, `explain`, `import` and `schema`: everything about a policy without a kernel.

mod explain;
mod import;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::USAGE;
use crate::config::cases::{self, CaseResult, Cases};
use crate::config::load::{cases_path, load_shipped};
use crate::config::machine::{missing_programs, system_resolver, unresolved};
use crate::config::shipped::SHIPPED;
use crate::config::{Answers, Problem, Runtime, Surroundings, load, raw, schema};
use crate::policy::Policy;

/// Version of the JSON that `policy check --format json` writes.
const FORMAT_VERSION: u32 = 1;

/// Arguments of `policy`.
#[derive(Clone, Debug, Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What `policy` does.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say everything that is wrong with policies, and run the cases that stand beside them.
    ///
    /// Each file is checked on its own, with what it includes. Ends with 2 if there is an error or a case fails; warnings
    /// don't fail.
    Check(CheckArgs),
    /// Say which rule decides about a destination, or decided about a line of an event log, and why.
    ///
    /// With the rules that nearly matched, and the smallest line that would allow it. Ends with 0 when it could be
    /// explained, whatever the verdict.
    Explain(Box<explain::ExplainArgs>),
    /// Make a policy of what users of another action have: a workflow, its step, or the text of its list.
    ///
    /// The policy means the same, or less: what has no rule of the same meaning is left out with a warning, and stands in the
    /// policy as a comment. Ends with 2 if nothing can be made of the file.
    Import(import::ImportArgs),
    /// Write the JSON Schema of a policy file.
    Schema,
}

/// Arguments of `policy check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Policy files; none means the shipped policies.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where includes other than presets/NAME lie [default: the directory of each file].
    #[arg(long, value_name = "DIR")]
    pub policy_dir: Option<PathBuf>,
    /// Ask for every host that a rule names, and warn of those that lead nowhere. Needs the network.
    #[arg(long, requires = "files")]
    pub resolve: bool,
    /// How to write the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How long `--resolve` may take for one file.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// How to write a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The result of one file.
#[derive(Debug, Serialize)]
struct Checked {
    file: PathBuf,
    problems: Vec<Problem>,
    cases: Vec<CaseResult>,
}

impl Checked {
    fn failed(&self) -> bool {
        self.problems.iter().any(Problem::is_error) || self.cases.iter().any(|case| !case.passed)
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    passed: bool,
    files: &'a [Checked],
}

/// Runs `policy` and writes its result to `out`.
pub fn run(args: &PolicyArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        PolicyCommand::Check(args) => check(args, &Runtime::from_env(), out),
        PolicyCommand::Explain(args) => explain::run(args, &Runtime::from_env(), out),
        PolicyCommand::Import(args) => import::run(args, out, &mut std::io::stderr().lock()),
        PolicyCommand::Schema => {
            serde_json::to_writer_pretty(&mut *out, &schema())
                .map_err(std::io::Error::from)
                .context("writing the schema")?;
            writeln!(out).context("writing the schema")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `policy check` on a given machine.
pub fn check(args: &CheckArgs, runtime: &Runtime, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let checked: Vec<Checked> = if args.files.is_empty() {
        SHIPPED
            .iter()
            .map(|shipped| {
                let file = PathBuf::from(format!("presets/{}", shipped.name));
                let cases = cases::read(&file.with_extension("cases.yml"), shipped.cases.as_bytes());
                one(file, Some(cases), None, |surroundings| load_shipped(shipped.name, surroundings))
            })
            .collect()
    } else {
        let answers = Answers::default();
        args.files.iter().map(|file| given(file, args, runtime, &answers)).collect()
    };
    let passed = !checked.iter().any(Checked::failed);
    match args.format {
        Format::Text => text(&checked, out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &Report { version: FORMAT_VERSION, passed, files: &checked })
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(out))
        }
    }
    .context("writing the result")?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(USAGE) })
}

/// One file that was named.
fn given(file: &Path, args: &CheckArgs, runtime: &Runtime, answers: &Answers) -> Checked {
    let beside = cases_path(file);
    let cases = beside.exists().then(|| {
        let bytes = raw::read(&beside).map_err(|error| vec![Problem::error(&beside, error.at, "", error.message)])?;
        cases::read(&beside, &bytes)
    });
    let files = [file.to_owned()];
    let runtime = runtime.including(args.policy_dir.as_deref(), &files);
    let machine = Machine { runtime: &runtime, asked: &answers.of(&runtime), resolve: args.resolve };
    one(file.to_owned(), cases, Some(&machine), |surroundings| load(&files, surroundings))
}

type Loaded = Result<(Policy, Vec<Problem>), Vec<Problem>>;

/// The machine at hand.
struct Machine<'a> {
    runtime: &'a Runtime,
    /// The same, which is asked once for all files.
    asked: &'a dyn Surroundings,
    /// Whether names are to be asked for.
    resolve: bool,
}

/// Checks a policy on the machine at hand, if there is one, and on the one that its cases make up.
fn one(
    file: PathBuf,
    cases: Option<Result<Cases, Vec<Problem>>>,
    machine: Option<&Machine>,
    load: impl Fn(&dyn Surroundings) -> Loaded,
) -> Checked {
    let mut problems = Vec::new();
    if let Some(Machine { runtime, asked, resolve }) = machine {
        match load(*asked) {
            Ok((policy, warnings)) => {
                problems.extend(warnings);
                problems.extend(missing_programs(&policy, &runtime.path));
                if *resolve {
                    problems.extend(unresolved(&policy, RESOLVE_LIMIT, &system_resolver()));
                }
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    let mut results = Vec::new();
    match cases {
        None => {}
        Some(Err(wrong)) => problems.extend(wrong),
        Some(Ok(mut cases)) => {
            cases.runner.policy_dir = machine.and_then(|machine| machine.runtime.policy_dir.clone());
            match load(&cases.runner) {
                // What a made-up runner lacks is no news about the policy.
                Ok((policy, _)) => results = cases::run(&policy, &cases),
                Err(wrong) => problems.extend(wrong),
            }
        }
    }
    problems.sort();
    problems.dedup();
    Checked { file, problems, cases: results }
}

fn text(checked: &[Checked], out: &mut dyn Write) -> std::io::Result<()> {
    for Checked { file, problems, cases } in checked {
        for problem in problems {
            writeln!(out, "{problem}")?;
        }
        let failed: Vec<&CaseResult> = cases.iter().filter(|case| !case.passed).collect();
        for case in &failed {
            let beside = cases_path(file);
            writeln!(out, "{}: {}: expected {}, found {}", beside.display(), case.case, case.expected, case.found)?;
        }
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let ran = match (cases.len(), failed.len()) {
            (0, _) if errors > 0 => "cases not run".to_owned(),
            (0, _) => "no cases".to_owned(),
            (all, 0) => format!("{} as expected", count(all, "case")),
            (all, failed) => format!("{failed} of {} failed", count(all, "case")),
        };
        let warnings = problems.len() - errors;
        writeln!(out, "{}: {}, {}, {ran}", file.display(), count(errors, "error"), count(warnings, "warning"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ran(files: Vec<PathBuf>, format: Format) -> (bool, String) {
        let runtime = Runtime {
            vars: BTreeMap::new(),
            home: "/nonexistent".into(),
            path: Vec::new(),
            root: "/nonexistent".into(),
            policy_dir: None,
            workspaces: Vec::new(),
            timeout: Duration::from_secs(1),
        };
        let mut out = Vec::new();
        let code = check(&CheckArgs { files, policy_dir: None, resolve: false, format }, &runtime, &mut out).unwrap();
        (format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS), String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_shipped_policies_pass() {
        let (passed, text) = ran(Vec::new(), Format::Text);
        assert!(passed, "{text}");
        assert_eq!(text.lines().count(), SHIPPED.len(), "{text}");
        assert!(text.contains("presets/default: 0 errors, 0 warnings, 16 cases as expected"), "{text}");
    }

    #[test]
    fn a_wrong_policy_and_a_failed_case_fail_and_a_warning_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let wrong = file("wrong.yml", "version: 1\nname: wrong\nmode: strict\n");
        let (passed, text) = ran(vec![wrong], Format::Text);
        assert!(!passed && text.contains("wrong.yml:3:7: mode: \"strict\" is not one of audit, block"), "{text}");

        let warned = file("warned.yml", "version: 1\nname: warned\ninclude: [presets/npm]\n");
        let (passed, text) = ran(vec![warned.clone()], Format::Text);
        assert!(passed && text.contains("warning: egress.allow[0]: npm is not installed"), "{text}");

        let case = "version: 1\negress: [{ address: 192.0.2.1, port: 443, verdict: allowed, rule: default }]\n";
        file("warned.cases.yml", case);
        let (passed, text) = ran(vec![warned.clone()], Format::Text);
        assert!(!passed, "{text}");
        assert!(text.contains("egress[0]: expected allowed by default, found audited by default"), "{text}");
        let (_, json) = ran(vec![warned], Format::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["version"], &json["passed"]), (&1.into(), &false.into()));
        assert_eq!(json["files"][0]["cases"][0]["passed"], false);
        assert_eq!(json["files"][0]["problems"][0]["severity"], "warning");
    }
}
