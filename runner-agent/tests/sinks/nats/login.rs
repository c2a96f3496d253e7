//! Who publishes: a user that may publish under its job's subject and hear the broker's answers, and nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{ConnectOptions, Event};
use end_to_end::{NatsServer, host, wait_until};
use runner_agent::sink::settings::{Login, Secret, Settings};
use runner_agent::sink::subject::Subject;

use super::{Owner, SOON, deliver, each_once, needs_server, to, with};

/// What a job's user may do, in a server's own configuration.
const USERS: &str = "authorization { users: [\n  \
    { user: job, password: of-the-job, permissions: { publish: [\"ci.job.>\"], subscribe: [\"_INBOX.ci-job.>\"] } }\n  \
    { user: owner, password: of-the-owner }\n] }\n";

/// A user that proves itself by a key; the same rights.
const KEYS: &str = "authorization { users: [\n  \
    { nkey: NKEY, permissions: { publish: [\"ci.job.>\"], subscribe: [\"_INBOX.ci-job.>\"] } }\n  \
    { user: owner, password: of-the-owner }\n] }\n";
const NKEY: &str = "UB2F7CJ6CG34D7HU64HRIUUI3O3FCKDYVZXS4T52ABXXG7TUIZY5L4N7";
const SEED: &str = "SUAEPMZWOZCVIHNKDGGA6FE3JUVUDUIBPS7R2BVZ2FLK4QO5KG6IY7JMNE";

/// The same by an operator's word, as `nsc` makes it.
const OPERATOR: &str = include_str!("operator.conf");
const JOB: &str = include_str!("job.creds");
const READER: &str = include_str!("reader.creds");

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes())
}

/// The sink of the job, by one way to say who it is.
fn of_job(servers: &[NatsServer], login: Login) -> Settings {
    let settings = with(to(servers), |nats| {
        nats.login = login;
        nats.inbox = Some("_INBOX.ci-job".to_owned());
    });
    Settings { timeout: Duration::from_secs(5), drain: Duration::from_secs(10), ..settings }
}

fn by_password(password: &str) -> Login {
    Login::Password("job".to_owned(), secret(password))
}

fn owner(servers: &[NatsServer]) -> Owner {
    let options = ConnectOptions::new().user_and_password("owner".to_owned(), "of-the-owner".to_owned());
    let owner = Owner::connect(options, servers);
    owner.make(|_| {});
    owner
}

/// Why nothing was delivered.
fn why_not(settings: Settings) -> String {
    let folder = tempfile::tempdir().unwrap();
    let left = deliver(settings, folder.path(), 10);
    assert_eq!(left[0].left, 10, "all of it waits in the spool");
    left[0].why.clone()
}

#[test]
fn who_may_publish_for_one_job_delivers_and_may_neither_read_nor_publish_for_another() {
    needs_server!();
    let servers = [NatsServer::start(USERS)];
    let owner = owner(&servers);
    let folder = tempfile::tempdir().unwrap();
    let settings = of_job(&servers, by_password("of-the-job"));
    assert_eq!(deliver(settings.clone(), folder.path(), 50), []);
    each_once(&owner.read(), 50, |seq| seq % 10 == 0);

    // With the same password, by a client that asks for what it should not have.
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = said.clone();
    let options = ConnectOptions::new()
        .user_and_password("job".to_owned(), "of-the-job".to_owned())
        .custom_inbox_prefix("_INBOX.ci-job")
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                heard.lock().unwrap().push(error.to_string());
            }
            std::future::ready(())
        });
    let thief = Owner::connect(options, &servers);
    let refused = |act: &str| {
        // What came in is read while something is asked for.
        let is_said = || {
            thief.runtime.block_on(thief.client.flush()).unwrap();
            said.lock().unwrap().iter().any(|said| said.to_lowercase().contains(&act.to_lowercase()))
        };
        assert!(wait_until(host::patience(SOON), is_said), "{act}: {:?}", said.lock().unwrap());
    };
    thief.runtime.block_on(async {
        let _subscribed = thief.client.subscribe("ci.>").await.unwrap();
        for subject in
            ["ci.other.finding", "$JS.API.STREAM.INFO.CI", "$JS.API.STREAM.MSG.GET.CI", "$JS.API.STREAM.DELETE.CI"]
        {
            thief.client.publish(subject, "{}".into()).await.unwrap();
        }
        thief.client.flush().await.unwrap();
    });
    refused("Permissions Violation for Subscription to \"ci.>\"");
    refused("Permissions Violation for Publish to \"ci.other.finding\"");
    for act in ["INFO", "MSG.GET", "DELETE"] {
        refused(&format!("Permissions Violation for Publish to \"$JS.API.STREAM.{act}.CI\""));
    }
    assert_eq!(owner.info().state.messages, 50, "nothing came, and nothing went");
}

#[test]
fn what_the_brokers_rules_refuse_waits_and_the_summary_says_which_rule() {
    needs_server!();
    let servers = [NatsServer::start(USERS)];
    let owner = owner(&servers);
    let settings = of_job(&servers, by_password("of-the-job"));
    let elsewhere = with(settings.clone(), |nats| nats.subject = Subject::parse("ci.other.{kind}").unwrap());
    let why = why_not(elsewhere).to_lowercase();
    assert!(why.contains("permissions violation for publish to \"ci.other."), "{why}");
    let stranger = of_job(&servers, by_password("guessed"));
    let why = why_not(stranger).to_lowercase();
    assert!(why.contains("authorization violation"), "{why}");
    assert_eq!(owner.info().state.messages, 0);
    // The broker takes what it may not answer to: it is sent again, and is there once.
    let anybodys = with(settings, |nats| nats.inbox = None);
    let why = why_not(anybodys).to_lowercase();
    assert!(why.contains("permissions violation for subscription to \"_inbox."), "{why}");
    let ids: Vec<String> = owner.read().into_iter().map(|stored| stored.id).collect();
    let each: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(each.len(), ids.len(), "{ids:?}");
}

#[test]
fn a_token_a_key_and_a_credentials_file_say_who_it_is() {
    needs_server!();
    let by_token = [NatsServer::start("authorization { token: of-all }\n")];
    let by_key = [NatsServer::start(&KEYS.replace("NKEY", NKEY))];
    let by_file = [NatsServer::start(OPERATOR)];
    let with_token = Owner::connect(ConnectOptions::new().token("of-all".to_owned()), &by_token);
    with_token.make(|_| {});
    let with_file = Owner::connect(ConnectOptions::with_credentials(READER).unwrap(), &by_file);
    with_file.make(|_| {});
    for (servers, owner, login) in [
        (&by_token, with_token, Login::Token(secret("of-all"))),
        (&by_key, owner(&by_key), Login::Nkey(secret(SEED))),
        (&by_file, with_file, Login::Credentials(secret(JOB))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(deliver(of_job(servers, login.clone()), folder.path(), 20), [], "{login:?}");
        each_once(&owner.read(), 20, |seq| seq % 10 == 0);
        let why = why_not(of_job(servers, Login::None)).to_lowercase();
        assert!(why.contains("authorization violation"), "{login:?}: {why}");
    }
}
