//! From a judged request to the one that is sent, and from the engine's answer to the client's.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::judge::Judged;
use super::route::{Body, Route};
use super::target::Target;
use super::upstream::Passed;

/// Headers that concern one connection.
const HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHORIZATION,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// Headers of a client that an engine may need; it has no reason to see another.
const KEPT: [&str; 4] = ["accept", "user-agent", "x-registry-auth", "x-registry-config"];

/// Whether a client asks for a stream of bytes.
pub fn wants_upgrade(parts: &Parts) -> bool {
    parts.headers.contains_key(header::UPGRADE)
}

/// The request that is sent, written from what was judged.
pub fn anew(parts: &Parts, route: &Route, judged: &Judged, stream: Passed) -> Option<Request<Passed>> {
    let (body, content_type) = match (route.body, &judged.body) {
        (Body::Json(_), Some(Value::Null) | None) | (Body::None, _) => (Passed::empty(), None),
        (Body::Json(_), Some(value)) => (Passed::whole(value.to_string()), Some("application/json")),
        (Body::Stream(content_type), _) => (stream, Some(content_type)),
    };
    let mut request = request(&parts.method, &judged.target.written(), body)?;
    let headers = request.headers_mut();
    for name in KEPT {
        for value in parts.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if route.upgrades && wants_upgrade(parts) {
        // The only stream that engines know on these paths.
        upgrade(headers, HeaderValue::from_static("tcp"));
    }
    Some(request)
}

/// The request as it came, for jobs in which nothing is refused.
pub fn as_it_came(parts: &Parts, body: Passed) -> Option<Request<Passed>> {
    // A tunnel has no path, and no engine makes one.
    let target = parts.uri.path_and_query().filter(|_| parts.method != Method::CONNECT)?.as_str();
    let mut request = request(&parts.method, target, body)?;
    let headers = request.headers_mut();
    headers.extend(end_to_end(&parts.headers));
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::HOST, HeaderValue::from_static("docker"));
    if let Some(value) = parts.headers.get(header::UPGRADE) {
        upgrade(headers, value.clone());
    }
    Some(request)
}

fn request(method: &Method, target: &str, body: Passed) -> Option<Request<Passed>> {
    Request::builder().method(method).uri(target).header(header::HOST, "docker").body(body).ok()
}

fn upgrade(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, to);
}

/// Headers that go on to the other side.
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    // A connection can name more of its own.
    for value in headers.get_all(header::CONNECTION) {
        for name in value.to_str().unwrap_or_default().split(',') {
            if let Ok(name) = name.trim().parse::<HeaderName>() {
                kept.remove(name);
            }
        }
    }
    for name in HOP {
        kept.remove(name);
    }
    kept
}

/// An answer of the gate's own, in the form of an engine's errors.
pub fn message(status: StatusCode, text: &str) -> Response<Passed> {
    let body = json!({ "message": text }).to_string();
    let mut response = Response::new(Passed::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Longest path that is told: it comes from the job.
const MAX_NAME: usize = 256;

/// What a request is called in the log and in messages.
pub fn name(parts: &Parts, target: Option<&Target>) -> String {
    let path = target.map_or_else(|| parts.uri.path().to_owned(), Target::name);
    let path: String = crate::text::printable(&path).chars().take(MAX_NAME).collect();
    format!("{} {path}", parts.method)
}
