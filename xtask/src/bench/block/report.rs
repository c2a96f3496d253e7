//! The tables of block mode: medians, and differences between values of one round.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Measured, RULES, Values};
use crate::bench::stats::median;

/// What blocking may add to one connect, in nanoseconds.
const CONNECT_NS: f64 = 1500.0;
/// What blocking may add to one datagram.
const SENDTO_NS: f64 = 500.0;
/// Questions a second of the resolver's own time.
const QUESTIONS: f64 = 20_000.0;
/// What the resolver may add to a question that goes upstream, in microseconds.
const LATER_US: f64 = 200.0;

/// Everything that was measured.
pub fn markdown(measured: &Measured, rounds: u32, quick: bool) -> String {
    let quick = if quick { "; a quick run, no measurement" } else { "" };
    let mut text = format!("{rounds} rounds, medians{quick}; what is added was taken within a round.\n");
    verdict(&mut text, &measured.verdict);
    programs(&mut text, &measured.programs);
    rules(&mut text, &measured.rules);
    names(&mut text, &measured.names);
    agent(&mut text, &measured.agent);
    many_names(&mut text, measured.many_names.as_ref());
    text
}

/// The median of the differences of two columns, round by round.
fn added(values: &Values, row: &str, from: &str, to: &str) -> Option<f64> {
    let differences: Vec<f64> =
        values.of(row, from).iter().zip(values.of(row, to)).map(|(from, to)| to - from).collect();
    median(&differences)
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
}

fn met(value: Option<f64>, is_met: impl FnOnce(f64) -> bool) -> &'static str {
    match value.map(is_met) {
        Some(true) => "met",
        Some(false) => "not met",
        None => "",
    }
}

fn verdict(text: &mut String, values: &Values) {
    if values.rows().next().is_none() {
        return;
    }
    text.push_str(
        "\n| ns a call | no agent | audit | block | block adds to no agent | lowest – highest | block adds to audit | at \
         most | |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for row in values.rows() {
        let [nobody, audit, block] = ["Nobody", "Audit", "Block"].map(|column| median(values.of(row, column)));
        let to_nobody = added(values, row, "Nobody", "Block");
        let ceiling = match row {
            "connect" | "connect, two in turn" | "tcp, one end, connect alone" => Some(CONNECT_NS),
            "sendto" | "sendto, two in turn" => Some(SENDTO_NS),
            _ => None,
        };
        let spread = values.of(row, "Nobody").iter().zip(values.of(row, "Block")).map(|(from, to)| to - from);
        let (lowest, highest) =
            spread.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| (low.min(one), high.max(one)));
        let _ = writeln!(
            text,
            "| {row} | {} | {} | {} | {} | {lowest:.0} – {highest:.0} | {} | {} | {} |",
            cell(nobody),
            cell(audit),
            cell(block),
            cell(to_nobody),
            cell(added(values, row, "Audit", "Block")),
            cell(ceiling),
            ceiling.map_or("", |ceiling| met(to_nobody, |value| value <= ceiling)),
        );
    }
}

fn programs(text: &mut String, values: &Values) {
    if values.rows().next().is_none() {
        return;
    }
    text.push_str("\n| the kernel's own count | audit: ns a run | runs a call | block: ns a run | runs a call |\n");
    text.push_str("|---|--:|--:|--:|--:|\n");
    for row in values.rows() {
        let column = |name: &str| median(values.of(row, name));
        let runs = |name| column(name).map_or_else(|| "–".to_owned(), |runs| format!("{runs:.1}"));
        let (audit, block) = (cell(column("Audit")), cell(column("Block")));
        let _ = writeln!(text, "| {row} | {audit} | {} | {block} | {} |", runs("Audit runs"), runs("Block runs"));
    }
}

fn rules(text: &mut String, values: &Values) {
    if values.rows().next().is_none() {
        return;
    }
    text.push_str(
        "\n| rules | connect, in turn: no agent | block adds | to audit | sendto, in turn: no agent | block adds | sendto: no \
         agent | block adds | ready, ms |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for rules in RULES {
        let nobody = |row: &str| cell(median(values.of(&format!("{rules} {row}"), "Nobody")));
        let adds = |row: &str, from: &str| cell(added(values, &format!("{rules} {row}"), from, "Block"));
        let _ = writeln!(
            text,
            "| {rules} | {} | {} | {} | {} | {} | {} | {} | {} |",
            nobody("connect"),
            adds("connect", "Nobody"),
            adds("connect", "Audit"),
            nobody("sendto, in turn"),
            adds("sendto, in turn", "Nobody"),
            nobody("sendto"),
            adds("sendto", "Nobody"),
            cell(median(values.of(&format!("{rules} ready"), "Block"))),
        );
    }
}

fn names(text: &mut String, values: &Values) {
    if values.rows().next().is_none() {
        return;
    }
    text.push_str("\n| the resolver | no agent | audit | block | |\n|---|--:|--:|--:|---|\n");
    for row in values.rows() {
        let [nobody, audit, block] = ["Nobody", "Audit", "Block"].map(|column| cell(median(values.of(row, column))));
        let word = match row {
            "ns of resolver" => met(median(values.of(row, "Block")), |each| 1e9 / each >= QUESTIONS),
            "median" => met(added(values, row, "Nobody", "Block"), |later| later <= LATER_US),
            _ => "",
        };
        let _ = writeln!(text, "| {row} | {nobody} | {audit} | {block} | {word} |");
    }
}

fn agent(text: &mut String, values: &Values) {
    if values.rows().next().is_none() {
        return;
    }
    text.push_str("\n| the agent, by rules (ms, KiB) | audit | block |\n|---|--:|--:|\n");
    for row in values.rows() {
        let [audit, block] = ["Audit", "Block"].map(|column| cell(median(values.of(row, column))));
        let _ = writeln!(text, "| {row} | {audit} | {block} |");
    }
}

fn many_names(text: &mut String, sizes: Option<&Value>) {
    let Some(sizes) = sizes else { return };
    text.push_str("\n| tenths of the names | resident, KiB | peak, KiB | rule map, KiB |\n|--:|--:|--:|--:|\n");
    for (tenth, size) in sizes["sizes"].as_array().into_iter().flatten().enumerate() {
        let _ = writeln!(text, "| {tenth} | {} | {} | {} |", size["resident"], size["peak"], size["rules"]);
    }
    let [answered, refused, failed] = ["answered", "refused", "failed"].map(|name| &sizes[name]);
    let _ = writeln!(text, "\nAnswered: {answered}, refused: {refused}, failed: {failed}.");
}
