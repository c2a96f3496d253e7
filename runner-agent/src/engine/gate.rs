//! One connection of a job to the gate: each request is read, judged, told, and passed on or answered.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::Asked;
use super::ask::{Ask, Kind};
use super::binds::Binds;
use super::json;
use super::judge::{self, Judged, Known, Meaning, Reference, judge};
use super::made::Made;
use super::passing;
use super::route::{Body, Makes, Route};
use super::routes;
use super::target::Target;
use super::upstream::{self, Failure, Passed, Upstream};
use crate::policy::{Mode, Verdict};

/// Largest JSON that is judged.
const MAX_JSON: usize = 1 << 20;

/// How long a client may take for the head of a request, and for JSON behind it.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Largest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// Most names in one request that the engine is asked about.
const MAX_NAMES: usize = 64;

/// What all connections share, on one thread.
pub struct Gate {
    pub(super) upstream: Upstream,
    pub(super) mode: Mode,
    /// Name of the policy, for messages.
    pub(super) policy: String,
    pub(super) made: RefCell<Made>,
    pub(super) binds: RefCell<Binds>,
    pub(super) reports: mpsc::Sender<Asked>,
}

/// Who is at the other end.
#[derive(Clone)]
pub struct Client {
    pub(super) pid: u32,
    pub(super) user: u32,
    /// Given back when the last stream of the connection has ended.
    pub(super) slot: Rc<OwnedSemaphorePermit>,
}

/// Serves a connection to its end.
pub async fn serve(gate: Rc<Gate>, stream: UnixStream, client: Client) {
    let service = hyper::service::service_fn(move |request| {
        let (gate, client) = (gate.clone(), client.clone());
        async move { Ok::<_, Infallible>(gate.answer(client, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the container engine's gate ended");
    }
}

/// A request's body as far as the gate has read it.
enum Read {
    Json(Vec<u8>),
    TooLarge(Vec<u8>, Incoming),
    Unread(Incoming),
}

impl Gate {
    async fn answer(&self, client: Client, mut request: Request<Incoming>) -> Response<Passed> {
        let at_ns = boot_ns();
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let target = Target::parse(parts.uri.path(), parts.uri.query().unwrap_or_default());
        let route =
            target.as_ref().map_or(&routes::UNKNOWN, |target| routes::find(parts.method.as_str(), &target.path));
        let Some(read) = read(route, body).await else {
            return passing::message(StatusCode::BAD_REQUEST, "runner-agent: the request's body ended early");
        };
        let judged = match self.judge(route, target.as_ref(), &read, client.user).await {
            Ok(judged) => judged,
            Err(failure) => return failed(&failure),
        };
        let name = passing::name(&parts, target.as_ref());
        let request = if judged.asks.is_empty() {
            if let Some(missing) = judged.missing.first() {
                return passing::message(StatusCode::NOT_FOUND, &format!("No such container: {missing}"));
            }
            let stream = match read {
                Read::Unread(body) => Passed::stream(body),
                Read::Json(_) | Read::TooLarge(..) => Passed::empty(),
            };
            passing::anew(&parts, route, &judged, stream)
        } else {
            let verdict = if self.mode == Mode::Block { Verdict::Blocked } else { Verdict::Audited };
            let asked =
                Asked { at_ns, pid: client.pid, request: name.as_str().into(), asks: judged.asks.clone(), verdict };
            // Waits for room: what can't be told isn't passed on.
            if self.reports.send(asked).await.is_err() || self.mode == Mode::Block {
                return self.refused(&name, &judged.asks);
            }
            let body = match read {
                Read::Json(bytes) => Passed::whole(bytes),
                Read::TooLarge(first, rest) => Passed::joined(first, Some(rest)),
                Read::Unread(body) => Passed::stream(body),
            };
            passing::as_it_came(&parts, body)
        };
        let Some(request) = request else {
            return passing::message(StatusCode::BAD_REQUEST, "runner-agent: the request can't be passed on");
        };
        match self.pass(request, route, on_upgrade, client).await {
            Ok(response) => response,
            Err(failure) => failed(&failure),
        }
    }

    /// Judges until everything that the verdict stands on is known.
    async fn judge(&self, route: &Route, target: Option<&Target>, read: &Read, user: u32) -> Result<Judged, Failure> {
        let body = match read {
            Read::Json(bytes) => bytes.as_slice(),
            Read::TooLarge(..) | Read::Unread(_) => b"",
        };
        let mut known = Known::new();
        loop {
            let mut judged = judge(route, judge::Request { target, body }, &known);
            if let Read::TooLarge(..) = read {
                judged.asks.push(Ask::new(Kind::TooLarge, ""));
            }
            if judged.needs.is_empty() {
                return Ok(judged);
            }
            for reference in std::mem::take(&mut judged.needs) {
                let meaning = if known.len() < MAX_NAMES {
                    self.meaning(&reference, user).await?
                } else {
                    Meaning::Not(Ask::new(Kind::TooLarge, &format!("more than {MAX_NAMES} names")))
                };
                known.insert(reference, meaning);
            }
        }
    }

    /// What a name means: to the engine, to the job, or in the job's folders.
    async fn meaning(&self, reference: &Reference, user: u32) -> Result<Meaning, Failure> {
        Ok(match reference {
            Reference::Container(name) => match self.look_up(&["containers", name, "json"], name).await? {
                None => Meaning::Missing,
                Some(container) => match container["Id"].as_str() {
                    Some(id) if self.made.borrow().has(Makes::Container, id) => Meaning::Is(id.to_owned()),
                    _ => Meaning::Not(Ask::new(Kind::ContainerOfOthers, name)),
                },
            },
            Reference::Exec(id) if self.made.borrow().has(Makes::Exec, id) => Meaning::Is(id.clone()),
            Reference::Exec(id) => Meaning::Not(Ask::new(Kind::ContainerOfOthers, &format!("exec {id}"))),
            Reference::Volume(name) => match self.look_up(&["volumes", name], name).await? {
                None => Meaning::Missing,
                Some(volume) if volume["Driver"] == "local" && json::says_nothing(&volume["Options"]) => {
                    Meaning::Is(name.clone())
                }
                Some(_) => Meaning::Not(Ask::new(Kind::Volume, name)),
            },
            Reference::Network(name) => match self.look_up(&["networks", name], name).await? {
                None => Meaning::Missing,
                Some(network) => match network["Driver"].as_str() {
                    Some("bridge") => Meaning::Is(name.clone()),
                    Some("host") => Meaning::Not(Ask::new(Kind::HostNetwork, name)),
                    _ => Meaning::Not(Ask::new(Kind::Network, name)),
                },
            },
            Reference::Path(path, writable) => match self.binds.borrow_mut().hold(path, *writable, user) {
                Ok(place) => Meaning::Is(place.display().to_string()),
                Err(reason) if reason.is_empty() => Meaning::Not(Ask::new(Kind::HostMount, path)),
                Err(reason) => Meaning::Not(Ask::new(Kind::HostMount, &format!("{path} ({reason})"))),
            },
        })
    }

    /// What the engine knows of a name; `null` of one that would mean something else in a path.
    async fn look_up(&self, path: &[&str], name: &str) -> Result<Option<Value>, Failure> {
        if !super::target::is_plain(name) {
            return Ok(Some(Value::Null));
        }
        self.upstream.look_up(path).await
    }

    fn refused(&self, name: &str, asks: &[Ask]) -> Response<Passed> {
        let all: Vec<String> = asks.iter().map(ToString::to_string).collect();
        let instead = asks.first().map_or("", |ask| ask.kind.instead());
        let text = format!(
            "runner-agent refused {name}, which asks for: {} (policy {}, guard.docker: gate). Instead: {instead}.",
            all.join(", "),
            self.policy
        );
        passing::message(StatusCode::FORBIDDEN, &text)
    }

    /// Sends a request, and brings back the answer.
    async fn pass(
        &self,
        request: Request<Passed>,
        route: &Route,
        on_upgrade: OnUpgrade,
        client: Client,
    ) -> Result<Response<Passed>, Failure> {
        let mut answer = self.upstream.send(request).await?;
        let status = answer.status();
        let mut headers = passing::end_to_end(answer.headers());
        let body = if status == StatusCode::SWITCHING_PROTOCOLS {
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
            if let Some(to) = answer.headers().get(header::UPGRADE) {
                headers.insert(header::UPGRADE, to.clone());
            }
            spawn_local(join(on_upgrade, hyper::upgrade::on(&mut answer), client));
            Passed::empty()
        } else if let (Some(kind), true) = (route.makes, status.is_success()) {
            let bytes = upstream::read(answer.into_body()).await?;
            if let Some(id) = json::parse(&bytes).ok().as_ref().and_then(|made| made["Id"].as_str()) {
                self.made.borrow_mut().add(kind, id);
            }
            Passed::whole(bytes)
        } else {
            Passed::stream(answer.into_body())
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Reads what the route has to judge; nothing when the client goes away meanwhile, or takes too long.
async fn read(route: &Route, mut body: Incoming) -> Option<Read> {
    if route.never.is_some() || !matches!(route.body, Body::Json(_)) {
        return Some(Read::Unread(body));
    }
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.ok()?.data_ref() {
                bytes.extend_from_slice(data);
            }
            if bytes.len() > MAX_JSON {
                return Some((bytes, true));
            }
        }
        Some((bytes, false))
    };
    match timeout(READ_WITHIN, reading).await.ok()?? {
        (bytes, true) => Some(Read::TooLarge(bytes, body)),
        (bytes, false) => Some(Read::Json(bytes)),
    }
}

/// Carries bytes both ways until both sides have ended.
async fn join(from_client: OnUpgrade, from_engine: OnUpgrade, client: Client) {
    let (Ok(near), Ok(far)) = tokio::join!(from_client, from_engine) else { return };
    if let Err(error) = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await {
        tracing::debug!(%error, pid = client.pid, "a stream to the container engine ended");
    }
    drop(client.slot);
}

fn failed(failure: &Failure) -> Response<Passed> {
    passing::message(StatusCode::BAD_GATEWAY, &format!("runner-agent: {failure}"))
}

fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
