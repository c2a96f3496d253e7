//! A stream of NATS JetStream: one message a notice, with the notice's id, by which the broker knows what it has. A few are under
//! way at a time, and none counts before the broker has acknowledged it.

use std::collections::{HashSet, VecDeque};
use std::error::Error as _;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ContextBuilder, Error, ErrorCode};
use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject as _;
use async_nats::rustls::{ClientConfig, RootCertStore};
use async_nats::{ConnectOptions, Event};
use tokio::sync::watch;

use super::{Attempt, Parcel};
use crate::sink::settings::{Login, Nats, Secret};
use crate::sink::wire::format::Format;
use crate::text::printable;

/// Messages that are under way at most. Whoever sends all before it looks for the first answer may wait for ever.
const UNDER_WAY: usize = 256;

/// The name by which the broker lists its connections.
const NAME: &str = "runner-agent";

/// A stream, and the connection to one of its servers while there is one.
pub struct Broker {
    nats: Nats,
    format: Format,
    timeout: Duration,
    connection: Option<Connection>,
    /// What the broker acknowledged of a parcel that is not whole yet: its own memory of ids may be shorter than our patience.
    acknowledged: HashSet<String>,
}

struct Connection {
    context: Context,
    /// What the broker said against us, or that it went away.
    trouble: watch::Receiver<Option<String>>,
}

/// Why a message isn't there.
#[derive(Debug, PartialEq, Eq)]
enum Objection {
    /// It may be taken at another time.
    Now(String),
    /// It never will be.
    Ever(String),
}

impl Broker {
    pub(super) fn new(nats: &Nats, format: Format, timeout: Duration) -> Result<Self, String> {
        super::prepare();
        // What is wrong with a key is said before any job starts.
        let _ = logged_in(ConnectOptions::new(), &nats.login)?;
        let (nats, acknowledged) = (nats.clone(), HashSet::new());
        Ok(Self { nats, format, timeout, connection: None, acknowledged })
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Attempt {
        match self.publish(parcel).await {
            Ok(()) => {
                for id in &parcel.ids {
                    self.acknowledged.remove(id);
                }
                Attempt::Delivered
            }
            Err(Objection::Ever(why)) => Attempt::Refused { why: printable(&why).to_string() },
            Err(Objection::Now(why)) => {
                // By another server next time, and with nothing under way.
                self.connection = None;
                Attempt::Failed { why: printable(&why).to_string(), wait: None }
            }
        }
    }

    async fn publish(&mut self, parcel: &Parcel) -> Result<(), Objection> {
        // One that was lost while nothing was to be sent is no failure.
        let is_lost = |connection: &Connection| connection.trouble.borrow().is_some();
        if self.connection.as_ref().is_some_and(is_lost) {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connection = Some(connect(&self.nats, self.timeout).await.map_err(Objection::Now)?);
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let to_send: Vec<_> =
            parcel.ids.iter().zip(&parcel.items).filter(|(id, _)| !self.acknowledged.contains(*id)).collect();
        let mut under_way: VecDeque<(&String, PublishAckFuture)> = VecDeque::new();
        // A message that is refused keeps none of the others from being sent, nor from being remembered.
        let mut refused = Ok(());
        let mut kept = |id: &String, came: Result<(), Objection>| match came {
            Ok(()) => {
                self.acknowledged.insert(id.clone());
                Ok(())
            }
            Err(Objection::Ever(why)) => {
                refused = Err(Objection::Ever(why));
                Ok(())
            }
            Err(now) => Err(now),
        };
        for (id, item) in to_send {
            if under_way.len() == UNDER_WAY
                && let Some((oldest, answer)) = under_way.pop_front()
            {
                kept(oldest, connection.answered(answer).await)?;
            }
            let (subject, payload) = taken_apart(item);
            let mut message = PublishMessage::build().message_id(id).payload(payload.to_vec().into());
            if let Some(media_type) = self.format.item_type() {
                message = message.header("Content-Type", media_type);
            }
            match connection.context.send_publish(subject, message).await {
                Ok(answer) => under_way.push_back((id, answer)),
                Err(error) => kept(id, Err(meaning(&error)))?,
            }
        }
        while let Some((id, answer)) = under_way.pop_front() {
            kept(id, connection.answered(answer).await)?;
        }
        refused
    }
}

impl Connection {
    /// What the broker says to one message. Who may not publish is told so beside the answers, and gets none.
    async fn answered(&mut self, answer: PublishAckFuture) -> Result<(), Objection> {
        tokio::select! {
            biased;
            came = answer.into_future() => came.map(drop).map_err(|error| meaning(&error)),
            said = self.trouble.wait_for(Option::is_some) => {
                let said = said.ok().and_then(|said| said.clone());
                Err(Objection::Now(said.unwrap_or_else(|| "the connection was lost".to_owned())))
            }
        }
    }
}

/// Subject and message, which `Settings::encode` has put together.
fn taken_apart(item: &[u8]) -> (String, &[u8]) {
    let end = item.iter().position(|&byte| byte == b' ').unwrap_or(item.len());
    (String::from_utf8_lossy(&item[..end]).into_owned(), item.get(end + 1..).unwrap_or_default())
}

/// What an error means for what was sent.
fn meaning(error: &PublishError) -> Objection {
    match error.kind() {
        PublishErrorKind::StreamNotFound => Objection::Now("no stream takes what is published there".to_owned()),
        PublishErrorKind::TimedOut => Objection::Now("no acknowledgement in time".to_owned()),
        PublishErrorKind::BrokenPipe => Objection::Now("the connection was lost".to_owned()),
        PublishErrorKind::MaxPayloadExceeded => Objection::Ever("it is longer than this server takes".to_owned()),
        _ => {
            let said = error.source().and_then(|source| source.downcast_ref::<Error>());
            let words = || error.source().map_or_else(|| error.to_string(), ToString::to_string);
            match said.map(Error::error_code) {
                Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM) => {
                    Objection::Ever(words())
                }
                _ => Objection::Now(words()),
            }
        }
    }
}

/// Connects to any of the servers. Reconnecting is left to the courier, which waits longer each time.
async fn connect(nats: &Nats, timeout: Duration) -> Result<Connection, String> {
    let (say, trouble) = watch::channel(None);
    let mut options = logged_in(ConnectOptions::new(), &nats.login)?
        .name(NAME)
        .connection_timeout(timeout)
        .request_timeout(Some(timeout))
        // Each server once, and only those that are configured: what a server says of others could lead anywhere.
        .max_reconnects(nats.servers.len())
        .ignore_discovered_servers()
        .event_callback(move |event| {
            if let Some(words) = against_us(&event) {
                say.send_if_modified(|said| {
                    let is_first = said.is_none();
                    said.get_or_insert(words);
                    is_first
                });
            }
            std::future::ready(())
        });
    if let Some(inbox) = &nats.inbox {
        options = options.custom_inbox_prefix(inbox);
    }
    if let Some(pem) = &nats.ca {
        options = options.tls_client_config(trusting(pem)?);
    }
    let servers: Vec<String> = nats.servers.iter().map(ToString::to_string).collect();
    let client = options.connect(servers).await.map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("can't connect: {}{cause}", error.kind())
    })?;
    let context = ContextBuilder::new().timeout(timeout).max_ack_inflight(UNDER_WAY).build(client);
    Ok(Connection { context, trouble })
}

/// What ends an attempt, in words.
fn against_us(event: &Event) -> Option<String> {
    match event {
        Event::ServerError(error) => Some(error.to_string().trim_start_matches("nats: ").to_owned()),
        Event::Disconnected | Event::Closed => Some("the connection was lost".to_owned()),
        _ => None,
    }
}

/// Says who publishes.
fn logged_in(options: ConnectOptions, login: &Login) -> Result<ConnectOptions, String> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.bytes()).into_owned();
    Ok(match login {
        Login::None => options,
        Login::Password(user, password) => options.user_and_password(user.clone(), text(password)),
        Login::Token(token) => options.token(text(token)),
        Login::Nkey(seed) => options.nkey(text(seed)),
        Login::Credentials(file) => options.credentials(&text(file)).map_err(|error| error.to_string())?,
    })
}

/// TLS that believes these certificates and no others.
fn trusting(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_by_the_broker(code: u64) -> PublishError {
        let error: Error = serde_json::from_value(
            serde_json::json!({ "code": 503, "err_code": code, "description": "maximum messages exceeded" }),
        )
        .unwrap();
        PublishError::with_source(PublishErrorKind::Other, error)
    }

    #[test]
    fn only_a_message_that_is_too_long_is_refused_for_ever() {
        for code in [10_054, 10_097] {
            assert!(matches!(meaning(&said_by_the_broker(code)), Objection::Ever(_)), "{code}");
        }
        // Full, out of resources, sealed, another last message.
        for code in [10_077, 10_023, 10_109, 10_070] {
            let Objection::Now(why) = meaning(&said_by_the_broker(code)) else { panic!("{code}") };
            assert!(why.contains("maximum messages exceeded"), "{why}");
        }
        let of = |kind| meaning(&PublishError::new(kind));
        assert!(matches!(of(PublishErrorKind::MaxPayloadExceeded), Objection::Ever(_)));
        for kind in [PublishErrorKind::StreamNotFound, PublishErrorKind::TimedOut, PublishErrorKind::BrokenPipe] {
            assert!(matches!(of(kind), Objection::Now(_)), "{kind:?}");
        }
    }

    #[test]
    fn an_item_is_a_subject_and_what_is_published_there() {
        assert_eq!(taken_apart(b"ci.job.exec {\"a\": 1}"), ("ci.job.exec".to_owned(), &b"{\"a\": 1}"[..]));
    }

    #[test]
    fn a_credentials_file_without_a_seed_is_told_before_anything_is_sent() {
        let wrong = Login::Credentials(Secret::new(b"-----BEGIN NATS USER JWT-----\nx\n"));
        assert!(logged_in(ConnectOptions::new(), &wrong).unwrap_err().contains("JWT"));
    }
}
