//! `policy explain`: which rule decides about a destination or decided about a line of a log, and why.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::Format;
use crate::config::{Problem, Runtime, load};
use crate::explain::ask::{self, Host, To};
use crate::explain::egress::{self, Attempt, remark_on};
use crate::explain::{Allow, Asked, Decision, Explanation, Report, Rule, SCHEMA, log, recorded};
use crate::policy::{Mode, Policy, Protocol};
use crate::report::style::Style;
use crate::text::printable;

/// Arguments of `policy explain`.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "runner-agent policy explain <LOG> <SEQ> [OPTIONS]\n       \
                            runner-agent policy explain --to <HOST|IP[:PORT]> [OPTIONS]")]
pub struct ExplainArgs {
    /// An event log.
    #[arg(value_name = "LOG", required_unless_present = "to", conflicts_with = "to", requires = "seq")]
    log: Option<PathBuf>,
    /// The number of a line in it (`seq`, shown as #N): a connect, dns, socket or file, or a finding.
    #[arg(value_name = "SEQ", value_parser = seq)]
    seq: Option<u64>,
    /// Explain this destination instead; IPv6 in brackets before a port. Without a port, 443.
    #[arg(long, value_name = "HOST|IP[:PORT]")]
    to: Option<To>,
    /// Its transport: tcp, udp, icmp, icmpv6, sctp or ip-NUMBER.
    #[arg(long, value_name = "PROTOCOL", value_parser = ask::protocol, default_value = "tcp", requires = "to")]
    protocol: Protocol,
    /// The program that connects there.
    #[arg(long, value_name = "PATH", requires = "to", conflicts_with = "log")]
    exe: Option<String>,
    /// A name that led to the address; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = ask::name, requires = "to", conflicts_with = "log")]
    name: Vec<Arc<str>>,
    /// Ask in this mode instead of the policy's, or the job's.
    #[arg(long)]
    mode: Option<ModeArg>,
    /// A policy file; several are combined as by `run` [default: the job's, if it is unchanged; for --to the shipped
    /// policy `default`].
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Where includes other than presets/NAME lie [default: the directory of the first policy file].
    #[arg(long, value_name = "DIR")]
    policy_dir: Option<PathBuf>,
    /// How to write the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    Audit,
    Block,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Audit => Self::Audit,
            ModeArg::Block => Self::Block,
        }
    }
}

/// Numbers are shown as `#13`, and are pasted so.
fn seq(text: &str) -> Result<u64, String> {
    text.strip_prefix('#').unwrap_or(text).parse().map_err(|_| format!("{text:?} is no number of a line, such as 13"))
}

/// Explains, and writes the explanation. Ends with 0 whatever the verdict is.
pub fn run(args: &ExplainArgs, runtime: &Runtime, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mode = args.mode.map(Mode::from);
    let runtime = &Runtime { policy_dir: args.policy_dir.clone(), ..runtime.clone() };
    let report = match (&args.log, args.seq, &args.to) {
        (Some(path), Some(seq), _) => {
            let found = log::find(path, seq)?;
            // What `~` stood for is the runner's to know, and the log tells it by the paths of its files.
            let home = found.home().unwrap_or_else(|| runtime.home.clone());
            let runtime = &Runtime { home, ..runtime.clone() };
            let given = if args.policy.is_empty() { None } else { Some(given(args, runtime)?) };
            recorded::explain(&found, given, mode, runtime)
        }
        (_, _, Some(to)) => destination(to, args, mode, runtime)?,
        _ => bail!("name a log and the number of a line in it, or a destination with --to"),
    };
    match args.format {
        Format::Text => out.write_all(text(&report, Style::for_stdout()).as_bytes()),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from).and_then(|()| writeln!(out))
        }
    }
    .context("writing the explanation")?;
    Ok(ExitCode::SUCCESS)
}

/// The policy of --policy; all that is wrong with it is told.
fn given(args: &ExplainArgs, runtime: &Runtime) -> anyhow::Result<Policy> {
    let runtime = runtime.including(runtime.policy_dir.as_deref(), &args.policy);
    // Warnings are for `policy check` to tell.
    let (policy, _) = load(&args.policy, &runtime).map_err(|problems| {
        let told: Vec<String> = problems.iter().filter(|it| it.is_error()).map(Problem::to_string).collect();
        anyhow::anyhow!("the policy is not right:\n{}", told.join("\n"))
    })?;
    Ok(policy)
}

fn destination(to: &To, args: &ExplainArgs, mode: Option<Mode>, runtime: &Runtime) -> anyhow::Result<Report> {
    let mut policy = given(args, runtime)?;
    policy.mode = mode.unwrap_or(policy.mode);
    let (port, is_written) = ask::port(to, args.protocol);
    let (address, mut names) = match &to.host {
        Host::Address(address) => (Some(*address), Vec::new()),
        Host::Name(name) => (None, vec![Arc::clone(name)]),
    };
    if address.is_none() && !args.name.is_empty() {
        bail!("--name is a name that led to an address; write `--to ADDRESS --name {}`", args.name[0]);
    }
    names.extend(args.name.iter().cloned());
    let attempt = Attempt {
        address,
        port,
        protocol: args.protocol,
        names,
        exe: args.exe.clone(),
        carries: false,
        not_counted: Vec::new(),
    };
    let mut told = Explanation { subject: recorded::place(&attempt), ..egress::connect(&policy, &attempt) };
    if !is_written {
        told.notes.push("no port was written, so 443 was asked for".to_owned());
    }
    if told.allow.is_some() {
        told.notes.extend(attempt.names.first().and_then(|name| remark_on(name)));
    }
    let mut notes = Vec::new();
    if args.policy.is_empty() {
        notes.push("no policy was given, so the shipped `default` was asked; give one with --policy".to_owned());
    }
    Ok(Report { schema: SCHEMA, policy: Some(Asked::new(&policy, false)), explanations: vec![told], notes })
}

/// The explanation for people. Names, paths and arguments come from jobs and are made harmless.
fn text(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    for told in &report.explanations {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let number = told.seq.map(|seq| format!("#{seq} ")).unwrap_or_default();
        lines.push(format!("{number}{} {}", style.heading(told.kind), printable(&told.subject)));
        explanation(told, report.policy.as_ref(), style, &mut lines);
    }
    report.notes.iter().for_each(|note| lines.push(row("note", &printable(note), style)));
    lines.push(String::new());
    lines.join("\n")
}

/// One line with its title; further lines stand below the first. The text has its colours and must be harmless.
fn row(title: &str, text: &str, style: Style) -> String {
    format!("  {} {text}", style.faint(&format!("{title:9}")))
}

fn explanation(told: &Explanation, policy: Option<&Asked>, style: Style, lines: &mut Vec<String>) {
    if let Some(recorded) = &told.recorded {
        lines.push(row("recorded", &verdict(recorded, style), style));
    }
    if let (Some(now), Some(policy)) = (&told.now, policy) {
        let whose = if policy.of_the_job { ", the job's own" } else { "" };
        let now = format!("{} (policy {}{whose}, mode {})", verdict(now, style), policy.name, policy.mode);
        lines.push(row("now", &now, style));
    }
    if let Some(question) = &told.question {
        let (name, why) = (printable(&question.name), printable(&question.why));
        let verdict = match question.decision.rule.as_str() {
            "default" => coloured(&question.decision.verdict, style),
            _ => verdict(&question.decision, style),
        };
        lines.push(row("name", &format!("{name}: {verdict}, {why}"), style));
    }
    let mut add = |title: &str, text: &str| lines.push(row(title, &printable(text), style));
    if !told.why.is_empty() {
        add("why", &told.why);
    }
    if let Some(rule) = &told.rule {
        for (title, line) in shown("rule", rule) {
            add(title, &line);
        }
    }
    for near in &told.near {
        for (title, line) in shown("near", &near.rule) {
            add(title, &line);
        }
        add("", &format!("differs: {}", near.why));
    }
    if let Some(Allow { below, line, replaces, warnings }) = &told.allow {
        let place = match replaces {
            Some(rule) => format!("in place of {rule}:"),
            None => format!("below {below}:"),
        };
        add("to allow", &place);
        add("", line);
        for warning in warnings {
            add("", &format!("warning: {warning}"));
        }
    }
    told.notes.iter().for_each(|note| add("note", note));
}

fn shown<'a>(title: &'a str, rule: &Rule) -> [(&'a str, String); 2] {
    let at = rule.at.as_ref().map(|at| format!(" at {}:{}", at.file, at.line)).unwrap_or_default();
    let source = rule.source.as_ref().map(|source| format!(" (host from {source})")).unwrap_or_default();
    // A catalogue entry has a dozen paths, and the verdict is about one.
    let line = if rule.kind == "secret" { rule.why.clone() } else { rule.line.clone() };
    [(title, format!("{}{at}{source}", rule.id)), ("", line)]
}

fn coloured(verdict: &str, style: Style) -> String {
    match verdict {
        "allowed" => style.good(verdict),
        "audited" => style.doubtful(verdict),
        "blocked" => style.bad(verdict),
        other => printable(other).into_owned(),
    }
}

fn verdict(decision: &Decision, style: Style) -> String {
    let word = coloured(&decision.verdict, style);
    match decision.rule.as_str() {
        "default" if decision.verdict == "allowed" => word,
        "default" => format!("{word}, no rule covers it"),
        rule => format!("{word} by {}", printable(rule)),
    }
}
