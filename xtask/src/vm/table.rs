//! What came of the tests in guests: one table, a row for each test and a column for each guest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::suite::Suite;

/// What one guest brought back.
pub struct Column {
    /// The kernel as it is asked for, and the tier if one was asked for.
    pub name: String,
    /// The kernel's full version.
    pub release: String,
    pub suites: Vec<Suite>,
    pub wall: Duration,
    /// What `runner-agent doctor --json` said in the first guest of a kernel.
    pub diagnosis: Option<Value>,
}

impl Column {
    /// The suites, each named for the kernel too.
    pub fn into_suites(self) -> impl Iterator<Item = Suite> {
        let name = self.name;
        self.suites.into_iter().map(move |suite| Suite { name: format!("kernel {name}: {}", suite.name), ..suite })
    }

    /// More tests of the same kernel and tier, in a guest of their own.
    fn and(&mut self, more: Self) {
        self.suites.extend(more.suites);
        self.wall += more.wall;
        self.diagnosis = self.diagnosis.take().or(more.diagnosis);
    }
}

/// Columns of which each has all that was run on its kernel and tier.
pub fn merged(columns: impl IntoIterator<Item = Column>) -> Vec<Column> {
    let mut all: Vec<Column> = Vec::new();
    for column in columns {
        match all.iter_mut().find(|known| known.name == column.name) {
            Some(known) => known.and(column),
            None => all.push(column),
        }
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Passed,
    Failed,
    /// Number of the reason, from 1.
    NotApplicable(usize),
    /// Not among this guest's tests.
    Absent,
}

impl Cell {
    fn text(self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed => "FAILED".to_owned(),
            Self::NotApplicable(reason) => format!("n/a [{reason}]"),
            Self::Absent => "-".to_owned(),
        }
    }
}

/// Rows in the order of suite and test, so that a test that fails in one guest stands beside where it passes.
pub fn render(columns: &[Column]) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<(&str, &str), Vec<Cell>> = BTreeMap::new();
    for (at, column) in columns.iter().enumerate() {
        for suite in &column.suites {
            let passed = suite.passed.iter().map(|test| (test.as_str(), Cell::Passed));
            let failed = suite.failed.iter().map(|(test, _)| (test.as_str(), Cell::Failed));
            let mut cells: Vec<(&str, Cell)> = passed.chain(failed).collect();
            for (test, reason) in &suite.skipped {
                let number = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                cells.push((test, Cell::NotApplicable(number + 1)));
            }
            for (test, cell) in cells {
                let row = rows.entry((&suite.name, test)).or_insert_with(|| vec![Cell::Absent; columns.len()]);
                row[at] = cell;
            }
        }
    }
    write_out(columns, &rows, &reasons)
}

fn write_out(columns: &[Column], rows: &BTreeMap<(&str, &str), Vec<Cell>>, reasons: &[&str]) -> String {
    let first = rows.keys().map(|(suite, test)| suite.len() + 2 + test.len()).max().unwrap_or(0).max(24);
    let widths: Vec<usize> = columns.iter().map(|column| column.name.len().max(column.release.len()).max(9)).collect();
    let mut text = String::new();
    let line = |text: &mut String, name: &str, cells: &[String]| {
        let _ = write!(text, "{name:first$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    };
    let of_columns = |cell: &dyn Fn(&Column) -> String| columns.iter().map(cell).collect::<Vec<_>>();
    line(&mut text, "test", &of_columns(&|column| column.name.clone()));
    line(&mut text, "", &of_columns(&|column| column.release.clone()));
    for ((suite, test), cells) in rows {
        let cells: Vec<String> = cells.iter().map(|cell| cell.text()).collect();
        line(&mut text, &format!("{suite}: {test}"), &cells);
    }
    let count = |of: fn(&Suite) -> usize| of_columns(&|column| column.suites.iter().map(of).sum::<usize>().to_string());
    line(&mut text, "passed", &count(|suite| suite.passed.len()));
    line(&mut text, "failed", &count(|suite| suite.failed.len()));
    line(&mut text, "not applicable", &count(|suite| suite.skipped.len()));
    line(&mut text, "wall time", &of_columns(&|column| format!("{:.0} s", column.wall.as_secs_f32())));
    for (number, reason) in reasons.iter().enumerate() {
        let _ = writeln!(text, "[{}] {reason}", number + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, suite: Suite) -> Column {
        let release = format!("{name}.0-cloud");
        Column { name: name.into(), release, suites: vec![suite], wall: Duration::from_secs(61), diagnosis: None }
    }

    #[test]
    fn a_test_that_differs_between_kernels_is_one_row() {
        let name = || "agent".to_owned();
        let old = Suite {
            name: name(),
            passed: vec!["exec::storm".into()],
            skipped: vec![("net::mptcp".into(), "no MPTCP".into()), ("net::sctp".into(), "no MPTCP".into())],
            ..Suite::default()
        };
        let new = Suite {
            name: name(),
            passed: vec!["net::mptcp".into()],
            failed: vec![("exec::storm".into(), "it was missed".into())],
            ..Suite::default()
        };
        let text = render(&[column("5.10", old), column("6.1", new)]);
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {text}"));
            line[start.len()..].split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words("agent: exec::storm"), ["passed", "FAILED"]);
        assert_eq!(words("agent: net::mptcp"), ["n/a", "[1]", "passed"]);
        assert_eq!(words("agent: net::sctp"), ["n/a", "[1]", "-"]);
        assert_eq!(words("failed"), ["0", "1"]);
        assert_eq!(words("wall time"), ["61", "s", "61", "s"]);
        assert!(text.ends_with("[1] no MPTCP\n"));
    }
}
