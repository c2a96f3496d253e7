//! What is said of a sink: plain types that `config` makes of a file, keys already read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::sign::SigningKey;
use super::subject::Subject;
use super::wire::format::{About, Format, kind};
use crate::notice::{Content, Notice};
use crate::policy::words;

/// A sink that sends what a job did to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name, in the log and for `sink test`. Names are read once by a process and live as long as it.
    pub name: &'static str,
    /// Who gets it.
    pub target: Target,
    /// In which form.
    pub format: Format,
    /// What it gets.
    pub only: Only,
    /// How much goes at once.
    pub batch: Batch,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How much waits, and for how long.
    pub bounds: Bounds,
    /// Whether a job may begin only when this sink has taken its start.
    pub required: bool,
    /// How long the end of a job may be put off for what still waits.
    pub drain: Duration,
}

impl Settings {
    /// Appends a notice as one item that this sink sends. False, and nothing is appended, when its form has no place for it.
    pub fn encode(&self, notice: &Notice, about: &About, out: &mut Vec<u8>) -> bool {
        match &self.target {
            Target::Webhook(_) | Target::File(_) => self.format.encode(notice, about, out),
            Target::Syslog(_) => {
                let mut item = Vec::new();
                let is_taken = self.format.encode(notice, about, &mut item);
                let message = is_taken.then(|| self.format.syslog_message(&item, &about.host)).flatten();
                message.map(|message| out.extend(message)).is_some()
            }
            Target::Nats(nats) => {
                // Before the message, as what waits in the spool has to know where it goes. A subject holds no space.
                let length = out.len();
                out.extend(nats.subject.of(&about.host, &about.job, kind(notice)).as_bytes());
                out.push(b' ');
                let is_taken = self.format.encode(notice, about, out);
                if !is_taken {
                    out.truncate(length);
                }
                is_taken
            }
        }
    }
}

/// Who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An HTTP endpoint.
    Webhook(Box<Webhook>),
    /// A syslog server.
    Syslog(Address),
    /// A file, to which is appended.
    File(PathBuf),
    /// A stream of NATS.
    Nats(Box<Nats>),
}

impl Target {
    /// Its type, as a configuration names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::File(_) => "file",
            Self::Nats(_) => "nats",
        }
    }
}

impl fmt::Display for Target {
    /// Without what may be secret in it: many receivers have their token in the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(webhook) => write!(f, "{}", Origin(&webhook.url)),
            Self::Syslog(Address::Tcp(host, port)) => write!(f, "tcp://{host}:{port}"),
            Self::Syslog(Address::Unix(path)) => write!(f, "unix:{}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Nats(nats) => {
                for (number, url) in nats.servers.iter().enumerate() {
                    write!(f, "{}{}", if number == 0 { "" } else { "," }, Origin(url))?;
                }
                write!(f, " {}", nats.subject)
            }
        }
    }
}

/// A URL without what may be secret in it.
struct Origin<'a>(&'a Url);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A stream of NATS, by any of its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nats {
    /// `tls`, or `nats` on this machine.
    pub servers: Vec<Url>,
    /// Where notices are published.
    pub subject: Subject,
    /// Who publishes.
    pub login: Login,
    /// Prefix of the subject that answers come to, where the broker's rules want another than everybody's.
    pub inbox: Option<String>,
    /// Certificates (PEM) that are trusted in place of the machine's.
    pub ca: Option<Vec<u8>>,
}

/// How a broker is told who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    None,
    /// A user and a password.
    Password(String, Secret),
    /// A token.
    Token(Secret),
    /// A seed, by which what the broker asks is signed.
    Nkey(Secret),
    /// The same with the JWT of the user, as its tools write both into one file.
    Credentials(Secret),
}

/// Where a syslog server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port; messages are counted in octets (RFC 6587).
    Tcp(String, u16),
    /// A Unix socket, of datagrams or of a stream.
    Unix(PathBuf),
}

/// An HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `https`, or `http` on this machine.
    pub url: Url,
    /// Each makes a signature: several while keys are being changed.
    pub keys: Vec<SigningKey>,
    /// Key of `X-Hub-Signature-256`.
    pub hub: Option<Secret>,
    /// Headers besides.
    pub headers: HeaderMap,
    /// Certificates (PEM) that are trusted in place of the machine's.
    pub ca: Option<Vec<u8>>,
    /// The way out.
    pub proxy: Proxy,
    /// Whether batches are compressed.
    pub gzip: bool,
}

/// The way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// None, whatever the environment says.
    None,
    /// What the agent's environment says.
    Environment,
    /// This one.
    Through(Url),
}

/// How much goes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Bytes of items in one body at most, before compression.
    pub bytes: usize,
    /// How long an item waits for others.
    pub wait: Duration,
}

/// How much waits for a receiver that doesn't take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes at most.
    pub bytes: u64,
    /// For how long at most.
    pub age: Duration,
}

/// What a sink gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Findings, losses, beginnings and ends, and what the agent says of itself.
    Findings,
    /// And every event.
    All,
}

words!(Only, "findings, all", {
    Only::Findings => "findings",
    Only::All => "all",
});

impl Only {
    /// Which notices that is.
    pub fn wants(self) -> fn(&Notice) -> bool {
        match self {
            Self::Findings => is_alert,
            Self::All => |_| true,
        }
    }
}

/// Whether a notice goes alone and at once.
pub fn is_alert(notice: &Notice) -> bool {
    !matches!(notice.content, Content::Event(_))
}

/// Bytes that nobody is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
