//! What `cargo xtask test` runs in guests. All tests on all kernels and tiers take hours where nothing helps the emulation;
//! these show that both tiers load everywhere and say the same, that reads are refused, what becomes of attempts at the agent,
//! and who is held where the whole runner is in scope.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;

use super::docker::before_docker;
use super::installed::{installed, under_systemd};
use super::power::loses_power;
use super::suites::{self, Guest};
use super::table::{self, Column};
use super::whole::Whole;
use super::{Options, build, doctor, show, side_by_side};
use crate::step;
use crate::suite::Suite;
use crate::target::Target;

/// The options as they are when nobody gave any.
#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    options: Options,
}

/// Seconds after which one of these guests is ended; none has a whole suite.
const LIMIT: &str = "900";

/// Options from words of `cargo xtask vm`, for a guest that is a part of the test run.
pub fn options<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Result<Options> {
    let first = ["vm", "--limit", LIMIT].map(OsString::from);
    Ok(Alone::try_parse_from(first.into_iter().chain(words.into_iter().map(Into::into)))?.options)
}

/// Words of `cargo xtask vm`, a guest each, what tells most first.
const GUESTS: &[&[&str]] = &[
    &["6.12", "--only", "agent=golden::", "--only", "agent=reads::", "--only", "pulse", "--tier", "tracing"],
    &["5.10", "--only", "agent=golden::", "--only", "agent=reads::", "--tier", "tracing"],
    &["newest", "--only", "agent=golden::", "--only", "agent=reads::", "--only", "pulse", "--tier", "tracing"],
    &["6.1", "--only", "agent=golden::", "--only", "agent=reads::", "--tier", "tracing"],
    // What has nothing to refuse, or to let go of, at the other tier.
    &[
        "6.12",
        "--only",
        "agent=containers::",
        "--only",
        "agent=services::",
        "--only",
        "agent=disks::",
        "--only",
        "agent=network::",
        "--only",
        "agent=let_go",
        "--only",
        "full_map",
        "--tier",
        "tracing",
    ],
    &["6.12", "--only", "agent=golden::", "--tier", "tracepoint"],
    &["5.10", "--only", "agent=golden::", "--only", "agent=evidence::", "--tier", "tracepoint"],
    &["newest", "--only", "agent=golden::", "--tier", "tracepoint"],
    &["6.1", "--only", "agent=golden::", "--tier", "tracepoint"],
    // Processes of a guest's init have no session that they could name, as those of a container's: see `agent::service::moving`.
    &[
        "6.12",
        "--only",
        "daemon=end::",
        "--only",
        "daemon=capabilities::",
        "--only",
        "daemon=secrets::",
        "--only",
        "daemon=settings::",
        "--tier",
        "tracing",
    ],
    // What a scope is doesn't depend on the kernel, and holding a whole guest takes minutes.
    &["6.1", "--only", "runner", "--tier", "tracing"],
    // The newest kernel's verifier takes several times as long: forty agents that block take longer than this run may.
    &["6.12", "--only", "tamper", "--tier", "tracing"],
    // The ways that are taken where fmod_ret doesn't load, which is nowhere so far.
    &["6.1", "--only", "agent=reads::", "--tier", "tracing", "--hooks", "lsm", "--lsm", "landlock,bpf"],
    &["6.1", "--only", "agent=golden::", "--tier", "tracing", "--hooks", "fentry"],
    &["5.10", "--only", "tamper", "--tier", "tracing"],
    // Only this kernel has x32, and only if it is told to.
    &["6.12-generic", "--append", "syscall.x32=y", "--only", "tamper=x32", "--tier", "tracepoint"],
];

/// Those guests, a plan each. Of these options they take what isn't theirs to say.
pub fn guests(like: &Options) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for words in GUESTS {
        let own = options(*words)?;
        let own = Options { refresh: like.refresh, slowness: like.slowness, memory: like.memory, ..own };
        Guest::add(&mut guests, &own)?;
    }
    Ok(guests)
}

/// What is begun in turn.
enum Item {
    /// A column of the table of tests and kernels, and the words that ask for it.
    Tests(Box<Guest>, &'static [&'static str]),
    Whole(Whole),
}

/// What an item comes to.
enum Came {
    /// Nothing where it was not begun.
    Tests(Option<Column>, &'static [&'static str]),
    Whole(Suite),
}

/// Runs these guests and those that are tests by themselves, of which two need the package, and begins none after `within`;
/// what was not begun stands in the result with that reason. Returns rows for a table of suites; the tables of guests are printed.
pub fn suites(within: Duration, package: Option<&Path>) -> Result<Vec<Suite>> {
    let started = Instant::now();
    let options = options::<&str>([])?;
    let tests = guests(&options)?.into_iter().zip(GUESTS).map(|(guest, words)| Item::Tests(Box::new(guest), words));
    // As long as several others, and therefore not last.
    let mut items: Vec<Item> = package.map(under_systemd).map(Item::Whole).into_iter().collect();
    items.extend(tests);
    items.extend(package.map(installed).map(Item::Whole));
    items.extend([before_docker(), loses_power()].map(Item::Whole));
    let (built, stop) = (build(Target::native())?, step::stop_flag()?);
    let came = side_by_side::each(&items, |item, say| {
        let left = within.saturating_sub(started.elapsed());
        Ok::<_, anyhow::Error>(match item {
            Item::Tests(guest, words) => {
                let column = (!left.is_zero()).then(|| suites::column(guest, &built, &stop, say)).transpose()?;
                Came::Tests(column, words)
            }
            Item::Whole(whole) => Came::Whole(whole.suite(left, say)),
        })
    });
    let mut columns = Vec::new();
    let mut wholes = Vec::new();
    let mut late = Suite { name: "guests that were not begun".to_owned(), ..Suite::default() };
    for came in came {
        match came? {
            Came::Tests(Some(column), _) => columns.push(column),
            Came::Tests(None, words) => late.skipped.push((words.join(" "), late_because(within, words))),
            Came::Whole(suite) => wholes.push(suite),
        }
    }
    let all = table::merged(columns);
    show(&options, &all);
    let ceilings = doctor::are_below_their_ceilings(&all);
    let late = (!late.skipped.is_empty()).then_some(late);
    Ok(all.into_iter().flat_map(Column::into_suites).chain([ceilings]).chain(wholes).chain(late).collect())
}

fn late_because(within: Duration, words: &[&str]) -> String {
    let minutes = within.as_secs() / 60;
    format!("the {minutes} minutes for guests were over; `cargo xtask vm {}` runs it", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_is_one_that_vm_takes_and_all_kernels_come_before_the_second_tier() {
        let kernels: Vec<String> = GUESTS
            .iter()
            .map(|words| {
                let options = options(*words).unwrap();
                assert_eq!((options.kernels.len(), options.tiers.len()), (1, 1), "one guest: {words:?}");
                options.kernels[0].clone()
            })
            .collect();
        let mut first = kernels[..super::super::kernels::ALL.len()].to_vec();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), super::super::kernels::ALL.len());
    }

    #[test]
    fn what_was_not_begun_says_how_to_run_it() {
        assert_eq!(
            late_because(Duration::from_mins(20), &["6.1", "--tier", "tracing"]),
            "the 20 minutes for guests were over; `cargo xtask vm 6.1 --tier tracing` runs it"
        );
    }
}
