//! The table, its verdicts, and the lines that are counted.
#![allow(clippy::print_stdout, reason = "the table is this program's result")]

use end_to_end::report;

use crate::attempt::{Attempt, Outcome};
use crate::proof::{Came, Proof};

/// Names of tests, as libtest lists them.
pub fn list(attempts: &[&Attempt]) {
    for attempt in attempts {
        println!("tamper::{}: test", attempt.name);
    }
}

/// No attempt could run, for one reason.
pub fn all_missing(attempts: &[&Attempt], reason: &str) {
    for attempt in attempts {
        println!("test tamper::{} ... ok", attempt.name);
        report::could_not_run(&format!("crate::tamper::{}", attempt.name), reason);
    }
}

/// No attempt ran, and should have.
pub fn all_broken(attempts: &[&Attempt], reason: &str) {
    for attempt in attempts {
        println!("test tamper::{} ... FAILED", attempt.name);
    }
    println!("no job can be started: {reason}\n0 passed, {} failed", attempts.len());
}

/// What is not as it was claimed to be.
fn wrong(attempt: &Attempt, came: &Came, tier: &str) -> Option<String> {
    if let Some(broken) = &came.broken {
        return Some(broken.clone());
    }
    let (expected, outcome) = (attempt.expected(tier), came.outcome?);
    match outcome.cmp(&expected) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less if outcome == Outcome::Missed => Some("it had its way, and nobody said so".to_owned()),
        std::cmp::Ordering::Less => Some(format!("it was to be {}", expected.text())),
        std::cmp::Ordering::Greater => Some(format!("it is claimed to be {} only; claim what holds", expected.text())),
    }
}

/// Prints everything, the table last; whether all is as it was claimed to be.
pub fn print(attempts: &[&Attempt], proof: &Proof) -> bool {
    let rows: Vec<_> = attempts
        .iter()
        .zip(&proof.came)
        .map(|(attempt, came)| (attempt, came, wrong(attempt, came, &proof.tier)))
        .collect();
    for (attempt, came, wrong) in &rows {
        let name = attempt.name;
        println!("test tamper::{name} ... {}", if wrong.is_some() { "FAILED" } else { "ok" });
        if let Some(reason) = came.needs_guest {
            report::needs_guest(&format!("crate::tamper::{name}"), reason);
        } else if let Some(reason) = &came.missing {
            report::could_not_run(&format!("crate::tamper::{name}"), reason);
        }
    }
    println!();
    println!("{:<24} {:<46} {:<10} {:<14} what the log says", "attempt", "what is tried", "tier", "outcome");
    for (attempt, came, wrong) in &rows {
        let outcome = match came.outcome {
            Some(outcome) => outcome.text(),
            None if came.needs_guest.is_some() => "needs a guest",
            None if came.missing.is_some() => "could not run",
            None => "BROKEN",
        };
        let mark = if wrong.is_some() { " <-" } else { "" };
        println!("{:<24} {:<46.46} {:<10} {:<14} {}{mark}", attempt.name, attempt.what, proof.tier, outcome, came.log);
    }
    println!();
    for (attempt, came, wrong) in &rows {
        if let Some(wrong) = wrong {
            println!("wrong: {}: {wrong} ({})", attempt.name, came.how);
        } else if let Some(missing) = &came.missing {
            println!("could not run: {}: {missing}", attempt.name);
        }
    }
    let count = |outcome| rows.iter().filter(|(_, came, _)| came.outcome == Some(outcome)).count();
    let failed = rows.iter().filter(|(.., wrong)| wrong.is_some()).count();
    let absent = rows.iter().filter(|(_, came, _)| came.missing.is_some() || came.needs_guest.is_some()).count();
    println!(
        "{} denied, {} found, {} missed; {absent} could not run here",
        count(Outcome::Denied),
        count(Outcome::Found),
        count(Outcome::Missed)
    );
    println!("{} passed, {failed} failed", rows.len() - failed);
    failed == 0
}
