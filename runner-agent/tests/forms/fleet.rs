//! What a collector has of seven jobs: the input of the queries in `docs/fleet`.

use runner_agent::notice::{Content, Notice};
use runner_agent::policy::Verdict;
use runner_agent::sink::wire::format::{About, Format};

use crate::notices;

/// A job: its repository, how far it came (`running`, `ended`, `receipt`), the host it connected to, and the minute of its last notice.
const JOBS: [(&str, &str, &str, u64); 7] = [
    ("octo/app", "receipt", "registry.example.org", 2),
    ("octo/lib", "receipt", "registry.example.org", 3),
    ("octo/web", "receipt", "registry.example.org", 4),
    ("octo/web", "receipt", "drop.example", 5),
    // It ended, and nobody vouches for it.
    ("octo/app", "ended", "registry.example.org", 6),
    // It runs, and was heard of lately.
    ("octo/lib", "running", "registry.example.org", 29),
    // It runs, and its agent is gone.
    ("octo/web", "running", "registry.example.org", 7),
];

const MINUTE: u64 = 60_000_000_000;

/// The events as lines of OCSF. The last job's come twice, as they do after a restart.
pub fn ocsf() -> (usize, Vec<u8>) {
    let mut lines = Vec::new();
    let mut count = 0;
    for (number, (repository, state, host, last)) in JOBS.into_iter().enumerate() {
        let mut about =
            About { job: format!("job-{number}").into(), host: format!("host-{number}"), ..notices::about() };
        if let Some(identity) = &mut about.identity {
            identity.repository = Some(repository.to_owned());
        }
        let twice = if number + 1 == JOBS.len() { 2 } else { 1 };
        for _ in 0..twice {
            for notice in of_job(&about, state, host, last) {
                let mut line = Vec::new();
                assert!(Format::Ocsf.encode(&notice, &about, &mut line), "OCSF takes every notice");
                lines.push(line);
                count += 1;
            }
        }
    }
    (count, lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect())
}

fn of_job(about: &About, state: &str, host: &str, last: u64) -> Vec<Notice> {
    let table = notices::table();
    let of_kind = |name: &str| {
        let found = table.iter().find(|(kind, _)| *kind == name).expect("a notice of that kind");
        found.1.content.clone()
    };
    let mut contents = vec![of_kind("job-started"), connect(host)];
    if state != "running" {
        contents.push(of_kind("job-ended"));
    }
    contents.push(if state == "receipt" { of_kind("receipt") } else { of_kind("checkpoint") });
    let many = contents.len() as u64;
    let place = |(index, content): (usize, Content)| {
        let seq = index as u64 + 1;
        // The last one stands at its minute, those before it in the first.
        let at_ns = if seq == many { last * MINUTE } else { seq * 1_000_000_000 };
        Notice { seq, at_ns, slot: 1, job: Some(about.job.clone()), content }
    };
    contents.into_iter().enumerate().map(place).collect()
}

fn connect(host: &str) -> Content {
    let Content::Event(mut event) = notices::connect(Verdict::Allowed, None) else {
        unreachable!("a connect is an event")
    };
    if let runner_agent::event::Activity::Connect(connection) = &mut event.activity {
        connection.names = vec![host.into()];
    }
    Content::Event(event)
}
