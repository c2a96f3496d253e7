//! Streams of NATS JetStream, by real servers on the loopback: what was handed over is in the stream once, whatever is killed.
//!
//! The keys below this folder are these tests' alone: an operator's, an account's, and two users' who may publish and read.

mod cluster;
mod faults;
mod login;

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{Context, stream};
use async_nats::{Client, ConnectOptions};
use end_to_end::{NatsServer, host, wait_until};
use futures_util::StreamExt as _;
use runner_agent::sink::settings::{Login, Nats, Settings, Target};
use runner_agent::sink::subject::Subject;
use runner_agent::sink::{Deliveries, Drained, SinkLoss};
use tokio::runtime::Runtime;

use super::{about, event, files, finding, settings};

/// Ends the test, told as one that could not run, where there is no server.
macro_rules! needs_server {
    () => {
        if let Err(reason) = end_to_end::nats::program() {
            end_to_end::report::could_not_run(end_to_end::test_name!(), &reason);
            return;
        }
    };
}
use needs_server;

const SOON: Duration = Duration::from_secs(20);

/// What the streams of these tests take.
const SUBJECTS: &str = "ci.>";

/// A sink that publishes everything as the servers' only user.
fn to(servers: &[NatsServer]) -> Settings {
    let nats = Nats {
        servers: servers.iter().map(|server| server.url().parse().unwrap()).collect(),
        subject: Subject::parse(Subject::DEFAULT).unwrap(),
        login: Login::None,
        inbox: None,
        ca: None,
    };
    Settings { target: Target::Nats(Box::new(nats)), ..settings("bus", "http://127.0.0.1:9/") }
}

/// The same, with something changed in who gets it.
fn with(mut settings: Settings, change: impl FnOnce(&mut Nats)) -> Settings {
    let Target::Nats(nats) = &mut settings.target else { panic!("it is a stream") };
    change(nats);
    settings
}

/// A message as it lies in the stream.
struct Stored {
    subject: String,
    id: String,
    body: Vec<u8>,
}

/// Somebody who may do anything with the stream.
struct Owner {
    runtime: Runtime,
    client: Client,
    context: Context,
}

impl Owner {
    fn connect(options: ConnectOptions, servers: &[NatsServer]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
        let client = runtime.block_on(options.connect(urls)).unwrap();
        let context = runtime.block_on(async { async_nats::jetstream::new(client.clone()) });
        Self { runtime, client, context }
    }

    fn of(servers: &[NatsServer]) -> Self {
        Self::connect(ConnectOptions::new(), servers)
    }

    /// Makes the stream; servers of a cluster first have to agree on who leads them.
    fn make(&self, change: impl Fn(&mut stream::Config)) {
        let mut config =
            stream::Config { name: "CI".to_owned(), subjects: vec![SUBJECTS.to_owned()], ..stream::Config::default() };
        change(&mut config);
        let made = || self.runtime.block_on(self.context.create_stream(config.clone())).is_ok();
        assert!(wait_until(host::patience(SOON), made), "the stream can be made");
    }

    /// How the stream is; asked for again while the server that was asked first is gone.
    fn info(&self) -> stream::Info {
        let mut info = None;
        let ask = || {
            let asked = self.runtime.block_on(async { self.context.get_stream("CI").await });
            info = asked.ok().map(|stream| stream.cached_info().clone());
            info.is_some()
        };
        assert!(wait_until(host::patience(SOON), ask), "the stream answers");
        info.expect("it was asked for")
    }

    /// Every message, in the stream's order.
    fn read(&self) -> Vec<Stored> {
        let mut stored = None;
        // A server that has just begun to lead may leave a question unanswered: then it is asked from the beginning.
        let whole = || {
            let read = async { tokio::time::timeout(host::patience(SOON), self.try_read()).await };
            stored = self.runtime.block_on(read).ok().flatten();
            stored.is_some()
        };
        assert!(wait_until(host::patience(3 * SOON), whole), "the stream can be read");
        stored.expect("it was read")
    }

    async fn try_read(&self) -> Option<Vec<Stored>> {
        let stream = self.context.get_stream("CI").await.ok()?;
        let count = stream.cached_info().state.messages as usize;
        let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
        let mut messages = stream.create_consumer(config).await.ok()?.messages().await.ok()?;
        let mut stored = Vec::with_capacity(count);
        while stored.len() < count {
            let message = messages.next().await?.ok()?;
            let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
            stored.push(Stored {
                subject: message.subject.to_string(),
                id: id.map_or_else(String::new, ToString::to_string),
                body: message.payload.to_vec(),
            });
        }
        Some(stored)
    }
}

/// Hands notices of one job over, one in ten a finding, and drains.
fn deliver(settings: Settings, folder: &std::path::Path, notices: u64) -> Vec<Drained> {
    let deliveries = Deliveries::start(&[settings], folder).unwrap();
    let outbox = deliveries.outboxes(&about("job")).unwrap().remove(0);
    for seq in 1..=notices {
        outbox.offer(&if seq % 10 == 0 { finding(&"job".into(), seq) } else { event(&"job".into(), seq) });
    }
    let loss = outbox.finish();
    assert_eq!(loss, SinkLoss::none("bus"));
    deliveries.drain(None)
}

/// Fails unless the stream has the notices of one job, each once and as it was sent. Returns how many of a kind came after a later one.
fn each_once(stored: &[Stored], notices: u64, is_finding: impl Fn(u64) -> bool) -> BTreeMap<String, usize> {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut late: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = vec![0; notices as usize + 1];
    let about = about("job");
    for message in stored {
        let seq: u64 = message.id.strip_prefix("job-").and_then(|seq| seq.parse().ok()).expect("an id of the job");
        seen[seq as usize] += 1;
        let (kind, notice) = if is_finding(seq) {
            ("finding", finding(&"job".into(), seq))
        } else {
            ("io-uring", event(&"job".into(), seq))
        };
        assert_eq!(message.subject, format!("ci.job.{kind}"));
        let mut wanted = Vec::new();
        about.encoder.encode(&notice, "", &mut wanted);
        assert_eq!(message.body, wanted, "{}", message.id);
        let last = last.entry(kind.to_owned()).or_default();
        *late.entry(kind.to_owned()).or_default() += usize::from(seq < *last);
        *last = seq.max(*last);
    }
    assert!(seen[1..].iter().all(|&times| times == 1), "each once");
    assert_eq!(stored.len() as u64, notices);
    late
}

#[test]
fn what_is_handed_over_is_in_the_stream_once_and_in_order() {
    needs_server!();
    let servers = [NatsServer::start("")];
    let owner = Owner::of(&servers);
    owner.make(|_| {});
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(deliver(to(&servers), folder.path(), 20_000), []);
    let late = each_once(&owner.read(), 20_000, |seq| seq % 10 == 0);
    assert!(late.values().all(|&late| late == 0), "{late:?}");
    assert_eq!(files(folder.path()), Vec::<String>::new(), "nothing waits");
}

#[test]
fn what_is_sent_again_after_everything_was_restarted_has_the_same_ids_and_is_there_once() {
    needs_server!();
    let mut servers = [NatsServer::start("")];
    Owner::of(&servers).make(|_| {});
    servers[0].kill();
    // Nobody takes it: it waits in the spool. A copy of that is what an agent finds whose last step was not written down.
    let folder = tempfile::tempdir().unwrap();
    let mut settings = to(&servers);
    settings.drain = Duration::from_millis(300);
    let left = deliver(settings.clone(), folder.path(), 2000);
    assert_eq!(left[0].left, 2000);
    let copy = tempfile::tempdir().unwrap();
    for name in files(folder.path()) {
        std::fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
    }
    settings.drain = Duration::from_secs(30);
    servers[0].start_again();
    for spool in [&folder, &copy] {
        let deliveries = Deliveries::start(&[settings.clone()], spool.path()).unwrap();
        assert_eq!(deliveries.drain(None), []);
        assert_eq!(files(spool.path()), Vec::<String>::new(), "it was sent");
        // The broker remembers over its own restart too.
        servers[0].kill();
        servers[0].start_again();
    }
    let owner = Owner::of(&servers);
    let late = each_once(&owner.read(), 2000, |seq| seq % 10 == 0);
    assert!(late.values().all(|&late| late == 0), "{late:?}");
    // And it was sent twice: whoever does not count what it has would have it twice.
    assert_eq!(owner.info().state.last_sequence, 2000);
}

#[test]
fn the_examples_are_what_this_binary_and_the_server_take() {
    needs_server!();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/nats");
    let mut list = std::process::Command::new(env!("CARGO_BIN_EXE_runner-agent"));
    let output = list.args(["sink", "list", "--config"]).arg(examples.join("config.yml")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "bus: nats nats://127.0.0.1:4222 ci.{host}.{job}.{kind}, format ocsf, gets all\n");
    let mut server = std::process::Command::new(end_to_end::nats::program().unwrap());
    let output = server.arg("-t").arg("-c").arg(examples.join("server.conf")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
