//! One attempt at a receiver, and what came of it.

mod file;
#[cfg(feature = "nats")]
mod nats;
mod syslog;
mod webhook;

use std::time::Duration;

pub use webhook::prepare;

use super::settings::{Settings, Target};
use super::wire::format::Format;

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is there.
    Delivered,
    /// It may arrive at another time.
    Failed {
        /// What happened, for people.
        why: String,
        /// What the receiver asked for.
        wait: Option<Duration>,
    },
    /// This body never will arrive, whatever is done.
    Refused {
        /// What the receiver said.
        why: String,
    },
    /// The receiver wants nothing any more.
    Gone,
}

/// What is sent.
pub struct Parcel {
    /// Stable over attempts.
    pub id: String,
    /// The body, compressed where `encoding` says so.
    pub body: Vec<u8>,
    /// `gzip`, or nothing.
    pub encoding: Option<&'static str>,
    /// The items of it, for receivers that take one at a time.
    pub items: Vec<std::sync::Arc<[u8]>>,
    /// The id of each.
    pub ids: Vec<String>,
}

/// What came back, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: Option<u16>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// A receiver.
pub enum Receiver {
    /// An HTTP endpoint.
    Webhook(Box<webhook::Endpoint>),
    /// A syslog server.
    Syslog(syslog::Server),
    /// A file.
    File(file::Appended),
    /// A stream of NATS.
    #[cfg(feature = "nats")]
    Nats(Box<nats::Broker>),
}

impl Receiver {
    /// The receiver that settings speak of; nothing is connected yet.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(match &settings.target {
            Target::Webhook(webhook) => {
                Self::Webhook(Box::new(webhook::Endpoint::new(webhook, settings.format, settings.timeout)?))
            }
            Target::Syslog(address) => Self::Syslog(syslog::Server::new(address, settings.timeout)),
            Target::File(path) => Self::File(file::Appended::new(path)),
            #[cfg(feature = "nats")]
            Target::Nats(nats) => Self::Nats(Box::new(nats::Broker::new(nats, settings.format, settings.timeout)?)),
            #[cfg(not(feature = "nats"))]
            Target::Nats(_) => return Err("this binary was built without `--features nats`".to_owned()),
        })
    }

    /// One attempt.
    pub async fn send(&mut self, parcel: &Parcel) -> (Attempt, Answer) {
        match self {
            Self::Webhook(endpoint) => endpoint.send(parcel).await,
            Self::Syslog(server) => (server.send(parcel).await, Answer::default()),
            Self::File(file) => (file.send(parcel), Answer::default()),
            #[cfg(feature = "nats")]
            Self::Nats(broker) => (broker.send(parcel).await, Answer::default()),
        }
    }

    /// Makes a parcel of items, which must be there.
    pub fn parcel(&self, format: Format, items: Vec<(String, std::sync::Arc<[u8]>)>, is_batch: bool) -> Parcel {
        let id = match (items.first(), items.last()) {
            (Some((first, _)), Some((last, _))) if items.len() > 1 => format!("{first}..{last}"),
            (Some((only, _)), _) => only.clone(),
            _ => String::new(),
        };
        let (ids, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        #[cfg(feature = "nats")]
        if matches!(self, Self::Nats(_)) {
            // Each goes by itself.
            return Parcel { id, body: Vec::new(), encoding: None, items, ids };
        }
        let body = format.body(&items.iter().map(|item| &**item).collect::<Vec<_>>());
        let gzip = is_batch && matches!(self, Self::Webhook(endpoint) if endpoint.gzip());
        match gzip.then(|| webhook::gzip(&body)) {
            Some(body) => Parcel { id, body, encoding: Some("gzip"), items, ids },
            None => Parcel { id, body, encoding: None, items, ids },
        }
    }
}
