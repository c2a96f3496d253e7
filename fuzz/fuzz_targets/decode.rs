//! Any bytes as a recording, or as one record: never a panic, and what comes out is numbered without gaps.
#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use runner_agent::config::cases::MadeUp;
use runner_agent::config::load::load_shipped;
use runner_agent::decode::decode;
use runner_agent::job::Job;
use runner_agent::ledger::Chain;
use runner_agent::order::Order;
use runner_agent::pipeline::Pipeline;
use runner_agent::policy::Policy;
use runner_agent::policy::secret::Place;
use runner_agent::record_file::{Recording, Round};
use runner_agent::redact::Redactor;
use runner_agent::sink::wire::Encoder;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let place = Place { homes: vec!["/home/runner".to_owned()], workspaces: Vec::new() };
    let runner = MadeUp { resolvers: vec![[192, 0, 2, 53].into()], place, ..MadeUp::default() };
    load_shipped("default", &runner).expect("the shipped policy is right").0
});

fuzz_target!(|bytes: &[u8]| {
    let rounds = match Recording::read(bytes) {
        Ok(recording) => recording.rounds,
        Err(_) => vec![Round { records: vec![bytes.to_vec()], until_ns: u64::MAX }],
    };
    let job = Job {
        slot: 1,
        id: "fuzz".into(),
        command: Vec::new(),
        policy: POLICY.clone(),
        secret_files: HashMap::new(),
    };
    let mut pipeline = Pipeline::new(Redactor::default());
    pipeline.start_job(Arc::new(job), &[]);
    let mut order = Order::default();
    let mut notices = Vec::new();
    let end = Round { records: Vec::new(), until_ns: u64::MAX };
    for round in rounds.iter().chain([&end]) {
        round.records.iter().for_each(|record| order.push(record));
        order.release(round.until_ns, |record| {
            if let Ok(record) = decode(record) {
                pipeline.handle(&record, &mut notices);
            }
        });
        pipeline.tick(round.until_ns, &mut notices);
    }
    assert!(notices.iter().map(|notice| notice.seq).eq(1..=notices.len() as u64));
    let encoder = Encoder { boot_ns: 0, mount_namespace: 1 };
    let mut chain = Chain::default();
    for notice in &notices {
        let mut line = Vec::new();
        encoder.encode(notice, chain.head(), &mut line);
        chain.append(&line);
    }
});
