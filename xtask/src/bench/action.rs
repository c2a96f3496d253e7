//! `bench action`: what the GitHub Action adds to an empty job. In each round every variant runs once, one after the other, and who
//! begins changes from round to round; what one adds is told against the same round's job without the Action.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::block::quiet;
use super::stats::{median, quantile};
use crate::step;

/// What the whole may add, in milliseconds.
const CEILING: f64 = 2000.0;

/// The first is what the others are compared with.
const BARE: &str = "no action";

/// Name, mode, and whether a daemon was there.
const VARIANTS: [(&str, &str, bool); 5] = [
    (BARE, "", false),
    ("audit, a daemon of its own", "audit", false),
    ("block, a daemon of its own", "block", false),
    ("audit, a daemon was there", "audit", true),
    ("block, a daemon was there", "block", true),
];

/// Milliseconds of one job, and of the Action's stages in it.
const PARTS: [&str; 4] = ["whole", "pre", "main", "post"];

/// Measures and prints a table. Waits before each job until the machine is quiet, as long as `patience`.
pub fn run(binary: &Path, rounds: u32, patience: Duration) -> Result<()> {
    let mut measured: [Vec<[f64; 4]>; VARIANTS.len()] = Default::default();
    let mut busy = 0;
    for round in 0..rounds as usize {
        eprintln!("── round {} of {rounds}", round + 1);
        for turn in 0..VARIANTS.len() {
            let at = (round + turn) % VARIANTS.len();
            busy += u32::from(!quiet::wait(patience));
            measured[at].push(once(binary, VARIANTS[at])?);
        }
    }
    println!("{}", table(&measured, rounds));
    if !patience.is_zero() {
        println!("\nThe machine was busy before {busy} of {} jobs.", rounds as usize * VARIANTS.len());
    }
    Ok(())
}

fn once(binary: &Path, (name, mode, installed): (&str, &str, bool)) -> Result<[f64; 4]> {
    let variant = json!({ "bare": name == BARE, "mode": mode, "installed": installed });
    let mut node = Command::new("node");
    node.arg("action/test/bench.mjs").arg(binary).arg(variant.to_string());
    let said = step::output(node.current_dir(step::root()).stdin(Stdio::null()))?;
    let said: Value = serde_json::from_str(&said).with_context(|| format!("`{said}` is no measurement"))?;
    // A job without the Action has no stages.
    Ok(PARTS.map(|part| said[part].as_f64().unwrap_or(0.0)))
}

fn table(measured: &[Vec<[f64; 4]>], rounds: u32) -> String {
    let both = |values: &[f64]| {
        let of = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
        format!("{} ({})", of(median(values)), of(quantile(values, 0.95)))
    };
    let part = |at: usize, part: usize| measured[at].iter().map(|job| job[part]).collect::<Vec<_>>();
    let mut text = format!(
        "Medians of {rounds} rounds, in brackets what 95 of 100 are below.\n\n\
         | an empty job | whole, ms | added, ms | pre: arming | main: outputs | post: ending | added ≤ 2 s |\n\
         |---|--:|--:|--:|--:|--:|---|\n\
         | {BARE} | {} | | | | | |\n",
        both(&part(0, 0))
    );
    for (at, (name, ..)) in VARIANTS.iter().enumerate().skip(1) {
        let added: Vec<f64> = measured[at].iter().zip(&measured[0]).map(|(job, bare)| job[0] - bare[0]).collect();
        let below = |value: Option<f64>| value.is_some_and(|value| value <= CEILING);
        let verdict = match (below(median(&added)), below(quantile(&added, 0.95))) {
            (true, true) => "met",
            (true, false) => "met by the median alone",
            (false, _) => "not met",
        };
        let cells = [part(at, 0), added, part(at, 1), part(at, 2), part(at, 3)].map(|values| both(&values));
        let _ = writeln!(text, "| {name} | {} | {verdict} |", cells.join(" | "));
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_told_against_the_same_rounds_bare_job() {
        let bare = vec![[100.0, 0.0, 0.0, 0.0], [1100.0, 0.0, 0.0, 0.0]];
        let slow = vec![[1600.0, 900.0, 50.0, 200.0], [2600.0, 900.0, 50.0, 200.0]];
        let text = table(&[bare, slow.clone(), slow.clone(), slow.clone(), slow], 2);
        let row = text.lines().find(|line| line.starts_with("| audit, a daemon of its own")).unwrap();
        assert!(row.contains("| 2100 (2600) | 1500 (1500) | 900 (900) |") && row.ends_with("| met |"), "{row}");
    }
}
