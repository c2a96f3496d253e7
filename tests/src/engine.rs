//! A container engine that makes no containers: a real HTTP server on a Unix socket that records what it was asked.
//!
//! Used by the unit tests of the gate too, which take this file in by its path.

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Id of every container that this engine makes.
pub const MADE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Id of the container that was there before, by the name `other`.
pub const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A request that reached the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method and target.
    pub request: String,
    /// Its body.
    pub body: String,
    /// Its headers, one a line.
    pub headers: String,
}

/// An engine that runs until the test's process ends.
#[derive(Clone, Debug)]
pub struct Engine {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Engine {
    /// Starts one at that socket.
    pub fn start(socket: &Path) -> Self {
        let engine = Self { seen: Arc::default() };
        let listener = UnixListener::bind(socket).expect("a socket can be made");
        listener.set_nonblocking(true).expect("a socket can be told not to wait");
        let seen = engine.seen.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
            runtime.block_on(serve(listener, seen));
        });
        engine
    }

    /// What reached it so far, without the questions of the gate itself.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().expect("nobody panics with it");
        seen.iter().filter(|seen| !is_question(&seen.request)).cloned().collect()
    }

    /// The requests among it.
    pub fn requests(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.request).collect()
    }
}

/// Whether it is how the gate asks what a name means.
fn is_question(request: &str) -> bool {
    let is_of_container = request.starts_with("GET /containers/") && request.ends_with("/json");
    (is_of_container && request != "GET /containers/json")
        || request.starts_with("GET /networks/")
        || request.starts_with("GET /volumes/")
}

async fn serve(listener: UnixListener, seen: Arc<Mutex<Vec<Seen>>>) {
    let listener = tokio::net::UnixListener::from_std(listener).expect("the listener doesn't wait");
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, seen.clone()));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no matter.
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let lines = head.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    let name = format!("{} {}", head.method, head.uri);
    let all = Seen { request: name, body: String::from_utf8_lossy(&body).into_owned(), headers: lines.collect() };
    seen.lock().expect("nobody panics with it").push(all);
    if let Some(upgrade) = upgrade {
        tokio::spawn(async move {
            let Ok(stream) = upgrade.await else { return };
            let mut stream = TokioIo::new(stream);
            echo(&mut stream).await;
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "tcp")
            .body(Full::default());
        return Ok(response.expect("well-formed"));
    }
    let (status, body) = known(head.method.as_str(), head.uri.path());
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header("Api-Version", "1.43");
    Ok(response.body(Full::from(body.to_string())).expect("well-formed"))
}

/// Says everything back in capitals, and at its end that it was the end.
async fn echo(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length].to_ascii_uppercase()).await.is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"END").await;
    let _ = stream.shutdown().await;
}

fn known(method: &str, path: &str) -> (StatusCode, Value) {
    // `/v1.43/…` and `/…` are the same.
    let pieces: Vec<&str> = path.split('/').filter(|piece| !piece.is_empty()).collect();
    let pieces = match pieces.split_first() {
        Some((version, rest)) if version.starts_with("v1.") => rest,
        _ => &pieces,
    };
    let missing = |what: &str| (StatusCode::NOT_FOUND, json!({ "message": format!("No such {what}") }));
    match (method, pieces) {
        ("GET", ["containers", "other" | OTHER, "json"]) => (StatusCode::OK, json!({ "Id": OTHER, "Name": "/other" })),
        ("GET", ["containers", name, "json"]) if *name == "mine" || MADE.starts_with(*name) => {
            (StatusCode::OK, json!({ "Id": MADE, "Name": "/mine" }))
        }
        ("GET", ["containers", _, "json"]) => missing("container"),
        ("GET", ["networks", "mine"]) => (StatusCode::OK, json!({ "Name": "mine", "Driver": "bridge" })),
        ("GET", ["networks", "of-host"]) => (StatusCode::OK, json!({ "Name": "host", "Driver": "host" })),
        ("GET", ["networks", _]) => missing("network"),
        ("GET", ["volumes", "of-root"]) => {
            (StatusCode::OK, json!({ "Name": "of-root", "Driver": "local", "Options": { "o": "bind", "device": "/" } }))
        }
        ("GET", ["volumes", _]) => missing("volume"),
        ("POST", ["containers", "create"]) => (StatusCode::CREATED, json!({ "Id": MADE, "Warnings": [] })),
        ("POST", ["containers", _, "exec"]) => (StatusCode::CREATED, json!({ "Id": "exec1" })),
        ("POST", ["containers", _, "wait"]) => (StatusCode::OK, json!({ "StatusCode": 0 })),
        ("POST", ["containers", ..]) | ("DELETE", _) => (StatusCode::NO_CONTENT, Value::Null),
        (_, ["version"]) => (StatusCode::OK, json!({ "Version": "0", "ApiVersion": "1.43", "MinAPIVersion": "1.24" })),
        (_, ["containers" | "images", "json"]) => (StatusCode::OK, json!([])),
        _ => (StatusCode::OK, json!({})),
    }
}
