//! An HTTP endpoint: one request, signed anew at each attempt, and what its answer means.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, StatusCode};

use super::{Answer, Attempt, Parcel};
use crate::sink::backoff;
use crate::sink::settings::{Proxy, Webhook};
use crate::sink::sign;
use crate::sink::wire::format::{Format, Objection};

/// What is read of an answer.
const MOST_READ: usize = 1 << 20;

/// What is kept of it.
const KEPT: usize = 200;

/// An HTTP endpoint.
pub struct Endpoint {
    client: Client,
    webhook: Webhook,
    format: Format,
}

/// Has TLS done by `ring`; before the first endpoint is made.
pub fn prepare() {
    // An error says that it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Endpoint {
    pub(super) fn new(webhook: &Webhook, format: Format, timeout: Duration) -> Result<Self, String> {
        prepare();
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .timeout(timeout)
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .http1_only()
            .dns_resolver(OwnThread);
        builder = match &webhook.proxy {
            Proxy::None => builder.no_proxy(),
            Proxy::Environment => builder,
            Proxy::Through(url) => {
                let proxy = reqwest::Proxy::all(url.clone()).map_err(|error| in_words(&error))?;
                builder.no_proxy().proxy(proxy)
            }
        };
        if let Some(pem) = &webhook.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| in_words(&error))?;
            builder = builder.tls_certs_only(certificates);
        } else if webhook.url.scheme() == "http" {
            // There may be no certificates on this machine, and none are needed.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| in_words(&error))?;
        Ok(Self { client, webhook: webhook.clone(), format })
    }

    pub(super) fn gzip(&self) -> bool {
        self.webhook.gzip
    }

    pub(super) async fn send(&self, parcel: &Parcel) -> (Attempt, Answer) {
        let mut response = match self.request(parcel).send().await {
            Ok(response) => response,
            Err(error) => return (Attempt::Failed { why: in_words(&error), wait: None }, Answer::default()),
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = retry_after.and_then(|value| backoff::asked(value, SystemTime::now()));
        let mut whole = Vec::new();
        // Read to its end, or the connection is of no more use; what of it can't be read changes nothing.
        while let Ok(Some(chunk)) = response.chunk().await {
            whole.extend(chunk.iter().take(MOST_READ - whole.len()));
            if whole.len() == MOST_READ {
                break;
            }
        }
        let body = whole[..whole.len().min(KEPT)].to_vec();
        let answer = Answer { status: Some(status.as_u16()), body };
        let attempt = match meaning(status, wait, &answer.body) {
            Attempt::Delivered => match self.format.objection(&whole, parcel.items.len()) {
                None => Attempt::Delivered,
                Some(Objection::Now(why)) => Attempt::Failed { why, wait },
                Some(Objection::Ever(why)) => Attempt::Refused { why },
            },
            other => other,
        };
        (attempt, answer)
    }

    fn request(&self, parcel: &Parcel) -> reqwest::RequestBuilder {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        let mut request = self
            .client
            .post(self.webhook.url.clone())
            .header(USER_AGENT, concat!("runner-agent/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, self.format.content_type())
            .header("webhook-id", &parcel.id)
            .header("webhook-timestamp", timestamp);
        if let Some(encoding) = parcel.encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if !self.webhook.keys.is_empty() {
            let signatures = self.webhook.keys.iter().map(|key| key.sign(&parcel.id, timestamp, &parcel.body));
            request = request.header("webhook-signature", signatures.collect::<Vec<_>>().join(" "));
        }
        if let Some(secret) = &self.webhook.hub {
            request = request.header("x-hub-signature-256", sign::hub(secret, &parcel.body));
        }
        request.headers(self.webhook.headers.clone()).body(parcel.body.clone())
    }
}

/// What an answer means for what was sent.
fn meaning(status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Attempt {
    let said = crate::text::printable(&crate::text::from_bytes(body)).to_string();
    let why = if said.trim().is_empty() { format!("{status}") } else { format!("{status}: {}", said.trim()) };
    match status {
        _ if status.is_success() => Attempt::Delivered,
        StatusCode::GONE => Attempt::Gone,
        // These are about what was sent: it would be refused again.
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Attempt::Refused { why },
        _ if status.is_redirection() => Attempt::Failed { why: format!("{status}: redirects are not followed"), wait },
        // And everything else about the receiver, or about the way to it, where somebody may put something right.
        _ => Attempt::Failed { why, wait },
    }
}

/// An error of reqwest's with its causes, without the URL: that may have a token in it.
fn in_words(error: &reqwest::Error) -> String {
    let mut words = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "can't connect".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        words = format!("{words}: {deeper}");
        cause = deeper.source();
    }
    words
}

/// Compressed; the same bytes each time.
pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Asks for names in the thread of the sink, which has nothing else to do: threads that come later are none of those that
/// the agent has put out of the job's reach.
struct OwnThread;

impl reqwest::dns::Resolve for OwnThread {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0))?.collect();
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_means_one_thing() {
        let means = |code: u16| meaning(StatusCode::from_u16(code).unwrap(), None, b"no\x1b[31m");
        assert!([200, 202, 204, 299].into_iter().all(|code| means(code) == Attempt::Delivered));
        assert!([400, 413, 415, 422].into_iter().all(|code| matches!(means(code), Attempt::Refused { .. })));
        let later = [301, 302, 307, 308, 401, 403, 404, 408, 429, 500, 502, 503, 504];
        assert!(later.into_iter().all(|code| matches!(means(code), Attempt::Failed { .. })));
        assert_eq!(means(410), Attempt::Gone);
        let Attempt::Refused { why } = means(400) else { panic!() };
        assert!(why.starts_with("400 Bad Request: no") && !why.contains('\x1b'), "{why}");
    }
}
