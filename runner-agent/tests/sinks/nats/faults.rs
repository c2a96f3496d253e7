//! What a broker can say against a message, and what comes of it.

use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use end_to_end::{NatsServer, host, wait_until};
use runner_agent::event::Finding;
use runner_agent::notice::Content;
use runner_agent::sink::settings::Settings;
use runner_agent::sink::wire::format::Format;
use runner_agent::sink::{Deliveries, Outbox};

use super::super::tls::{AUTHORITY, CERTIFICATE, KEY, OTHER};
use super::{Owner, SOON, about, deliver, each_once, finding, needs_server, to, with};

fn start(settings: Settings, folder: &std::path::Path) -> (Deliveries, Outbox) {
    let deliveries = Deliveries::start(&[settings], folder).unwrap();
    let outbox = deliveries.outboxes(&about("job")).unwrap().remove(0);
    (deliveries, outbox)
}

/// Waits until the job is told something of the sink; returns what.
fn told(outbox: &mut Outbox, state: &str) -> String {
    let mut detail = String::new();
    let is_told = || {
        let news = outbox.news().into_iter().find(|news| news.state == state);
        news.map(|news| detail = news.detail).is_some()
    };
    assert!(wait_until(host::patience(SOON), is_told), "{state} is told");
    detail
}

#[test]
fn without_a_stream_and_with_a_full_one_it_is_tried_again_until_there_is_room() {
    needs_server!();
    let servers = [NatsServer::start("")];
    let folder = tempfile::tempdir().unwrap();
    let (deliveries, mut outbox) = start(to(&servers), folder.path());
    outbox.offer(&finding(&"job".into(), 1));
    assert!(told(&mut outbox, "sink-failing").contains("no stream takes what is published there"));
    let owner = Owner::of(&servers);
    let of = |most: i64| {
        move |config: &mut async_nats::jetstream::stream::Config| {
            config.max_messages = most;
            config.discard = DiscardPolicy::New;
        }
    };
    owner.make(of(1));
    told(&mut outbox, "sink-recovered");
    // The one that it takes is there: the next is one too many.
    outbox.offer(&finding(&"job".into(), 2));
    let full = || deliveries.standings()[0].is_failing;
    assert!(wait_until(host::patience(SOON), full));
    let mut wider = owner.info().config;
    of(2)(&mut wider);
    owner.runtime.block_on(owner.context.update_stream(wider)).unwrap();
    assert_eq!(deliveries.drain(None), []);
    each_once(&owner.read(), 2, |_| true);
    assert_eq!(outbox.loss().refused, 0, "nothing was refused");
    outbox.finish();
}

#[test]
fn a_message_that_is_too_long_for_server_or_stream_is_refused_and_the_others_arrive() {
    needs_server!();
    // The server's limit is met before anything is sent, the stream's by its answer.
    for (server, most) in [("max_payload: 2048\n", -1), ("", 2048)] {
        let servers = [NatsServer::start(server)];
        let owner = Owner::of(&servers);
        owner.make(|config| config.max_message_size = most);
        let folder = tempfile::tempdir().unwrap();
        let (deliveries, mut outbox) = start(to(&servers), folder.path());
        outbox.offer(&finding(&"job".into(), 1));
        let mut long = finding(&"job".into(), 2);
        if let Content::Finding(Finding { message, .. }) = &mut long.content {
            *message = "x".repeat(3000);
        }
        outbox.offer(&long);
        outbox.offer(&finding(&"job".into(), 3));
        assert!(wait_until(host::patience(SOON), || deliveries.standings()[0].handed == 3));
        assert_eq!(deliveries.drain(None), []);
        let detail = told(&mut outbox, "sink-refused");
        assert!(detail.contains("job-2"), "{detail}");
        assert_eq!(outbox.loss().refused, 1);
        let ids: Vec<String> = owner.read().into_iter().map(|stored| stored.id).collect();
        assert_eq!(ids, ["job-1", "job-3"]);
        outbox.finish();
    }
}

#[test]
fn a_server_of_the_configured_authority_gets_the_notices_and_any_other_gets_nothing() {
    needs_server!();
    let keys = tempfile::tempdir().unwrap();
    for (name, pem) in [("server.pem", CERTIFICATE), ("server.key", KEY)] {
        std::fs::write(keys.path().join(name), pem).unwrap();
    }
    let file = |name: &str| keys.path().join(name).display().to_string();
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n", file("server.pem"), file("server.key"));
    let servers = [NatsServer::start(&tls)];
    let trusting = |authority: &[u8], host: &str| {
        let url = format!("tls://{host}:{}", servers[0].port());
        with(to(&servers), |nats| (nats.servers, nats.ca) = (vec![url.parse().unwrap()], Some(authority.to_vec())))
    };
    let authority = keys.path().join("ca.pem");
    std::fs::write(&authority, AUTHORITY).unwrap();
    let options = async_nats::ConnectOptions::new().add_root_certificates(authority).require_tls(true);
    let owner = Owner::connect(options, &servers);
    owner.make(|_| {});
    for host in ["localhost", "127.0.0.1"] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(deliver(trusting(AUTHORITY, host), folder.path(), 10), []);
    }
    each_once(&owner.read(), 10, |seq| seq == 10);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = trusting(OTHER, "localhost");
    settings.drain = Duration::from_secs(2);
    let left = deliver(settings, folder.path(), 10);
    assert!(left[0].why.contains("certificate"), "{}", left[0].why);
    assert_eq!(owner.info().state.messages, 10);
}

#[test]
fn each_form_that_is_a_message_by_itself_says_what_it_is() {
    needs_server!();
    let servers = [NatsServer::start("")];
    let owner = Owner::of(&servers);
    owner.make(|_| {});
    let types = Format::ALL.iter().filter_map(|format| Some((*format, format.item_type()?)));
    let types: Vec<(Format, &str)> = types.collect();
    for (number, (format, _)) in types.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let deliveries = Deliveries::start(&[Settings { format: *format, ..to(&servers) }], folder.path()).unwrap();
        let outbox = deliveries.outboxes(&about(&format!("job-{number}"))).unwrap().remove(0);
        outbox.offer(&finding(&format!("job-{number}").as_str().into(), 1));
        outbox.finish();
        assert_eq!(deliveries.drain(None), []);
    }
    for (number, (format, media_type)) in types.iter().enumerate() {
        let got = async {
            let stream = owner.context.get_stream("CI").await.unwrap();
            stream.get_last_raw_message_by_subject(&format!("ci.job-{number}.finding")).await.unwrap()
        };
        let message = owner.runtime.block_on(got);
        assert_eq!(message.headers.get("Content-Type").map(ToString::to_string).as_deref(), Some(*media_type));
        let about = about(&format!("job-{number}"));
        let mut wanted = Vec::new();
        format.encode(&finding(&format!("job-{number}").as_str().into(), 1), &about, &mut wanted);
        assert_eq!(message.payload.to_vec(), wanted, "{format}");
    }
}
