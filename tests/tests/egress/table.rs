//! The table, its verdicts, and the lines that are counted.
#![allow(clippy::print_stdout, reason = "the table is this program's result")]

use end_to_end::report;

use crate::attempt::{Attempt, Expected};
use crate::attempts::NEEDS_GUEST;
use crate::proof::{Outcome, Outcomes, Proof};

/// What an attempt comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Held,
    /// Something got out.
    Leaked(String),
    /// Nothing got out, but something else is not as it should be.
    Broken(String),
    /// It got out, and this tier can't hold it.
    Beyond(&'static str),
    /// The technique delivers nothing on this kernel, so that nothing is proved.
    CouldNotRun(String),
}

/// Names of tests, as libtest lists them.
pub fn list(attempts: &[(usize, &Attempt)], filter: Option<&str>) {
    let names = attempts.iter().map(|(_, attempt)| attempt.name).chain(guests(filter).map(|(name, _)| *name));
    names.for_each(|name| println!("{name}: test"));
}

/// What needs a guest and has a name that is asked for.
fn guests(filter: Option<&str>) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    NEEDS_GUEST.iter().filter(move |(name, _)| filter.is_none_or(|filter| name.contains(filter)))
}

/// Every attempt could not run, for one reason.
pub fn all_missing(attempts: &[(usize, &Attempt)], reason: &str) {
    for (_, attempt) in attempts {
        println!("test {} ... ok", attempt.name);
        report::could_not_run(&format!("egress::{}", attempt.name), reason);
    }
}

fn verdict(attempt: &Attempt, tier: &str, outcomes: &Outcomes) -> Verdict {
    let expected = attempt.expected_on(tier);
    // A leak is a leak, whatever else did not run.
    if let Some(Outcome { seen, told }) = &outcomes.forbidden
        && !seen.is_empty()
    {
        return attempt.beyond_on(tier).map_or_else(
            || Verdict::Leaked(format!("{}, {} such packets ({told})", seen[0], seen.len())),
            Verdict::Beyond,
        );
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
    if !shows(expected, &forbidden.told) {
        return Verdict::Broken(format!("{} was expected, and it was {}", expected.text(), forbidden.told));
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

/// Prints everything, the table last; whether all held.
pub fn print(attempts: &[(usize, &Attempt)], proof: &Proof, filter: Option<&str>) -> bool {
    let rows: Vec<Row> = attempts
        .iter()
        .zip(&proof.outcomes)
        .map(|(&(_, attempt), outcomes)| {
            let expected = attempt.expected_on(&proof.tier);
            Row { attempt, expected, outcomes, verdict: verdict(attempt, &proof.tier, outcomes) }
        })
        .collect();
    for row in &rows {
        row.count();
    }
    for (name, reason) in guests(filter) {
        println!("test {name} ... ok");
        report::needs_guest(&format!("egress::{name}"), reason);
    }
    println!("\ntier: {}", proof.tier);
    line(["attempt", "expected", "what the listener saw", "forbidden form", "allowed twin", ""]);
    rows.iter().for_each(Row::print);
    println!();
    rows.iter().for_each(Row::explain);
    for (name, reason) in guests(filter) {
        println!("needs a guest: {name}: {reason}");
    }
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    let held = count(|verdict| *verdict == Verdict::Held);
    let leaked = count(|verdict| matches!(verdict, Verdict::Leaked(_)));
    let absent = count(|verdict| matches!(verdict, Verdict::CouldNotRun(_)));
    let beyond = count(|verdict| matches!(verdict, Verdict::Beyond(_)));
    let ran = rows.len() - absent - beyond;
    println!("\n{beyond} are beyond this tier, {absent} could not run here");
    println!("{held} of {ran} held, {leaked} leaked");
    held == ran
}

fn line([name, expected, saw, forbidden, twin, verdict]: [&str; 6]) {
    println!("{name:<31}  {expected:<12}  {saw:<64}  {forbidden:<22.22}  {twin:<44.44}  {verdict}");
}

/// An attempt with what came of it.
struct Row<'a> {
    attempt: &'a Attempt,
    expected: Expected,
    outcomes: &'a Outcomes,
    verdict: Verdict,
}

impl Row<'_> {
    /// For who counts: in libtest's form, with a word for what libtest has none for.
    fn count(&self) {
        let name = self.attempt.name;
        let result = if matches!(self.verdict, Verdict::Leaked(_) | Verdict::Broken(_)) { "FAILED" } else { "ok" };
        println!("test {name} ... {result}");
        match &self.verdict {
            Verdict::CouldNotRun(reason) => report::could_not_run(&format!("egress::{name}"), reason),
            Verdict::Beyond(reason) => report::needs_guest(&format!("egress::{name}"), reason),
            Verdict::Held | Verdict::Leaked(_) | Verdict::Broken(_) => {}
        }
    }

    fn print(&self) {
        let Outcomes { forbidden, control, twin, .. } = self.outcomes;
        let first = |outcome: &Option<Outcome>, none: &str| match outcome {
            Some(Outcome { seen, .. }) => seen.first().cloned().unwrap_or_else(|| none.to_owned()),
            None => "-".to_owned(),
        };
        line([
            self.attempt.name,
            self.expected.text(),
            &format!("{}; audited: {}", first(forbidden, "nothing"), first(control, "nothing")),
            forbidden.as_ref().map_or("-", |outcome| &outcome.told),
            &first(twin, "did not arrive"),
            match self.verdict {
                Verdict::Held => "held",
                Verdict::Leaked(_) => "LEAKED",
                Verdict::Broken(_) => "BROKEN",
                Verdict::Beyond(_) => "beyond this tier",
                Verdict::CouldNotRun(_) => "could not run",
            },
        ]);
    }

    /// Why it did not hold.
    fn explain(&self) {
        let (word, why) = match &self.verdict {
            Verdict::Held => return,
            Verdict::Leaked(why) => ("leaked", why.as_str()),
            Verdict::Broken(why) => ("broken", why.as_str()),
            Verdict::Beyond(why) => ("beyond this tier", *why),
            Verdict::CouldNotRun(why) => ("could not run", why.as_str()),
        };
        println!("{word}: {} ({}): {why}", self.attempt.name, self.attempt.what);
    }
}
