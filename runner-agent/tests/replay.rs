//! What kernels really sent, replayed without root: decode, order, pipeline, log. The input is fixed, so the output is.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use runner_agent::config::cases::MadeUp;
use runner_agent::config::load::load_shipped;
use runner_agent::decode::{Record, decode, peek_at_ns};
use runner_agent::job::{Job, Scope};
use runner_agent::ledger::Chain;
use runner_agent::notice::Notice;
use runner_agent::order::Order;
use runner_agent::pipeline::Pipeline;
use runner_agent::policy::Policy;
use runner_agent::policy::secret::Place;
use runner_agent::record_file::{Recording, Round};
use runner_agent::redact::Redactor;
use runner_agent::sink::wire::Encoder;

const RECORDINGS: [&str; 5] = ["connects", "escape", "long-argv", "names", "pipeline"];

fn recording(name: &str) -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name).with_extension("bin");
    Recording::read(&std::fs::read(path).expect("a recording")).expect("a recording that is whole")
}

/// The shipped default, for the runner that the recordings were made on.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let runner = MadeUp {
        resolvers: vec![[192, 0, 2, 53].into()],
        place: Place { homes: vec!["/home/runner".to_owned()], workspaces: Vec::new() },
        ..MadeUp::default()
    };
    load_shipped("default", &runner).expect("the shipped policy is right").0
});

/// Each recording, and the log that it makes as it is.
static LOGS: LazyLock<Vec<(Recording, String)>> = LazyLock::new(|| {
    let with_log = |name: &&str| {
        let recording = recording(name);
        let log = log(&recording, &replay(&recording.rounds));
        (recording, log)
    };
    RECORDINGS.iter().map(with_log).collect()
});

/// A recording's notices, by the same steps as in `agent::run`.
fn replay<'a>(rounds: impl IntoIterator<Item = &'a Round>) -> Vec<Notice> {
    let job = Job {
        slot: 1,
        id: "replay".into(),
        command: Vec::new(),
        policy: POLICY.clone(),
        redactor: Redactor::default(),
        scope: Scope::Job,
        secret_files: [].into(),
        rule_ids: Vec::new(),
    };
    let mut pipeline = Pipeline::default();
    pipeline.start_job(Arc::new(job), &[]);
    let mut order = Order::default();
    let mut notices = Vec::new();
    let mut drain = |records: &[Vec<u8>], until_ns| {
        for record in records {
            order.push(record);
        }
        order.release(until_ns, |bytes| {
            pipeline.handle(&decode(bytes).expect("a kernel's own record"), &mut notices);
        });
        pipeline.tick(until_ns, &mut notices);
    };
    for round in rounds {
        drain(&round.records, round.until_ns);
    }
    drain(&[], u64::MAX);
    notices
}

/// The log as the agent would have written it, on a machine that was booted in 1970.
fn log(recording: &Recording, notices: &[Notice]) -> String {
    let records = recording.rounds.iter().flat_map(|round| &round.records);
    let mut namespaces = records.filter_map(|record| match decode(record) {
        Ok(Record::Exec { fixed, .. }) => Some(fixed.mount_namespace),
        _ => None,
    });
    let mount_namespace = namespaces.next().expect("a job starts with an exec");
    let encoder = Encoder { boot_ns: 0, mount_namespace };
    let mut chain = Chain::default();
    let mut text = String::new();
    for notice in notices {
        let mut line = Vec::new();
        encoder.encode(notice, chain.head(), &mut line);
        chain.append(&line);
        text.push_str(std::str::from_utf8(&line).expect("a line is text"));
        text.push('\n');
    }
    text
}

fn replays_as_before(name: &str) {
    let recording = recording(name);
    insta::assert_snapshot!(name, log(&recording, &replay(&recording.rounds)));
}

#[test]
fn a_secret_down_a_pipeline_is_told_as_before() {
    replays_as_before("pipeline");
}

#[test]
fn connects_that_fail_are_told_as_before() {
    replays_as_before("connects");
}

#[test]
fn arguments_in_continuations_are_told_as_before() {
    replays_as_before("long-argv");
}

#[test]
fn a_resolved_name_is_told_as_before() {
    replays_as_before("names");
}

#[test]
fn a_child_that_leaves_the_cgroup_is_told_as_before() {
    replays_as_before("escape");
}

#[test]
fn a_record_that_is_missing_panics_nowhere_and_leaves_the_numbers_without_gaps() {
    for name in RECORDINGS {
        let recording = recording(name);
        for (at, round) in recording.rounds.iter().enumerate() {
            for missing in 0..round.records.len() {
                let mut rounds = recording.rounds.clone();
                rounds[at].records.remove(missing);
                let notices = replay(&rounds);
                assert!(notices.iter().map(|notice| notice.seq).eq(1..=notices.len() as u64), "{name}");
            }
        }
    }
}

/// The records in the order of these ranks; those of one moment (an exec and its continuations) keep theirs, because
/// they come over one ring.
fn shuffled(records: &[Vec<u8>], ranks: &[u32]) -> Vec<Vec<u8>> {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&at| ranks[at % ranks.len()].wrapping_mul(at as u32 * 2 + 1));
    let mut result = Vec::new();
    let mut taken = vec![false; records.len()];
    for at in order {
        let same =
            (0..records.len()).find(|&other| !taken[other] && peek_at_ns(&records[other]) == peek_at_ns(&records[at]));
        let first = same.expect("as many of one moment are taken as there are");
        taken[first] = true;
        result.push(records[first].clone());
    }
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_of_one_round_may_come_in_any_order(
        index in 0..RECORDINGS.len(),
        ranks in proptest::collection::vec(any::<u32>(), 1..64),
    ) {
        let (recording, expected) = &LOGS[index];
        let mut other = recording.clone();
        for round in &mut other.rounds {
            round.records = shuffled(&round.records, &ranks);
        }
        prop_assert_eq!(&log(recording, &replay(&other.rounds)), expected);
    }
}
