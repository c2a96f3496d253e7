//! A log whose writer is killed at any moment: whole up to a signature, and `verify` says where evidence ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use runner_agent::ledger::{Ledger, PublicKey, SigningKey};
use runner_agent::notice::{AgentState, Content, JobStarted, Notice};
use runner_agent::policy::Mode;
use runner_agent::sink::json_lines::JsonLines;
use runner_agent::sink::outbox::Sink as _;
use runner_agent::sink::wire::Encoder;
use runner_agent::verify::{Evidence, LogCheck, LogState, verify};

/// Names the log to the process that writes it.
const WRITES: &str = "RUNNER_AGENT_TEST_WRITES";

/// How often the writer is killed.
const TIMES: u32 = 200;

/// Lines from one signature to the next.
const EVERY: u64 = 50;

/// Not a test by itself: what the test below starts, and kills. Says each signature that the disk has.
#[test]
fn a_writer_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(WRITES) else { return };
    let ledger = Arc::new(Ledger::new(Arc::new(SigningKey::generate().unwrap())));
    let encoder = Encoder { boot_ns: 1_700_000_000_000_000_000, mount_namespace: 1 };
    let mut log = JsonLines::create(path.as_ref(), encoder).unwrap().signed(ledger.clone());
    let started = JobStarted {
        command: Vec::new(),
        policy: "default".into(),
        policy_sha256: String::new(),
        policy_files: Vec::new(),
        mode: Mode::Audit,
        cgroup: "/".into(),
        key: Some(ledger.key().public().to_string()),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "key {}", ledger.key().public()).unwrap();
    for seq in 1.. {
        let is_signed = seq % EVERY == 0;
        let content = match seq {
            1 => Content::JobStarted(started.clone()),
            _ if is_signed => Content::Checkpoint(None),
            _ => Content::Agent(AgentState::Changed { state: "repaired", detail: "x".repeat((seq % 700) as usize) }),
        };
        log.deliver(&[Notice { seq, at_ns: seq, slot: 1, job: Some("job".into()), content }]).unwrap();
        if is_signed {
            writeln!(out, "signed {}", seq - 1).unwrap();
        }
    }
}

fn read(path: &Path) -> LogState {
    let mut check = LogCheck::default();
    let bytes = std::fs::read(path).expect("the writer made it");
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        check.take(line);
    }
    check.finish()
}

#[test]
fn a_log_whose_writer_is_killed_is_whole_up_to_the_last_signature_that_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.jsonl");
    let mut cut_off = 0;
    for time in 0..TIMES {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_writes_until_it_is_killed", "--nocapture"])
            .env(WRITES, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut said = |word: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(word)).expect("the writer goes on");
            line[line.find(word).unwrap() + word.len()..].to_owned()
        };
        let key = PublicKey::parse(&said("key ")).unwrap();
        // Moments that differ: after so many signatures, and then wherever the writer has come to meanwhile.
        let mut told = 0;
        for _ in 0..=time % 7 {
            told = said("signed ").parse::<u64>().unwrap();
        }
        std::iter::repeat_n(0_u64, time as usize * 997 % 30_000).for_each(|step| {
            std::hint::black_box(step);
        });
        writer.kill().unwrap();
        writer.wait().unwrap();

        let log = read(&path);
        let (lines, signed) = (log.lines, log.signed_lines);
        assert!(signed >= told, "the disk was said to have {told} lines signed, and {signed} are");
        assert!(lines - signed <= EVERY + 1, "{lines} lines, {signed} signed");
        let is_whole_so_far = log.problems.iter().all(|problem| problem.line == Some(lines));
        assert!(is_whole_so_far, "only the last line may be cut off: {:?}", log.problems);
        cut_off += u32::from(!log.problems.is_empty());
        let verdict = verify(Evidence { log: Some(log), ..Evidence::default() }, &[key]);
        let [problem] = verdict.problems.as_slice() else { panic!("{:?}", verdict.problems) };
        let is_said =
            problem.what.contains(&format!("evidence ends at line {signed}")) || problem.what.contains("cut off");
        assert!(is_said, "{problem}");
    }
    println!("{TIMES} writers killed; {cut_off} in the middle of a line");
}
