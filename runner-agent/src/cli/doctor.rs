//! `doctor`: what this kernel and this runner can do, for people or as one JSON object.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::doctor::{self, Check, Diagnosis, HookOutcome, Status, tier};
use crate::kernel::{LoadOptions, Tier};
use crate::report::style::Style;

/// What `doctor` is told.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Write one JSON object; its form is documented and versioned.
    #[arg(long)]
    json: bool,
    /// The kernel's type information.
    #[arg(long, value_name = "FILE", default_value = "/sys/kernel/btf/vmlinux", hide_short_help = true)]
    btf: std::path::PathBuf,
}

/// Looks, tries, and writes the result. Ends with 0 when `run` works here, and with 1 when it does not.
pub fn run(args: &DoctorArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let diagnosis = doctor::diagnose(&LoadOptions { btf: args.btf.clone(), ..LoadOptions::default() });
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &diagnosis)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
            .context("writing the result")?;
    } else {
        out.write_all(text(&diagnosis, Style::for_stdout()).as_bytes()).context("writing the result")?;
    }
    Ok(if diagnosis.can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(diagnosis: &Diagnosis, style: Style) -> String {
    let Diagnosis { version, kernel, .. } = diagnosis;
    let verdict = match (diagnosis.can_run, diagnosis.can_block) {
        (true, true) => style.good("`runner-agent run` works here, and can block"),
        (true, false) => style.doubtful("`runner-agent run` works here in mode audit, and can't block"),
        (false, _) => style.bad("`runner-agent run` does not work here"),
    };
    let mut lines = vec![format!("runner-agent {version}, kernel {kernel}: {verdict}"), String::new()];
    let width = diagnosis.checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
    for check in &diagnosis.checks {
        lines.push(format!("{} {:width$}  {}", mark(check.status, style), check.id, check.found));
        lines.extend(below(check).into_iter().map(|line| format!("  {:width$}  ↳ {line}", "")));
    }
    lines.push(String::new());
    let once = if diagnosis.can_run { "" } else { " (once `run` works)" };
    let (heading, name) = (style.heading("tier"), diagnosis.tier.unwrap_or(Tier::Tracepoint.name()));
    let words = tier::in_words(if name == Tier::Tracing.name() { Tier::Tracing } else { Tier::Tracepoint });
    lines.push(format!("{heading}{once}  {name}: {words}"));
    if let Some(reason) = &diagnosis.no_tracing {
        lines.push(format!("  not tracing: {reason}"));
    }
    lines.extend(hooks(diagnosis, style));
    lines.push(style.heading("what this tier can't see"));
    for spot in &diagnosis.blind_spots {
        lines.push(format!("  · {}", spot.what));
        lines.push(format!("    {}", style.faint(spot.instead)));
    }
    lines.push(style.heading("what would help"));
    lines.push(format!("  {}", diagnosis.would_help));
    lines.push(String::new());
    lines.join("\n")
}

/// A hook a line: where it is, and what it means where it isn't.
fn hooks(diagnosis: &Diagnosis, style: Style) -> Vec<String> {
    if diagnosis.hooks.is_empty() {
        return Vec::new();
    }
    let width = diagnosis.hooks.iter().map(|hook| hook.function.len()).max().unwrap_or(0);
    let mut lines = vec![style.heading("hooks of the tracing tier")];
    for hook in &diagnosis.hooks {
        let state = match hook.state {
            HookOutcome::Attached => style.good("attached"),
            HookOutcome::FellBack => style.doubtful("fell back"),
            HookOutcome::Missing => style.bad("missing"),
        };
        let by = hook.by.map(|by| format!(" ({by})")).unwrap_or_default();
        let gap = hook.gap.map(|gap| format!(": {gap}")).unwrap_or_default();
        lines.push(format!("  {:width$}  {state}{by}{gap}", hook.function));
    }
    lines
}

fn mark(status: Status, style: Style) -> String {
    match status {
        Status::Ok => style.good("✓"),
        Status::Info => style.faint("·"),
        Status::Warning => style.doubtful("!"),
        Status::Failed => style.bad("✗"),
        Status::NotTried => style.faint("–"),
    }
}

/// What a check that is not in order needs, loses, and what to do.
fn below(check: &Check) -> Vec<String> {
    let mut lines = Vec::new();
    if check.status == Status::Failed {
        lines.push(format!("needed: {}", check.needed));
    }
    lines.extend(check.lost.clone());
    lines.extend(check.fix.as_ref().map(|fix| format!("to do: {fix}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_says_what_is_needed_lost_and_to_do() {
        let check = Check {
            id: "btf",
            status: Status::Failed,
            found: "none".into(),
            needed: "the kernel's BTF",
            lost: Some("everything".into()),
            fix: Some("another kernel".into()),
        };
        let diagnosis = Diagnosis {
            schema: doctor::SCHEMA,
            version: "0.0.0",
            kernel: "6.1.0".into(),
            can_run: false,
            can_block: false,
            load_ms: None,
            tier: None,
            blind_spots: tier::blind_spots(Tier::Tracepoint).collect(),
            would_help: tier::would_help(Tier::Tracepoint),
            no_tracing: None,
            hooks: Vec::new(),
            checks: vec![check],
            probes: Vec::new(),
        };
        let text = text(&diagnosis, Style::PLAIN);
        assert!(
            text.starts_with("runner-agent 0.0.0, kernel 6.1.0: `runner-agent run` does not work here\n"),
            "{text}"
        );
        let check =
            "✗ btf  none\n       ↳ needed: the kernel's BTF\n       ↳ everything\n       ↳ to do: another kernel\n";
        assert!(text.contains(check), "{text}");
        assert!(tier::BLIND_SPOTS.iter().all(|spot| text.contains(spot.what)));
    }
}
