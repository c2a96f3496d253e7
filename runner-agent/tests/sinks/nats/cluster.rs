//! Three servers that keep a stream together, and the one that leads it killed in the midst of 100,000 publishes.

use std::io::Write as _;
use std::time::{Duration, Instant};

use end_to_end::{NatsServer, host, wait_until};
use runner_agent::sink::{Deliveries, SinkLoss};

use super::{Owner, about, each_once, event, finding, needs_server, to};

/// Notices in all.
const NOTICES: u64 = 100_000;
/// One in so many is a finding, which goes alone.
const FINDING_EVERY: u64 = 250;
/// What the stream has when its leader is killed.
const KILLED_AT: u64 = 30_000;
/// Handed over before the courier has put down what came before: less than fits in the queue before it.
const AHEAD: u64 = 20_000;
/// How long the whole may take.
const WITHIN: Duration = Duration::from_mins(3);

#[test]
fn of_100_000_notices_none_is_lost_and_none_there_twice_when_the_leader_of_three_is_killed() {
    needs_server!();
    let mut servers = NatsServer::cluster(3);
    let owner = Owner::of(&servers);
    owner.make(|config| config.num_replicas = 3);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = to(&servers);
    settings.batch.bytes = 256 << 10;
    settings.timeout = Duration::from_secs(2);
    settings.drain = host::patience(WITHIN);
    let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
    let mut outbox = deliveries.outboxes(&about("job")).unwrap().remove(0);
    let is_finding = |seq: u64| seq.is_multiple_of(FINDING_EVERY);
    let began = Instant::now();
    let mut killed = None;
    let mut told = Vec::new();
    for seq in 1..=NOTICES {
        outbox.offer(&if is_finding(seq) { finding(&"job".into(), seq) } else { event(&"job".into(), seq) });
        if !seq.is_multiple_of(1000) {
            continue;
        }
        assert!(wait_until(host::patience(WITHIN), || deliveries.standings()[0].handed + AHEAD > seq));
        told.extend(outbox.news().into_iter().map(|news| news.state));
        // Before the last are handed over, so that there is something left to publish.
        if killed.is_none() && seq >= KILLED_AT {
            assert!(wait_until(host::patience(WITHIN), || owner.info().state.messages >= KILLED_AT - AHEAD));
            killed = Some(kill_the_leader(&owner, &mut servers));
        }
    }
    let (name, had) = killed.expect("one was killed");
    assert!(had < NOTICES, "it was killed before everything was there");
    let left = deliveries.drain(None);
    let took = began.elapsed();
    told.extend(outbox.news().into_iter().map(|news| news.state));
    assert_eq!(outbox.finish(), SinkLoss::none("bus"));
    assert_eq!(left, []);
    // By another connection: the first may have led to the one that is gone.
    let stored = Owner::of(&servers).read();
    let late = each_once(&stored, NOTICES, is_finding);
    if let Some(folder) = std::env::var_os(end_to_end::receiver::RECORD) {
        let counts = format!("{NOTICES} {}\n", stored.len());
        std::fs::write(std::path::Path::new(&folder).join("nats"), counts).unwrap();
    }
    assert_eq!(late["finding"], 0, "alerts are in order, whatever was killed");
    let said = format!(
        "NATS, 3 servers, the leader ({name}) killed at {had} of {NOTICES}: 0 lost, 0 twice, {} events behind a later one, {took:.1?}; told: {told:?}\n",
        late["io-uring"]
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}

/// Kills the server that leads the stream. Returns its name, and how many messages the stream had.
fn kill_the_leader(owner: &Owner, servers: &mut [NatsServer]) -> (String, u64) {
    let info = owner.info();
    let leader = info.cluster.and_then(|cluster| cluster.leader).expect("somebody leads");
    let number: usize = leader.strip_prefix("node-").and_then(|number| number.parse().ok()).expect("one of ours");
    servers[number].kill();
    (leader, info.state.messages)
}
