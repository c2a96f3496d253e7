//! The table, its verdicts, and the lines that are counted.
#![allow(clippy::print_stdout, reason = "the table is this program's result")]

use end_to_end::report;

use crate::attempt::{Attempt, Expected};
use crate::attempts::NEEDS_GUEST;
use crate::proof::{Outcome, Outcomes};

/// What an attempt comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Held,
    /// Something got out.
    Leaked(String),
    /// Nothing got out, but something else is not as it should be.
    Broken(String),
    /// The technique delivers nothing on this kernel, so that nothing is proved.
    CouldNotRun(String),
}

/// Names of tests, as libtest lists them.
pub fn list(attempts: &[(usize, &Attempt)]) {
    for (_, attempt) in attempts {
        println!("{}: test", attempt.name);
    }
}

/// Every attempt could not run, for one reason.
pub fn all_missing(attempts: &[(usize, &Attempt)], reason: &str) {
    for (_, attempt) in attempts {
        report::could_not_run(&format!("egress::{}", attempt.name), reason);
        println!("test {} ... ok", attempt.name);
    }
}

fn verdict(attempt: &Attempt, outcomes: &Outcomes) -> Verdict {
    // A leak is a leak, whatever else did not run.
    if let Some(Outcome { seen, told }) = &outcomes.forbidden
        && !seen.is_empty()
    {
        return Verdict::Leaked(format!("{} ({told})", seen.join(", ")));
    }
    let (Some(forbidden), Some(control), Some(twin)) = (&outcomes.forbidden, &outcomes.control, &outcomes.twin) else {
        return Verdict::CouldNotRun(outcomes.missing.clone().unwrap_or_default());
    };
    if control.seen.is_empty() {
        return Verdict::CouldNotRun(format!("even where nothing is refused, nothing arrives: {}", control.told));
    }
    if twin.seen.is_empty() {
        return Verdict::Broken(format!("the allowed twin did not arrive: {}", twin.told));
    }
    if !shows(attempt.expected, &forbidden.told) {
        return Verdict::Broken(format!("{} was expected, and it was {}", attempt.expected.text(), forbidden.told));
    }
    Verdict::Held
}

/// Whether what the job was told is what it should have been.
fn shows(expected: Expected, told: &str) -> bool {
    match expected {
        Expected::Refused => told == "EPERM",
        Expected::Killed => told == "killed" || told == "signal 9",
        Expected::NoName => told == "NXDOMAIN",
        Expected::Answered => told.starts_with("answered"),
        Expected::BadQuestion => matches!(told, "FORMERR" | "NOTIMP" | "REFUSED"),
        Expected::Unresolved => told == "Name or service not known",
        Expected::Closed => told.contains("os error 9"),
        Expected::Dropped => told != "EPERM" && told != "killed",
    }
}

/// Prints everything; whether all held.
pub fn print(attempts: &[(usize, &Attempt)], outcomes: &[Outcomes]) -> bool {
    let row = |name: &str, expected: &str, saw: &str, forbidden: &str, twin: &str, verdict: &str| {
        println!("{name:<34}  {expected:<12}  {saw:<44}  {forbidden:<24}  {twin:<44}  {verdict}");
    };
    let cut = |text: &str, len: usize| text.chars().take(len).collect::<String>();
    row("attempt", "expected", "what the listener saw", "forbidden form", "allowed twin", "");
    let verdicts: Vec<Verdict> =
        attempts.iter().zip(outcomes).map(|((_, attempt), outcomes)| verdict(attempt, outcomes)).collect();
    for (((_, attempt), outcomes), verdict) in attempts.iter().zip(outcomes).zip(&verdicts) {
        let saw = |outcome: &Option<Outcome>, none: &str| match outcome {
            Some(Outcome { seen, .. }) => seen.first().cloned().unwrap_or_else(|| none.to_owned()),
            None => "-".to_owned(),
        };
        let told = outcomes.forbidden.as_ref().map_or("-", |outcome| outcome.told.as_str());
        row(
            attempt.name,
            attempt.expected.text(),
            &cut(
                &format!("{}; audited: {}", saw(&outcomes.forbidden, "nothing"), saw(&outcomes.control, "nothing")),
                70,
            ),
            &cut(told, 24),
            &cut(&saw(&outcomes.twin, "did not arrive"), 44),
            match verdict {
                Verdict::Held => "held",
                Verdict::Leaked(_) => "LEAKED",
                Verdict::Broken(_) => "BROKEN",
                Verdict::CouldNotRun(_) => "could not run",
            },
        );
    }
    println!();
    for ((_, attempt), verdict) in attempts.iter().zip(&verdicts) {
        let (word, why) = match verdict {
            Verdict::Held => continue,
            Verdict::Leaked(why) => ("leaked", why),
            Verdict::Broken(why) => ("broken", why),
            Verdict::CouldNotRun(why) => ("could not run", why),
        };
        println!("{word}: {}: {}: {why}", attempt.name, attempt.what);
    }
    for ((_, attempt), verdict) in attempts.iter().zip(&verdicts) {
        let result = match verdict {
            Verdict::Held => "ok",
            Verdict::CouldNotRun(reason) => {
                report::could_not_run(&format!("egress::{}", attempt.name), reason);
                "ok"
            }
            Verdict::Leaked(_) | Verdict::Broken(_) => "FAILED",
        };
        println!("test {} ... {result}", attempt.name);
    }
    for (name, reason) in NEEDS_GUEST {
        println!("needs a guest: {name}: {reason}");
        report::needs_guest(&format!("egress::{name}"), reason);
    }
    let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
    let held = count(|verdict| *verdict == Verdict::Held);
    let leaked = count(|verdict| matches!(verdict, Verdict::Leaked(_)));
    let absent = count(|verdict| matches!(verdict, Verdict::CouldNotRun(_)));
    let ran = verdicts.len() - absent;
    println!("\n{held} of {ran} held, {leaked} leaked; {absent} could not run here");
    held == ran
}
