//! A receiver that is slow, resets, asks to wait, fails, hangs, lies about lengths and dies for a while: nothing is lost.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use end_to_end::{Received, Receiver, Reply, wait_until};
use runner_agent::sink::settings::Target;
use runner_agent::sink::{Deliveries, SinkLoss};
use sha2::{Digest as _, Sha256};

use super::{about, event, files, finding, is_signed, lines, settings};

/// Notices in all.
const NOTICES: u64 = 50_000;
/// One in so many is a finding.
const FINDING_EVERY: u64 = 250;
/// Handed over at once, by the thread that stands for the reader of the rings.
const HANDFUL: u64 = 500;
/// And then rests: a job does not do everything at once, and the receiver is to die in the middle of it.
const REST: Duration = Duration::from_millis(80);
/// Seconds for which the receiver is dead: 60 in a long run, less in a quick one.
const DEAD: &str = "RUNNER_AGENT_CHAOS_DEAD";
/// One request in so many meets a fault.
const FAULT_EVERY: u64 = 8;
/// Memory that 50,000 notices may cost while they wait, wherever they wait: a third of them is more than that.
const MOST_MEMORY: u64 = 48 << 20;

/// What arrived: by job and number, the hash of the line and how often; and the order of what came first.
#[derive(Default)]
struct Arrived {
    seen: HashMap<(String, u64), ([u8; 32], u64)>,
    order: HashMap<(String, bool), u64>,
    wrong: Vec<String>,
}

impl Arrived {
    fn take(&mut self, received: &Received) {
        if !is_signed(received) {
            self.wrong.push(format!("not signed: {:?}", received.headers));
        }
        let mut body = received.body.clone();
        if received.header("content-encoding") == "gzip" {
            body.clear();
            flate2::read::GzDecoder::new(&*received.body).read_to_end(&mut body).unwrap();
        }
        let text = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        for ((job, seq), line) in lines(&body).into_iter().zip(text) {
            let hash: [u8; 32] = Sha256::digest(line).into();
            let (known, times) = self.seen.entry((job.clone(), seq)).or_insert((hash, 0));
            *times += 1;
            if *known != hash {
                self.wrong.push(format!("{job} {seq} came in two forms"));
            }
            if *times > 1 {
                continue;
            }
            let is_alert = seq % FINDING_EVERY == 0;
            if is_alert && received.header("webhook-id") != format!("{job}-{seq}") {
                self.wrong.push(format!("the alert {job} {seq} came as {}", received.header("webhook-id")));
            }
            let last = self.order.entry((job.clone(), is_alert)).or_default();
            if seq <= *last {
                self.wrong.push(format!("{job} {seq} came after {last}"));
            }
            *last = seq;
        }
    }
}

/// What is done with a request, and whether what is in it has arrived nevertheless.
fn fault(number: u64) -> (Reply, bool) {
    if number % FAULT_EVERY != FAULT_EVERY - 1 {
        return (Reply::status(if number.is_multiple_of(3) { 200 } else { 204 }), true);
    }
    match number / FAULT_EVERY % 9 {
        0 => (Reply::Slow(Duration::from_millis(400), 200), true),
        1 => (Reply::Reset, false),
        2 => (Reply::Reset, true),
        3 => (Reply::Answer(429, vec![("retry-after", "1".to_owned())], String::new()), false),
        4 => (Reply::Answer(500, Vec::new(), "it is broken".to_owned()), false),
        5 => (Reply::Hang, true),
        6 => (Reply::TooShort, true),
        7 => (Reply::TooLong, false),
        _ => (Reply::Answer(302, vec![("location", "/elsewhere".to_owned())], String::new()), false),
    }
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn of_50_000_notices_none_is_lost_to_a_receiver_that_does_its_worst() {
    let dead = std::env::var(DEAD).ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let folder = tempfile::tempdir().unwrap();
    let arrived: Arc<Mutex<Arrived>> = Arc::default();
    let list = arrived.clone();
    let mut receiver = Receiver::start(move |number, received| {
        let (reply, has_arrived) = fault(number);
        if has_arrived {
            list.lock().unwrap().take(received);
        }
        reply
    });
    let mut settings = settings("soc", &receiver.url());
    settings.drain = Duration::from_secs(dead + 90);
    // A receiver that says nothing is one of the faults.
    settings.timeout = Duration::from_secs(1);
    let Target::Webhook(webhook) = &mut settings.target else { unreachable!() };
    webhook.gzip = true;
    let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
    let jobs: [Arc<str>; 2] = ["job-a".into(), "job-b".into()];
    let outboxes: Vec<_> = jobs.iter().flat_map(|job| deliveries.outboxes(&about(job)).unwrap()).collect();

    let began = Instant::now();
    let before = memory();
    let (mut most, mut longest) = (before, Duration::ZERO);
    let mut died = None;
    for seq in 1..=NOTICES / 2 {
        for (job, outbox) in jobs.iter().zip(&outboxes) {
            let notice = if seq % FINDING_EVERY == 0 { finding(job, seq) } else { event(job, seq) };
            let offering = Instant::now();
            outbox.offer(&notice);
            longest = longest.max(offering.elapsed());
        }
        if seq % (HANDFUL / 2) == 0 {
            let _ = wait_until(REST, || false);
            most = most.max(memory());
        }
        if seq == NOTICES / 6 {
            receiver.die();
            died = Some(Instant::now());
        }
        if died.is_some_and(|died| died.elapsed() >= Duration::from_secs(dead)) {
            receiver.come_back();
            died = None;
        }
    }
    let handed_over = began.elapsed();
    if let Some(died) = died {
        let _ = wait_until(Duration::from_secs(dead).saturating_sub(died.elapsed()), || false);
        receiver.come_back();
    }
    for outbox in outboxes {
        assert_eq!(outbox.finish(), SinkLoss::none("soc"));
    }
    let left = deliveries.drain(Some(&folder.path().join("job.jsonl")));
    most = most.max(memory());
    let took = began.elapsed();
    assert_eq!(left, []);
    assert_eq!(files(folder.path()), Vec::<String>::new(), "nothing waits any more");

    let requests = receiver.count();
    drop(receiver);
    let arrived = arrived.lock().unwrap();
    assert!(arrived.wrong.is_empty(), "{:?}", &arrived.wrong[..arrived.wrong.len().min(10)]);
    assert_eq!(arrived.seen.len() as u64, NOTICES, "each is there");
    let again: u64 = arrived.seen.values().map(|(_, times)| times - 1).sum();
    let grew = most.saturating_sub(before);
    let told = format!(
        "chaos: {NOTICES} notices in {requests} requests, 0 lost, {again} came again with the same id; handed over in \
         {handed_over:.1?}, all there after {took:.1?}; dead for {dead} s; offering took {longest:.1?} at most; memory grew by {} KiB\n",
        grew >> 10
    );
    std::io::stderr().write_all(told.as_bytes()).unwrap();
    assert!(requests / FAULT_EVERY >= 9, "each fault was met");
    assert!(grew < MOST_MEMORY, "memory grew by {} KiB", grew >> 10);
}
