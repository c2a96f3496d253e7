//! The engine behind the gate: asked over a connection of its own for each request.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::json;
use super::target::Target;

/// How long the engine may take to say what it knows of a name.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Largest answer that the gate reads itself.
const MAX_ANSWER: usize = 4 << 20;

/// Largest head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// Where the engine listens.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its socket.
    pub socket: PathBuf,
}

/// Why the engine didn't answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The socket.
    #[error("the container engine can't be reached at {socket}: {source}")]
    Connect {
        /// Where.
        socket: String,
        /// Why.
        source: io::Error,
    },
    /// The protocol.
    #[error("the container engine's answer can't be used: {0}")]
    Http(#[from] hyper::Error),
    /// Silence.
    #[error("the container engine doesn't answer")]
    Silent,
}

impl Upstream {
    /// Sends a request; the answer's body comes as it comes.
    pub async fn send(&self, request: Request<Passed>) -> Result<Response<Incoming>, Failure> {
        let connected = timeout(ANSWER_WITHIN, UnixStream::connect(&self.socket)).await;
        let stream = connected
            .map_err(|_| Failure::Silent)?
            .map_err(|source| Failure::Connect { socket: self.socket.display().to_string(), source })?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
        spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the container engine ended");
            }
        });
        Ok(sender.send_request(request).await?)
    }

    /// What the engine knows at a path; nothing if it knows of no such thing.
    pub async fn look_up(&self, path: &[&str]) -> Result<Option<Value>, Failure> {
        let path = path.iter().map(|&piece| piece.to_owned()).collect();
        let target = Target { version: None, path, query: Vec::new() }.written();
        let request = Request::get(target).header(hyper::header::HOST, "docker").body(Passed::empty());
        // Target and header are made here, and well-formed.
        let Ok(request) = request else { return Ok(None) };
        let answered = timeout(ANSWER_WITHIN, async {
            let answer = self.send(request).await?;
            let status = answer.status();
            let body = read(answer.into_body()).await?;
            Ok::<_, Failure>((status, body))
        });
        let (status, body) = answered.await.map_err(|_| Failure::Silent)??;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        // Anything else than a plain answer is one about which nothing is known.
        let known = (status == StatusCode::OK).then(|| json::parse(&body).ok()).flatten();
        Ok(Some(known.unwrap_or(Value::Null)))
    }
}

/// Reads a short answer; nothing of one that is too long.
pub async fn read(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            if all.len() + data.len() > MAX_ANSWER {
                return Ok(Bytes::new());
            }
            all.extend_from_slice(data);
        }
    }
    Ok(all.into())
}

/// A body that is passed on: what the gate has, then what is still to come.
#[derive(Debug, Default)]
pub struct Passed {
    first: Option<Bytes>,
    rest: Option<Incoming>,
}

impl Passed {
    /// None.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What the gate has.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { first: Some(bytes.into()).filter(|bytes| !bytes.is_empty()), rest: None }
    }

    /// What comes.
    pub fn stream(body: Incoming) -> Self {
        Self { first: None, rest: Some(body) }
    }

    /// Both.
    pub fn joined(first: Vec<u8>, rest: Option<Incoming>) -> Self {
        Self { rest, ..Self::whole(first) }
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(first + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(first + upper);
        }
        hint
    }
}
