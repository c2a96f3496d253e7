//! Keeps the account of records, of all jobs together, and tells each job of losses as they happen: whose record was lost, nobody
//! knows.

use std::collections::BTreeMap;

use runner_agent_common::map::Counters;
use runner_agent_common::record::probe;

use crate::notice::{Account, Loss};
use crate::sink::SinkLoss;

/// Counts what user space received.
#[derive(Debug, Default)]
pub(super) struct Bookkeeper {
    pub(super) received: u64,
    pub(super) decoded: u64,
    pub(super) refused: u64,
    /// Whether it isn't known exactly how much an agent before had taken off the rings.
    pub(super) inherits: bool,
}

impl Bookkeeper {
    /// Goes on where another agent took records off the rings that nobody has an account of.
    pub(super) fn after_another() -> Self {
        Self { inherits: true, ..Self::default() }
    }

    /// Counts that agent's records as received: all that were submitted by `before` have been taken off, and what is missing here it had.
    /// That is exact once nothing came meanwhile, which is up to the jobs; until then it is the least that it can have been, so that no
    /// difference is told that may be none. `after` have been submitted by now.
    pub(super) fn inherit(&mut self, before: u64, after: u64) {
        if self.inherits {
            let theirs = before.saturating_sub(self.received);
            self.received += theirs;
            self.decoded += theirs;
            self.inherits = before != after;
        }
    }

    /// The account as of these counters and skipped runs.
    pub(super) fn account(&self, kernel: &[Counters; probe::COUNT], skipped: BTreeMap<&'static str, u64>) -> Account {
        let probes = probe::NAMES.iter().zip(kernel).filter(|(_, counters)| **counters != Counters::default());
        Account {
            probes: probes.map(|(name, counters)| (*name, *counters)).collect(),
            received: self.received,
            decoded: self.decoded,
            refused: self.refused,
            notices_dropped: 0,
            skipped,
        }
    }
}

/// Remembers which losses a job was told of.
#[derive(Debug)]
pub(super) struct Told {
    beginning: Account,
    told: BTreeMap<(&'static str, &'static str), u64>,
}

impl Told {
    /// Nothing was told yet, and what was lost before is another's.
    pub(super) fn since(beginning: Account) -> Self {
        Self { beginning, told: BTreeMap::new() }
    }

    /// What another agent told of a job that began with this account and had this one when that agent ended.
    pub(super) fn resumed(beginning: Account, so_far: &Account) -> Self {
        let mut told = Self::since(beginning);
        told.news(so_far, &[]);
        told
    }

    /// The account of everything when the job began.
    pub(super) fn beginning(&self) -> &Account {
        &self.beginning
    }

    /// Losses that were not told yet.
    pub(super) fn news(&mut self, account: &Account, sinks: &[SinkLoss]) -> Vec<Loss> {
        let mut losses = Vec::new();
        for (&place, counters) in &account.probes {
            let reasons = [
                ("ring full", counters.ring_full),
                ("oversize", counters.oversize),
                ("busy", counters.busy),
                // No record is lost by it, but membership by lineage is.
                ("map full", counters.map_full),
            ];
            for (reason, total) in reasons {
                self.tell(place, reason, total, &mut losses);
            }
        }
        for (program, runs) in account.told_skipped() {
            self.tell(program, "skipped", runs, &mut losses);
        }
        self.tell("user", "refused", account.refused, &mut losses);
        for loss in sinks {
            self.tell(loss.sink, "queue full", loss.dropped, &mut losses);
            self.tell(loss.sink, "write failed", loss.failed, &mut losses);
            self.tell(loss.sink, "spool full", loss.expired, &mut losses);
            self.tell(loss.sink, "refused", loss.refused, &mut losses);
        }
        losses
    }

    fn tell(&mut self, place: &'static str, reason: &'static str, total: u64, losses: &mut Vec<Loss>) {
        let told = self.told.entry((place, reason)).or_default();
        if total > *told {
            losses.push(Loss { place, reason, count: total - *told });
            *told = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_told_once_and_the_equation_shows_what_nobody_counted() {
        let mut kernel = [Counters::default(); probe::COUNT];
        kernel[usize::from(probe::EXEC)] = Counters { seen: 10, submitted: 7, ring_full: 3, ..Counters::default() };
        let book = Bookkeeper { received: 7, decoded: 7, ..Bookkeeper::default() };
        let mut told = Told::since(Account::default());
        let account = book.account(&kernel, BTreeMap::new());
        assert_eq!((account.lost(), account.difference()), (3, 0));
        assert_eq!(told.news(&account, &[]), [Loss { place: "exec", reason: "ring full", count: 3 }]);
        assert_eq!(told.news(&account, &[]), []);
        kernel[usize::from(probe::EXEC)].submitted = 6;
        let account = book.account(&kernel, BTreeMap::new());
        assert_eq!(account.difference(), 2, "one unaccounted in the kernel, one on the ring");
    }

    #[test]
    fn what_an_agent_before_took_off_the_rings_is_no_difference_however_busy_the_job_is() {
        // That agent had 1000 of them; this one takes off all that there is, while two more come in each time.
        let (theirs, mut submitted) = (1000, 1000);
        let mut book = Bookkeeper::after_another();
        for _ in 0..100 {
            let (before, after) = (submitted, submitted + 2);
            book.received += 2;
            book.decoded += 2;
            submitted = after;
            book.inherit(before, after);
            assert!((before..=after).contains(&book.received), "{} of {before} to {after}", book.received);
        }
        book.inherit(submitted, submitted);
        assert_eq!((book.received, book.decoded), (submitted, submitted), "exact once it is quiet");
        book.inherit(submitted + 7, submitted + 7);
        assert_eq!(book.received, theirs + 200, "what goes missing from then on is missing");
    }

    #[test]
    fn what_an_agent_before_told_is_not_told_again() {
        let lost = |ring_full| {
            let mut kernel = [Counters::default(); probe::COUNT];
            kernel[usize::from(probe::EXEC)] =
                Counters { seen: 10 + ring_full, submitted: 10, ring_full, ..Counters::default() };
            Bookkeeper { received: 10, decoded: 10, ..Bookkeeper::default() }.account(&kernel, BTreeMap::new())
        };
        let mut told = Told::resumed(Account::default(), &lost(3));
        assert_eq!(told.news(&lost(3), &[]), []);
        assert_eq!(told.news(&lost(5), &[]), [Loss { place: "exec", reason: "ring full", count: 2 }]);
    }

    #[test]
    fn a_skipped_run_is_told_and_is_missing_and_is_no_part_of_the_equation() {
        let kernel = [Counters::default(); probe::COUNT];
        let skipped = |runs| BTreeMap::from([("file_open", runs), ("sys_exit", 10 * runs)]);
        let account = |runs| Bookkeeper::default().account(&kernel, skipped(runs));
        let mut told = Told::since(account(7));
        let share = account(9).since(told.beginning());
        assert_eq!((share.skipped_runs(), share.missing(), share.lost(), share.difference()), (22, 2, 0, 0));
        assert_eq!(told.news(&share, &[]), [Loss { place: "file_open", reason: "skipped", count: 2 }]);
        assert_eq!(account(7).since(told.beginning()).skipped, BTreeMap::new());
    }
}
