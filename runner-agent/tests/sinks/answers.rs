//! What each answer leads to, and what a deadline leaves behind.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use end_to_end::{Receiver, Reply, wait_until};
use runner_agent::sink::settings::{Only, Settings};
use runner_agent::sink::{Deliveries, Drained, SinkLoss};

use super::{about, event, files, finding, is_signed, lines, settings};

const SOON: Duration = Duration::from_secs(20);

/// Hands notices of one job over, and drains.
fn deliver(settings: Settings, folder: &std::path::Path, findings: u64) -> (SinkLoss, Vec<String>, Vec<Drained>) {
    let deliveries = Deliveries::start(&[settings], folder).unwrap();
    let mut outboxes = deliveries.outboxes(&about("job")).unwrap();
    for seq in 1..=findings {
        outboxes[0].offer(&finding(&"job".into(), seq));
    }
    // What is told of the sink is asked for while it works, as the agent does.
    let mut states = Vec::new();
    let mut hear = |outbox: &mut runner_agent::sink::Outbox| {
        states.extend(outbox.news().into_iter().map(|news| news.state.to_owned()));
    };
    let _ = wait_until(Duration::from_millis(1500), || {
        hear(&mut outboxes[0]);
        false
    });
    let mut outbox = outboxes.remove(0);
    let left = deliveries.drain(Some(&folder.join("job.jsonl")));
    hear(&mut outbox);
    (outbox.finish(), states, left)
}

#[test]
fn an_alert_goes_alone_and_at_once_and_telemetry_waits_for_company() {
    let (receiver, kept) = Receiver::keeping();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("soc", &receiver.url());
    settings.batch.wait = Duration::from_secs(30);
    let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
    let outboxes = deliveries.outboxes(&about("job")).unwrap();
    for seq in 1..=9 {
        outboxes[0].offer(&event(&"job".into(), seq));
    }
    outboxes[0].offer(&finding(&"job".into(), 10));
    // Counted before it is kept.
    assert!(wait_until(SOON, || kept.lock().unwrap().len() == 1));
    {
        let kept = kept.lock().unwrap();
        assert_eq!((kept[0].header("webhook-id"), lines(&kept[0].body)), ("job-10", vec![("job".to_owned(), 10)]));
        assert_eq!(kept[0].header("content-type"), "application/x-ndjson");
    }
    assert_eq!(deliveries.drain(None), [], "the end of a job waits for nobody's company");
    let kept = kept.lock().unwrap();
    let seqs: Vec<u64> = kept[1..].iter().flat_map(|received| lines(&received.body)).map(|(_, seq)| seq).collect();
    assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
    // In one batch, or in two if the end came between two commits.
    for batch in &kept[1..] {
        let seqs = lines(&batch.body);
        let (first, last) = (seqs[0].1, seqs[seqs.len() - 1].1);
        let id = if first == last { format!("job-{first}") } else { format!("job-{first}..job-{last}") };
        assert_eq!(batch.header("webhook-id"), id);
    }
    assert!(kept.iter().all(is_signed));
}

#[test]
fn a_sink_that_gets_findings_gets_no_events() {
    let (receiver, kept) = Receiver::keeping();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { only: Only::Findings, ..settings("soc", &receiver.url()) };
    let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
    let outboxes = deliveries.outboxes(&about("job")).unwrap();
    outboxes[0].offer(&event(&"job".into(), 1));
    outboxes[0].offer(&finding(&"job".into(), 2));
    for outbox in outboxes {
        outbox.finish();
    }
    assert_eq!(deliveries.drain(None), []);
    assert_eq!(lines(&kept.lock().unwrap()[0].body), [("job".to_owned(), 2)]);
    assert_eq!(receiver.count(), 1);
}

#[test]
fn after_410_nothing_is_sent_any_more_and_it_is_said() {
    let receiver = Receiver::start(|_, _| Reply::status(410));
    let folder = tempfile::tempdir().unwrap();
    let (loss, states, left) = deliver(settings("soc", &receiver.url()), folder.path(), 5);
    assert_eq!((receiver.count(), loss), (1, SinkLoss::none("soc")));
    assert_eq!(states, ["sink-disabled"]);
    assert_eq!((left[0].left, left[0].why.as_str()), (5, "410 Gone: the receiver wants nothing any more"));
    let file = left[0].file.clone().unwrap();
    assert_eq!(file, folder.path().join("job.jsonl.undelivered.soc.ndjson"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let seqs: Vec<u64> = lines(&std::fs::read(file).unwrap()).into_iter().map(|(_, seq)| seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

#[test]
fn a_redirect_is_not_followed_and_what_is_left_at_the_deadline_the_next_agent_sends() {
    let elsewhere = Receiver::keeping().0;
    let location = elsewhere.url();
    let receiver = Receiver::start(move |_, _| Reply::Answer(307, vec![("location", location.clone())], String::new()));
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { drain: Duration::from_millis(300), ..settings("soc", &receiver.url()) };
    let (_, _, left) = deliver(settings.clone(), folder.path(), 3);
    assert_eq!((left[0].left, elsewhere.count()), (3, 0));
    assert!(left[0].why.contains("redirects are not followed"), "{}", left[0].why);
    assert!(left[0].spool.exists());
    // The next agent, another receiver under the same name; it has no notices of its own.
    let (receiver, kept) = Receiver::keeping();
    let next = Deliveries::start(&[super::settings("soc", &receiver.url())], folder.path()).unwrap();
    assert_eq!(next.drain(None), []);
    let seqs: Vec<_> = kept.lock().unwrap().iter().map(|received| received.header("webhook-id").to_owned()).collect();
    assert_eq!(seqs, ["job-1", "job-2", "job-3"]);
    assert!(!left[0].spool.exists());
}

#[test]
fn what_the_receiver_refuses_is_counted_and_does_not_hold_up_the_rest() {
    let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let list = taken.clone();
    let receiver = Receiver::start(move |_, received| {
        let seqs: Vec<u64> = lines(&received.body).into_iter().map(|(_, seq)| seq).collect();
        if seqs.contains(&7) {
            return Reply::Answer(422, Vec::new(), "no sevens".to_owned());
        }
        list.lock().unwrap().extend(seqs);
        Reply::status(200)
    });
    let folder = tempfile::tempdir().unwrap();
    let deliveries = Deliveries::start(&[settings("soc", &receiver.url())], folder.path()).unwrap();
    let mut outboxes = deliveries.outboxes(&about("job")).unwrap();
    for seq in 1..=20 {
        outboxes[0].offer(&event(&"job".into(), seq));
    }
    assert!(wait_until(SOON, || taken.lock().unwrap().len() == 19));
    assert_eq!(*taken.lock().unwrap(), (1..=20).filter(|seq| *seq != 7).collect::<Vec<_>>(), "the others, in order");
    let mut news = Vec::new();
    assert!(wait_until(SOON, || {
        news.extend(outboxes[0].news());
        !news.is_empty()
    }));
    assert_eq!(news[0].state, "sink-refused");
    assert!(news[0].detail.contains("job-7") && news[0].detail.contains("no sevens"), "{}", news[0].detail);
    assert_eq!(outboxes[0].loss(), SinkLoss { refused: 1, ..SinkLoss::none("soc") });
    assert_eq!(deliveries.drain(None), []);
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_and_failing_and_recovering_are_said() {
    let times: Arc<Mutex<Vec<std::time::SystemTime>>> = Arc::default();
    let list = times.clone();
    let receiver = Receiver::start(move |number, received| {
        list.lock().unwrap().push(received.at);
        match number {
            0..3 => Reply::status(503),
            3 => Reply::Answer(429, vec![("retry-after", "2".to_owned())], String::new()),
            _ => Reply::status(200),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let (loss, states, left) = deliver(settings("soc", &receiver.url()), folder.path(), 1);
    assert_eq!((left, loss), (vec![], SinkLoss::none("soc")));
    assert_eq!(states, ["sink-failing", "sink-recovered"]);
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 5);
    let pause = times[4].duration_since(times[3]).unwrap();
    assert!(pause >= Duration::from_millis(1950), "{pause:?}");
}

#[test]
fn what_more_than_may_wait_is_dropped_telemetry_first_and_counted() {
    let mut receiver = Receiver::keeping().0;
    receiver.die();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("soc", &receiver.url());
    settings.bounds.bytes = 64 << 10;
    settings.drain = Duration::ZERO;
    let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
    let outboxes = deliveries.outboxes(&about("job")).unwrap();
    for seq in 1..=1000 {
        let notice = if seq % 100 == 0 { finding(&"job".into(), seq) } else { event(&"job".into(), seq) };
        outboxes[0].offer(&notice);
    }
    assert!(wait_until(SOON, || outboxes[0].loss().expired > 0));
    for outbox in outboxes {
        outbox.finish();
    }
    let left = deliveries.drain(Some(&folder.path().join("log")));
    let text = std::fs::read(left[0].file.as_ref().unwrap()).unwrap();
    let alerts = lines(&text).into_iter().filter(|(_, seq)| seq % 100 == 0).count();
    assert_eq!(alerts, 10, "every alert is still there");
    assert!(left[0].left < 1000 && files(folder.path()).len() == 2);
}
