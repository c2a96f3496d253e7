//! Who gets it: a webhook with its keys, a syslog server, a file, a stream.

use std::net::IpAddr;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::nats::nats;
use super::secret::{path, secret};
use crate::config::check::walk::{Cursor, Fields};
use crate::config::raw::Value;
use crate::sink::settings::{Address, Proxy, Secret, Target, Webhook};
use crate::sink::sign::SigningKey;

/// Keys of `sign`.
const SIGN_KEYS: &[&str] = &["hmac", "ed25519"];

/// Headers that the agent writes itself.
const OWN_HEADERS: [&str; 8] = [
    "content-type",
    "content-encoding",
    "content-length",
    "host",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-hub-signature-256",
];

/// The target of a type.
pub(super) fn target(kind: &str, fields: &Fields, named: &Cursor) -> Option<Target> {
    match kind {
        "webhook" => webhook(fields).map(|webhook| Target::Webhook(Box::new(webhook))),
        "syslog" => {
            let hint = "say where it listens, as in `address: tcp://logs.example.org:601` or `address: unix:/dev/log`";
            fields.need("address", hint).and_then(|cursor| address(&cursor)).map(Target::Syslog)
        }
        "nats" => nats(fields, named).map(|nats| Target::Nats(Box::new(nats))),
        _ => fields.need("path", "say which file").and_then(|cursor| path(&cursor)).map(Target::File),
    }
}

fn webhook(fields: &Fields) -> Option<Webhook> {
    let url = fields.need("url", "say where to, as in `url: https://siem.example.org/hooks/ci`");
    let url = url.and_then(|cursor| endpoint(&cursor));
    let (keys, first) = fields.get("sign").map_or_else(Default::default, |cursor| keys(&cursor));
    let hub = fields.get("hub-signature").and_then(|cursor| match (cursor.truth()?, first) {
        (true, Some(text)) => Some(Secret::new(text.as_bytes())),
        (true, None) => {
            cursor.error("is signed with the first key of `sign.hmac`, and there is none; add one");
            None
        }
        (false, _) => None,
    });
    let headers = fields.get("headers").map(|cursor| headers(&cursor)).unwrap_or_default();
    let ca = fields.get("ca").and_then(|cursor| certificates(&cursor));
    let proxy = fields.get("proxy").and_then(|cursor| proxy(&cursor)).unwrap_or(Proxy::None);
    let gzip = fields.get("compress").is_some_and(|cursor| match cursor.text() {
        Some("gzip") => true,
        Some("none") | None => false,
        Some(other) => {
            cursor.error(format!("{other:?} is not one of gzip, none"));
            false
        }
    });
    Some(Webhook { url: url?, keys, hub, headers, ca, proxy, gzip })
}

fn endpoint(cursor: &Cursor) -> Option<Url> {
    let text = cursor.text()?;
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() => url,
        _ => {
            cursor.error(format!("{text:?} is no URL; write it whole, as in \"https://siem.example.org/hooks/ci\""));
            return None;
        }
    };
    kept_safe(cursor, url, ("https", "http"), "headers: { Authorization: { file: PATH } }")
}

/// A URL of the first scheme, or of the second to this machine, without a password in it; `login` is where that would be right.
pub(super) fn kept_safe(cursor: &Cursor, url: Url, (safe, bare): (&str, &str), login: &str) -> Option<Url> {
    if !url.username().is_empty() || url.password().is_some() {
        cursor.error(format!("has a user or a password; write it as `{login}`"));
        return None;
    }
    match url.scheme() {
        scheme if scheme == safe => return Some(url),
        scheme if scheme == bare && is_loopback(&url) => return Some(url),
        scheme if scheme == bare => cursor.error(format!(
            "is {bare}, which anybody on the way can read and change; write {safe} ({bare} is for 127.0.0.1, ::1 and localhost)"
        )),
        other => cursor.error(format!("is {other}; write {safe}")),
    }
    None
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The keys that sign, and the first shared one as it is written.
fn keys(cursor: &Cursor) -> (Vec<SigningKey>, Option<String>) {
    let mut keys = Vec::new();
    let mut first = None;
    let Some(fields) = cursor.fields(SIGN_KEYS) else { return (keys, first) };
    for (kind, make) in
        [("hmac", SigningKey::hmac as fn(&str) -> Result<SigningKey, String>), ("ed25519", SigningKey::ed25519)]
    {
        let Some(written) = fields.get(kind) else { continue };
        let each = if matches!(written.node.value, Value::List(_)) { written.items() } else { vec![written] };
        for cursor in each {
            let Some(text) = secret(&cursor) else { continue };
            match make(&text) {
                Ok(key) => keys.push(key),
                Err(error) => cursor.error(format!("the secret there {error}")),
            }
            if kind == "hmac" && first.is_none() {
                first = Some(text);
            }
        }
    }
    if keys.is_empty() {
        fields.error(
            "has no key that signs; write `hmac: { file: PATH }`, `ed25519: { file: PATH }`, or leave `sign` out",
        );
    }
    (keys, first)
}

fn headers(cursor: &Cursor) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (key, cursor) in cursor.entries() {
        let Ok(name) = HeaderName::from_bytes(key.text.as_bytes()) else {
            cursor.findings.error(key.at, &cursor.path, format!("{:?} is no name of a header", key.text));
            continue;
        };
        if OWN_HEADERS.contains(&name.as_str()) {
            cursor.findings.error(key.at, &cursor.path, "is a header that the agent writes itself; leave it out");
            continue;
        }
        let text = match &cursor.node.value {
            Value::Map(_) => secret(&cursor),
            _ => cursor.text().map(ToOwned::to_owned),
        };
        let Some(text) = text else { continue };
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            Err(_) => cursor.error("is no value of a header; write one line of plain text"),
        }
    }
    headers
}

pub(super) fn certificates(cursor: &Cursor) -> Option<Vec<u8>> {
    let path = path(cursor)?;
    let wrong = match std::fs::read(&path) {
        Ok(pem) => match reqwest::Certificate::from_pem_bundle(&pem) {
            Ok(found) if !found.is_empty() => return Some(pem),
            _ => "has no certificate; write certificates there in PEM form".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    cursor.error(format!("{}: {wrong}", path.display()));
    None
}

fn proxy(cursor: &Cursor) -> Option<Proxy> {
    match cursor.text()? {
        "none" => Some(Proxy::None),
        "environment" => Some(Proxy::Environment),
        text => match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(Proxy::Through(url)),
            _ => {
                cursor.error(format!(
                    "{text:?} is no proxy; write its URL, as in \"http://proxy.example.org:3128\", `environment`, or `none`"
                ));
                None
            }
        },
    }
}

fn address(cursor: &Cursor) -> Option<Address> {
    let text = cursor.text()?;
    if let Some(path) = text.strip_prefix("unix:")
        && path.starts_with('/')
    {
        return Some(Address::Unix(path.into()));
    }
    let host_and_port = text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
    let found = host_and_port.and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host, port.parse::<u16>().ok()?)).filter(|(host, port)| !host.is_empty() && *port != 0)
    });
    let Some((host, port)) = found else {
        cursor.error(format!("{text:?} is no address; write \"tcp://HOST:PORT\" or \"unix:/PATH\""));
        return None;
    };
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_loopback {
        cursor.warning("sends what jobs do in the clear, to be read and changed on the way; a relay on this machine can encrypt it");
    }
    Some(Address::Tcp(host.to_owned(), port))
}
