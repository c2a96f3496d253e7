use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ledger::{Chain, Ledger, SigningKey};
use crate::notice::{Account, AgentState, Content, JobStarted, Notice};
use crate::policy::Mode;
use crate::receipt::{Facts, Receipt, Setup};
use crate::sink::json_lines::JsonLines;
use crate::sink::outbox::Sink as _;
use crate::sink::wire::Encoder;

/// A job's evidence, made by the writers that the agent has.
struct Job {
    lines: Vec<Vec<u8>>,
    receipt: Vec<u8>,
    statement: Vec<u8>,
    key: PublicKey,
}

fn notice(seq: u64, content: Content) -> Notice {
    Notice { seq, at_ns: seq * 1000, slot: 1, job: Some("job-1".into()), content }
}

/// A log of so many lines with a signature in every hundredth, and what is written at its end.
fn job(lines: u64) -> Job {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.jsonl");
    let ledger = Arc::new(Ledger::new(Arc::new(SigningKey::generate().unwrap())));
    let encoder = Encoder { boot_ns: 1_700_000_000_000_000_000, mount_namespace: 1 };
    let mut log = JsonLines::create(&path, encoder).unwrap().signed(ledger.clone());
    let started = JobStarted {
        command: vec!["true".into()],
        policy: "default".into(),
        policy_sha256: "00".into(),
        policy_files: Vec::new(),
        mode: Mode::Block,
        cgroup: "/job".into(),
        key: Some(ledger.key().public().to_string()),
    };
    let content = |seq: u64| match seq {
        1 => Content::JobStarted(started.clone()),
        seq if seq.is_multiple_of(100) => Content::Checkpoint(None),
        seq => Content::Agent(AgentState::Changed { state: "repaired", detail: format!("entry {seq}") }),
    };
    let notices: Vec<Notice> = (1..=lines).map(|seq| notice(seq, content(seq))).collect();
    for batch in notices.chunks(512) {
        log.deliver(batch).unwrap();
    }
    let receipt = receipt(&path, &ledger);
    let key = ledger.key();
    let bytes = std::fs::read(&path).unwrap();
    Job {
        lines: bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect(),
        receipt: receipt::write(&receipt, key),
        statement: statement::write(&receipt, key),
        key: key.public(),
    }
}

fn receipt(log: &Path, ledger: &Ledger) -> Receipt {
    Receipt {
        job: "job-1".into(),
        host: "host".into(),
        identity: None,
        trust: None,
        time: ("2026-01-01T00:00:00Z".into(), "2026-01-01T00:01:00Z".into()),
        agent: Setup { version: "0", tier: "tracing", kernel: "6".into(), hooks: Vec::new() },
        mode: Mode::Block,
        disarmed: None,
        summary: Facts::default(),
        account: Account::default(),
        log: crate::receipt::LogState { file: log.to_owned(), written: ledger.written() },
        artifacts: Vec::new(),
        key: ledger.key().public(),
    }
}

fn read(lines: &[Vec<u8>]) -> LogState {
    let mut check = LogCheck::default();
    // As the lines of the file are, whatever stands in them now.
    let text = lines.concat();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        check.take(line);
    }
    check.finish()
}

fn with_receipt(lines: &[Vec<u8>], job: &Job) -> Verdict {
    let evidence =
        Evidence { log: Some(read(lines)), receipt: Some(job.receipt.clone()), statement: Some(job.statement.clone()) };
    verify(evidence, &[job.key])
}

#[test]
fn what_an_agent_wrote_is_whole() {
    let job = job(250);
    let verdict = with_receipt(&job.lines, &job);
    assert_eq!(verdict.problems, []);
    assert_eq!((verdict.lines, verdict.signed_lines, verdict.is_key_known), (250, 250, true));
}

#[test]
fn a_log_alone_says_where_its_evidence_ends() {
    let job = job(250);
    let verdict = verify(Evidence { log: Some(read(&job.lines)), ..Evidence::default() }, &[]);
    assert_eq!(verdict.signed_lines, 199, "the last signature stands in line 200, over those before it");
    let told: Vec<String> = verdict.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("line 200: evidence ends at line 199: "), "{told:?}");
}

#[test]
fn every_line_that_is_changed_in_a_log_of_ten_thousand_is_named() {
    let job = job(10_000);
    for at in 0..job.lines.len() {
        let found = tampered(&job, at, |lines, at| {
            let middle = lines[at].len() / 2;
            lines[at][middle] ^= 1;
        });
        assert_eq!(found.first(), Some(&Some(at as u64 + 1)), "line {}", at + 1);
    }
}

#[test]
fn every_line_that_is_taken_out_doubled_or_swapped_in_a_log_of_ten_thousand_is_found() {
    let job = job(10_000);
    for at in 0..job.lines.len() {
        let line = at + 1;
        let taken_out = tampered(&job, at, |lines, at| drop(lines.remove(at)));
        assert_ne!(taken_out, [], "line {line} taken out");
        let doubled = tampered(&job, at, |lines, at| lines.insert(at, lines[at].clone()));
        assert_ne!(doubled, [], "line {line} doubled");
        let swapped = tampered(&job, at, |lines, at| lines.swap(at, if at == 0 { 1 } else { at - 1 }));
        assert_ne!(swapped, [], "line {line} swapped");
    }
}

/// Where problems show, in lines, when a log is as it was but for what `change` does near a line: it gets the lines around, and where
/// in them that one stands. Reading ten thousand lines ten thousand times would take an hour; the state before the window is the
/// same each time.
fn tampered(job: &Job, at: usize, change: impl Fn(&mut Vec<Vec<u8>>, usize)) -> Vec<Option<u64>> {
    const AROUND: usize = 4;
    let (from, to) = (at.saturating_sub(AROUND), (at + AROUND).min(job.lines.len()));
    let mut window = job.lines[from..to].to_vec();
    change(&mut window, at - from);
    let mut check = LogCheck::default();
    check.skip_to(&job.lines[..from]);
    for line in &window {
        check.take(line);
    }
    let mut problems: Vec<Option<u64>> = check.finish().problems.iter().map(|problem| problem.line).collect();
    if to == job.lines.len() && problems.is_empty() {
        // What no line behind it shows, the receipt does.
        let lines = [&job.lines[..from], &window].concat();
        problems = with_receipt(&lines, job).problems.iter().map(|problem| problem.line).collect();
    }
    problems
}

#[test]
fn a_log_that_was_cut_anywhere_is_told_from_a_whole_one() {
    let job = job(300);
    for lines in 0..300 {
        let verdict = with_receipt(&job.lines[..lines], &job);
        assert!(verdict.problems.iter().any(|problem| problem.line == Some(lines as u64 + 1)), "{lines}: {verdict:?}");
    }
}

#[test]
fn a_log_that_was_written_anew_is_by_another_key() {
    let (job, forged) = (job(250), job(250));
    let verdict = verify(
        Evidence { log: Some(read(&forged.lines)), receipt: Some(forged.receipt.clone()), statement: None },
        &[job.key],
    );
    assert!(
        verdict.problems.iter().any(|problem| problem.what.contains("none of those that were given")),
        "{verdict:?}"
    );
    let mixed = with_receipt(&forged.lines, &job);
    assert!(mixed.problems.iter().any(|problem| problem.what.contains("the receipt by")), "{mixed:?}");
}

#[test]
fn a_past_that_was_chained_anew_is_found_by_the_first_signature() {
    let job = job(250);
    let mut lines = job.lines.clone();
    lines[49] = String::from_utf8(lines[49].clone()).unwrap().replace("entry 50", "entry 5x").into_bytes();
    // Root could do this: make every hash right again behind the change.
    let mut chain = Chain::default();
    for line in &mut lines {
        let text = String::from_utf8(line.clone()).unwrap();
        let start = text.find("\"prev\":\"").unwrap() + "\"prev\":\"".len();
        let again = format!("{}{}{}", &text[..start], chain.head(), &text[start + 64..]);
        chain.append(again.trim_end().as_bytes());
        *line = again.into_bytes();
    }
    let state = read(&lines);
    assert_eq!(state.problems.first().and_then(|problem| problem.line), Some(100), "{:?}", state.problems);
    assert_eq!(state.signed_lines, 0);
}

#[test]
fn a_splice_of_two_logs_of_one_key_is_found() {
    let job = job(300);
    let mut lines = job.lines[..100].to_vec();
    lines.extend_from_slice(&job.lines[200..]);
    assert_ne!(with_receipt(&lines, &job).problems, []);
}

#[test]
fn what_the_log_never_got_is_told_with_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = Encoder { boot_ns: 0, mount_namespace: 1 };
    let mut log = JsonLines::create(&folder.path().join("l"), encoder).unwrap();
    let content = || Content::Agent(AgentState::Changed { state: "repaired", detail: String::new() });
    log.deliver(&[notice(1, content()), notice(5, content())]).unwrap();
    let bytes = std::fs::read(folder.path().join("l")).unwrap();
    let lines: Vec<Vec<u8>> = bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(read(&lines).problems, [Problem::at(2, "notices 2 to 4 never reached the log")]);
}

#[test]
fn a_statement_about_another_receipt_is_told() {
    let (one, other) = (job(5), job(5));
    let evidence = Evidence { log: None, receipt: Some(one.receipt), statement: Some(other.statement) };
    assert_ne!(verify(evidence, &[]).problems, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_single_byte_that_is_changed_taken_out_or_put_in_is_found(at in 0_usize..usize::MAX, to: u8, how in 0..3) {
        thread_local! {
            static JOB: Job = job(120);
        }
        JOB.with(|job| {
            let mut bytes = job.lines.concat();
            let at = at % bytes.len();
            match how {
                0 if bytes[at] == to => return,
                0 => bytes[at] = to,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, to),
            }
            let verdict = with_receipt(&[bytes], job);
            assert!(!verdict.problems.is_empty(), "byte {at}, {how}, {to}");
        });
    }

    #[test]
    fn every_byte_of_a_receipt_and_a_statement_counts(at in 0_usize..usize::MAX, bit in 0..8) {
        thread_local! {
            static JOB: Job = job(5);
        }
        JOB.with(|job| {
            let flip = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                let at = at % bytes.len();
                bytes[at] ^= 1_u8 << bit;
                bytes
            };
            let receipt = flip(&job.receipt);
            // A space may be another white space, and an escape a letter: what it says is the same.
            let same = |one: &[u8], other: &[u8]| {
                let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
                value(one).is_some() && value(one) == value(other)
            };
            if !same(&receipt, &job.receipt) {
                let evidence = Evidence { log: Some(read(&job.lines)), receipt: Some(receipt), statement: None };
                prop_assert_ne!(verify(evidence, &[job.key]).problems, vec![]);
            }
            let statement = flip(&job.statement);
            if !same(&statement, &job.statement) {
                let evidence = Evidence { log: None, receipt: Some(job.receipt.clone()), statement: Some(statement) };
                prop_assert_ne!(verify(evidence, &[job.key]).problems, vec![]);
            }
            Ok(())
        })?;
    }
}
