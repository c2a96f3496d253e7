//! A receipt of the job that the notices are of, and the statement that holds it.

use runner_agent::ledger::{SigningKey, Written};
use runner_agent::notice::{Account, Content};
use runner_agent::policy::{Mode, Trust};
use runner_agent::receipt::{Artifact, Facts, LogState, Receipt, Setup};
use runner_agent::report::summary::Summary;
use runner_agent::sink::wire::{receipt, statement};

use crate::notices;

/// Receipt and statement, signed by a key that nobody keeps.
pub fn signed() -> (Vec<u8>, Vec<u8>) {
    let key = SigningKey::generate().expect("random numbers");
    let receipt = receipt_by(&key);
    (receipt::write(&receipt, &key), statement::write(&receipt, &key))
}

fn receipt_by(key: &SigningKey) -> Receipt {
    let about = notices::about();
    let mut summary = Summary::default();
    let mut account = Account::default();
    for (_, notice) in notices::table() {
        summary.observe(&notice);
        if let Content::JobEnded(ended) = &notice.content {
            account = ended.account.clone();
        }
    }
    let hooks = vec![
        ("file_open".to_owned(), Ok("fmod-ret".to_owned())),
        ("bpf".to_owned(), Err("no function of that name; \"é\"\n".to_owned())),
    ];
    Receipt {
        job: about.job,
        host: about.host,
        identity: about.identity,
        trust: Some((Trust::Untrusted, "a pull request from a fork".into())),
        time: ("2026-01-15T09:20:23.000000000Z".into(), "2026-01-15T09:21:02.500000000Z".into()),
        agent: Setup { version: "0.1.0", tier: "tracing", kernel: "6.12.0-1-amd64".into(), hooks },
        mode: Mode::Block,
        disarmed: None,
        summary: Facts::of(&summary, &|_| 1),
        account,
        log: LogState {
            file: "/var/log/runner-agent/4d1b7c0a.jsonl".into(),
            written: Written { lines: 23, head: "ab".repeat(32), sha256: "7".repeat(64) },
        },
        artifacts: vec![Artifact { name: "dist/app.tar.gz".into(), sha256: "c".repeat(64) }],
        key: key.public(),
    }
}

#[test]
fn a_receipt_says_what_was_seen_and_what_was_not() {
    let (mut fields, _) = {
        let (receipt, statement) = signed();
        (serde_json::from_slice::<serde_json::Value>(&receipt).expect("JSON"), statement)
    };
    for changing in ["signature", "key", "key_id"] {
        fields[changing] = "…".into();
    }
    insta::assert_snapshot!("receipt", format!("{fields:#}"));
}
