//! A guest that is one test by itself: what is done in it held, or did not, or can't be done here.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Result, bail};

use super::side_by_side::Live;
use crate::suite::Suite;

/// One such test.
pub struct Whole {
    name: &'static str,
    /// The command that runs it alone.
    by_hand: &'static str,
    hold: Box<Hold>,
}

/// Does it, and says what the guest says; fails with what did not hold, and returns why it can't be done here.
type Hold = dyn Fn(&mut dyn Write) -> Result<Option<String>> + Sync;

impl Whole {
    pub fn new(
        name: &'static str,
        by_hand: &'static str,
        hold: impl Fn(&mut dyn Write) -> Result<Option<String>> + Sync + 'static,
    ) -> Self {
        Self { name, by_hand, hold: Box::new(hold) }
    }

    /// Runs it as a row of the table of suites; not begun when the time for guests is over, of which that much is left.
    pub fn suite(&self, left: Duration, say: &mut dyn Write) -> Suite {
        let skipped = |reason: String| Suite {
            name: self.name.to_owned(),
            skipped: vec![("all".to_owned(), reason)],
            ..Suite::default()
        };
        if left.is_zero() {
            return skipped(format!("the minutes for guests were over; `{}` runs it", self.by_hand));
        }
        eprintln!("── {}", self.name);
        match (self.hold)(say) {
            Ok(None) => Suite::check(self.name, Ok(())),
            Ok(Some(reason)) => skipped(reason),
            Err(error) => Suite::check(self.name, Err(error)),
        }
    }

    /// Runs it alone; fails when it did not hold, and when it can't be done here.
    pub fn alone(&self) -> Result<()> {
        eprintln!("── {}", self.name);
        match (self.hold)(&mut Live)? {
            None => Ok(io::stdout().flush()?),
            Some(reason) => bail!("it can't run here: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(hold: impl Fn(&mut dyn Write) -> Result<Option<String>> + Sync + 'static) -> Whole {
        Whole::new("guest: a test", "cargo xtask vm --it", hold)
    }

    #[test]
    fn what_held_what_did_not_and_what_can_not_run_are_three_rows() {
        let left = Duration::from_mins(1);
        let mut said = Vec::new();
        assert_eq!(whole(|_| Ok(None)).suite(left, &mut said).passed.len(), 1);
        assert_eq!(whole(|_| Ok(Some("no systemd".into()))).suite(left, &mut said).skipped[0].1, "no systemd");
        let failed = whole(|_| bail!("a container was made")).suite(left, &mut said).failed;
        assert_eq!(failed, [("guest: a test".to_owned(), "a container was made".to_owned())]);
    }

    #[test]
    fn nothing_is_begun_when_the_time_is_over() {
        let never = whole(|_| panic!("it was begun"));
        let suite = never.suite(Duration::ZERO, &mut Vec::new());
        assert_eq!(suite.skipped[0].1, "the minutes for guests were over; `cargo xtask vm --it` runs it");
    }

    #[test]
    fn alone_it_fails_where_it_can_not_run() {
        let error = whole(|_| Ok(Some("no systemd".into()))).alone().unwrap_err();
        assert_eq!(error.to_string(), "it can't run here: no systemd");
    }
}
