//! TLS: the configured authority is believed, another is not, and nothing is sent to who can't prove its name.
//!
//! The key below `tls/` is this test's alone and protects nothing; its authority's own key was thrown away.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use runner_agent::sink::settings::{Settings, Target};
use runner_agent::sink::{Deliveries, SinkLoss};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{about, finding, settings};

pub const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
pub const KEY: &[u8] = include_bytes!("tls/server.key");
pub const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
pub const OTHER: &[u8] = include_bytes!("tls/other-ca.pem");

/// A server of TLS that takes requests as they come, and passes on what it read. Returns its port.
pub fn server() -> (u16, mpsc::Receiver<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, read) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut text = String::new();
            let mut bytes = [0; 4096];
            // Until the end of the one line that is sent, or of a handshake that comes to nothing.
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                if text.ends_with("}\n") {
                    let _ = stream.write_all(b"HTTP/1.1 204 .\r\ncontent-length: 0\r\n\r\n");
                    break;
                }
            }
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (port, read)
}

pub fn with_authority(url: &str, authority: &[u8]) -> Settings {
    let mut settings = settings("soc", url);
    settings.drain = std::time::Duration::from_secs(10);
    let Target::Webhook(webhook) = &mut settings.target else { unreachable!() };
    webhook.ca = Some(authority.to_vec());
    settings
}

#[test]
fn a_server_of_the_configured_authority_gets_the_alert_and_any_other_gets_nothing() {
    let (port, read) = server();
    for (host, authority, is_believed) in [
        ("localhost", AUTHORITY, true),
        ("127.0.0.1", AUTHORITY, true),
        ("localhost", OTHER, false),
        ("[::ffff:127.0.0.1]", AUTHORITY, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let settings = with_authority(&format!("https://{host}:{port}/hook"), authority);
        let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
        let outbox = deliveries.outboxes(&about("job")).unwrap().remove(0);
        outbox.offer(&finding(&"job".into(), 1));
        assert_eq!(outbox.finish(), SinkLoss::none("soc"));
        let left = deliveries.drain(None);
        if is_believed {
            assert_eq!(left, []);
            assert!(read.recv().unwrap().starts_with("POST /hook HTTP/1.1\r\n"));
        } else {
            assert!(left[0].why.contains("certificate"), "{host}: {}", left[0].why);
            assert!(read.try_iter().all(|text| text.is_empty()), "nothing is said to a stranger");
        }
    }
}
