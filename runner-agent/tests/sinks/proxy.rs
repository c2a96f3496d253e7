//! A way out: a proxy that is asked to connect, and sees nothing of what goes through it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use runner_agent::sink::settings::{Proxy, Settings, Target};
use runner_agent::sink::{Deliveries, SinkLoss};

use super::tls::{AUTHORITY, server, with_authority};
use super::{about, finding};

/// A proxy that does as it is asked, or answers with this status. Returns its URL, and what it was asked and what it could read.
fn proxy(refusal: Option<&'static str>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut head = BufReader::new(client.try_clone().unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if head.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                lines.push(line.trim_end().to_owned());
            }
            let Some(request) = lines.first().cloned() else { continue };
            if sender.send(request.clone()).is_err() {
                return;
            }
            if let Some(status) = refusal {
                let _ = (&client).write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes());
                continue;
            }
            let to = request.split(' ').nth(1).and_then(|target| target.rsplit_once(':')).map(|(_, port)| port);
            let port: u16 = to.unwrap().parse().unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (url, asked)
}

fn through(proxy: &str, port: u16) -> Settings {
    let mut settings = with_authority(&format!("https://localhost:{port}/hook"), AUTHORITY);
    let Target::Webhook(webhook) = &mut settings.target else { unreachable!() };
    webhook.proxy = Proxy::Through(proxy.parse().unwrap());
    settings
}

/// Hands one finding over; returns why it was not delivered.
fn deliver(settings: Settings) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let deliveries = Deliveries::start(&[settings], folder.path()).unwrap();
    let outbox = deliveries.outboxes(&about("job")).unwrap().remove(0);
    outbox.offer(&finding(&"job".into(), 1));
    assert_eq!(outbox.finish(), SinkLoss::none("soc"));
    deliveries.drain(None).pop().map(|left| left.why)
}

#[test]
fn an_alert_goes_through_the_proxy_that_is_named_and_waits_when_it_refuses() {
    let (port, read) = server();
    let (url, asked) = proxy(None);
    assert_eq!(deliver(through(&url, port)), None);
    assert_eq!(asked.recv().unwrap(), format!("CONNECT localhost:{port} HTTP/1.1"));
    assert!(read.recv().unwrap().starts_with("POST /hook HTTP/1.1\r\n"));
    let (url, asked) = proxy(Some("403 Forbidden"));
    let why = deliver(through(&url, port)).expect("it was not delivered");
    assert!(why.starts_with("can't connect"), "{why}");
    assert_eq!(asked.recv().unwrap(), format!("CONNECT localhost:{port} HTTP/1.1"));
    assert!(read.try_iter().all(|text| text.is_empty()), "there is no way around it");
}

/// `sink test` with a configuration of one webhook, and these variables alone. Returns its exit code and what it said.
fn tried(folder: &Path, sink: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let config = folder.join("config.yml");
    std::fs::write(&config, format!("version: 1\nsinks:\n  - {{ name: soc, type: webhook, {sink} }}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner-agent"));
    command.args(["sink", "test", "soc", "--config"]).arg(&config).env_clear().envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

#[test]
fn what_the_environment_says_of_proxies_holds_where_the_configuration_says_so() {
    let (port, read) = server();
    let (url, asked) = proxy(None);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, AUTHORITY).unwrap();
    let sink = format!("url: \"https://localhost:{port}/hook\", ca: {}", authority.display());
    let (code, said) = tried(folder.path(), &sink, &[("HTTPS_PROXY", &url)]);
    assert_eq!(code, Some(0), "{said}");
    assert!(asked.try_recv().is_err(), "nobody asked for a proxy");
    let (code, said) = tried(folder.path(), &format!("{sink}, proxy: environment"), &[("HTTPS_PROXY", &url)]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(asked.recv().unwrap(), format!("CONNECT localhost:{port} HTTP/1.1"));
    for _ in 0..2 {
        assert!(read.recv().unwrap().starts_with("POST /hook"));
    }
}

#[test]
fn a_credential_of_systemds_signs_and_one_that_is_not_there_is_told() {
    let (receiver, kept) = end_to_end::Receiver::keeping();
    let folder = tempfile::tempdir().unwrap();
    // As systemd has it for a service with `LoadCredential=soc-key:…`: a folder that the variable names, a file for each.
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("soc-key"), format!("whsec_{}\n", super::SECRET)).unwrap();
    let variables = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let sink = |name: &str| format!("url: \"{}\", sign: {{ hmac: {{ credential: {name} }} }}", receiver.url());
    let (code, said) = tried(folder.path(), &sink("soc-key"), &variables);
    assert_eq!(code, Some(0), "{said}");
    assert!(kept.lock().unwrap().iter().all(super::is_signed) && receiver.count() == 1);
    for (name, variables, wanted) in [
        ("other-key", &variables[..], "other-key: No such file"),
        ("../soc-key", &variables[..], "is no name of a credential"),
        ("soc-key", &[][..], "CREDENTIALS_DIRECTORY is not set"),
    ] {
        let (code, said) = tried(folder.path(), &sink(name), variables);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert_eq!(receiver.count(), 1, "nothing was sent unsigned");
}
