use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::config::check::walk::Findings;
use crate::config::raw;
use crate::sink::settings::{Address, Login, Proxy, Secret, Target};

fn read(text: &str) -> (Vec<Settings>, Vec<String>) {
    let tree = raw::parse(text.as_bytes()).unwrap();
    let findings = Findings::new(Path::new("c.yml"));
    let read = sinks(&Cursor { node: &tree, path: "sinks".to_owned(), findings: &findings });
    (read, findings.into_problems().iter().map(ToString::to_string).collect())
}

fn secret(folder: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";

#[test]
fn every_key_is_read_and_what_is_left_out_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let key = secret(folder.path(), "key", SHARED, 0o600);
    let token = secret(folder.path(), "token", "Splunk abc\n", 0o400);
    let (read, problems) = read(&format!(
        "- name: soc\n  type: webhook\n  url: https://siem.example.org/in\n  format: native\n  only: all\n  \
         sign: {{ hmac: [{{ file: {key} }}, {{ file: {key} }}] }}\n  hub-signature: true\n  \
         headers: {{ Authorization: {{ file: {token} }}, X-Team: ci }}\n  proxy: http://proxy.example.org:3128\n  \
         timeout: 500ms\n  batch: {{ bytes: 64KiB, wait: 2s }}\n  compress: gzip\n  spool: {{ bytes: 1GiB, age: 1d }}\n  \
         drain: 1m\n- {{ name: near, type: webhook, url: 'http://[::1]:9/' }}\n\
         - {{ name: sys, type: syslog, address: 'unix:/dev/log' }}\n\
         - {{ name: old, type: syslog, format: cef, address: 'tcp://127.0.0.1:601', required: true }}\n\
         - {{ name: out, type: file, path: /tmp/out.ndjson }}\n"
    ));
    assert_eq!(problems, Vec::<String>::new());
    let [soc, near, sys, old, out] = &read[..] else { panic!("{read:?}") };
    let Target::Webhook(webhook) = &soc.target else { panic!() };
    assert_eq!(
        (webhook.keys.len(), webhook.gzip, webhook.headers["authorization"].to_str().unwrap()),
        (2, true, "Splunk abc")
    );
    assert_eq!(webhook.hub.as_ref().unwrap().bytes(), SHARED.trim().as_bytes());
    assert!(matches!(webhook.proxy, Proxy::Through(_)));
    assert_eq!((soc.only, soc.timeout.as_millis(), soc.drain.as_secs()), (Only::All, 500, 60));
    assert_eq!((soc.batch.bytes, soc.batch.wait.as_secs()), (64 << 10, 2));
    assert_eq!((soc.bounds.bytes, soc.bounds.age.as_secs()), (1 << 30, 86_400));
    assert!(!format!("{soc:?}").contains("abc"), "secrets are not shown");
    assert_eq!((near.only, near.batch, near.bounds, near.drain), (Only::Findings, BATCH, BOUNDS, DRAIN));
    assert_eq!(sys.target, Target::Syslog(Address::Unix("/dev/log".into())));
    assert_eq!(old.target, Target::Syslog(Address::Tcp("127.0.0.1".into(), 601)));
    assert_eq!((sys.format, old.format, sys.required, old.required), (Format::Syslog, Format::Cef, false, true));
    assert_eq!(out.target, Target::File("/tmp/out.ndjson".into()));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let open = secret(folder.path(), "open", SHARED, 0o644);
    let short = secret(folder.path(), "short", "whsec_c2hvcnQ=", 0o600);
    let empty = secret(folder.path(), "empty", "\n", 0o600);
    let (read, problems) = read(&format!(
        "- name: Soc\n  type: webhok\n- name: a\n  type: webhook\n  url: http://siem.example.org/\n  \
         sign: {{ hmac: [{{ file: {open} }}, {{ file: {short} }}, {{ file: {empty} }}, {{ file: rel }}, {{ credential: no }}, {{}}] }}\n  \
         timeout: 5\n  batch: {{ bytes: 1GB }}\n  compress: zip\n  headers: {{ Host: me, 'a b': c }}\n  proxy: ftp\n  ca: {short}\n  \
         path: /x\n- {{ name: b, type: webhook, url: https://me@siem.example.org/, hub-signature: true }}\n\
         - {{ name: log, type: file, path: x }}\n- {{ name: c, type: syslog, format: ocsf, address: 'udp://127.0.0.1:514' }}\n\
         - {{ name: d, type: file, path: /d }}\n- {{ name: d, type: file, path: /d }}\n"
    ));
    assert_eq!(read.iter().map(|sink| sink.name).collect::<Vec<_>>(), ["d"]);
    for part in [
        "c.yml:1:9: sinks[0].name: \"Soc\" is no name for a sink",
        "sinks[0].type: \"webhok\" is no type of sink; write one of webhook, syslog, file, nats",
        "sinks[1].url: is http, which anybody on the way can read",
        "(mode 0644); it must be 0600: chmod 600",
        "sinks[1].sign.hmac[1]: the secret there is no `whsec_`",
        "empty: is empty",
        "\"rel\" is no absolute path",
        "CREDENTIALS_DIRECTORY is not set",
        "says not where the secret is",
        "sinks[1].sign: has no key that signs",
        "\"5\" is no length of time from 100ms to 1m",
        "\"1GB\" is no size from 1KiB to 16MiB",
        "\"zip\" is not one of gzip, none",
        "is a header that the agent writes itself",
        "\"a b\" is no name of a header",
        "\"ftp\" is no proxy",
        "has no certificate",
        "sinks[1].path: is no known key",
        "has a user or a password",
        "is signed with the first key of `sign.hmac`",
        "\"log\" is the name of a part of the agent",
        "\"x\" is no absolute path",
        "\"udp://127.0.0.1:514\" is no address",
        "ocsf is no form for a syslog server; write syslog or cef",
        "is a second sink named \"d\"",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 25, "{problems:#?}");
}

/// What is told of sinks of a stream, besides that this binary has none where that is so.
fn told_of_streams(text: &str) -> (Vec<Settings>, Vec<String>) {
    let (read, mut problems) = read(text);
    let all = problems.len();
    problems.retain(|problem| !problem.contains("\"nats\" is not in this binary"));
    assert_eq!(all > problems.len(), !cfg!(feature = "nats"), "said where it is so, and nowhere else");
    (read, problems)
}

#[test]
fn a_stream_has_servers_a_subject_and_who_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let word = secret(folder.path(), "word", "s3cret-word\n", 0o600);
    let seed = secret(folder.path(), "seed", "SUAPABTZHLVFLDS7EWJORNUEA6CEIVCHX2NSYOVGLLFKTTOTZLGLA4KHUY\n", 0o600);
    let (read, problems) = told_of_streams(&format!(
        "- name: bus\n  type: nats\n  url: [tls://a.example.org:4222, tls://b.example.org]\n  subject: 'ci.acme.{{host}}.{{kind}}'\n  \
         login: {{ user: job, password: {{ file: {word} }} }}\n  inbox: _INBOX.job\n  format: ocsf\n  only: all\n\
         - {{ name: near, type: nats, url: 'nats://127.0.0.1:4222' }}\n\
         - {{ name: keyed, type: nats, url: 'nats://[::1]', login: {{ nkey: {{ file: {seed} }} }} }}\n\
         - {{ name: token, type: nats, url: 'nats://localhost', login: {{ token: {{ file: {word} }} }} }}\n"
    ));
    assert_eq!(problems, Vec::<String>::new());
    if !cfg!(feature = "nats") {
        assert_eq!(read, []);
        return;
    }
    let streams: Vec<_> = read
        .iter()
        .map(|sink| {
            let Target::Nats(nats) = &sink.target else { panic!("{sink:?}") };
            nats
        })
        .collect();
    let [bus, near, keyed, token] = &streams[..] else { panic!("{read:?}") };
    assert_eq!((bus.servers.len(), bus.subject.to_string().as_str()), (2, "ci.acme.{host}.{kind}"));
    assert_eq!(bus.login, Login::Password("job".to_owned(), Secret::new(b"s3cret-word")));
    assert_eq!(bus.inbox.as_deref(), Some("_INBOX.job"));
    assert_eq!((near.subject.to_string().as_str(), &near.login), ("ci.{job}.{kind}", &Login::None));
    assert!(matches!(keyed.login, Login::Nkey(_)) && matches!(token.login, Login::Token(_)));
    assert!(!format!("{read:?}").contains("s3cret"), "secrets are not shown");
    assert_eq!(read[0].target.to_string(), "tls://a.example.org:4222,tls://b.example.org ci.acme.{host}.{kind}");
}

#[test]
fn what_is_wrong_with_a_stream_is_said_at_once_and_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let word = secret(folder.path(), "word", "word\n", 0o600);
    let (read, problems) = told_of_streams(&format!(
        "- {{ name: a, type: nats, url: 'nats://nats.example.org', subject: 'ci.>', login: {{ nkey: {{ file: {word} }} }}, inbox: 'a.*' }}\n\
         - {{ name: b, type: nats, url: ['tls://me:x@nats.example.org', 'http://127.0.0.1', '127.0.0.1:4222'], login: {{ user: me }} }}\n\
         - {{ name: c, type: nats, format: elastic-bulk, login: {{ credentials: {{ file: {word} }} }}, sign: {{}} }}\n\
         - {{ name: d, type: nats, url: 'tls://nats.example.org/x', login: {{ token: {{ file: {word} }}, user: me }} }}\n"
    ));
    assert_eq!(read, []);
    for part in [
        "sinks[0].url: is nats, which anybody on the way can read",
        "sinks[0].subject: \"ci.>\" is no subject",
        "is no seed of a user's nkey",
        "\"a.*\" is no prefix of an inbox",
        "has a user or a password; write it as `login:",
        "is http; write tls",
        "\"127.0.0.1:4222\" is no server",
        "sinks[1].login: says not who it is",
        "sinks[2]: has no `url`",
        "elastic-bulk is no form for messages; write one of native, ocsf, otlp, syslog, cef, cloudevents",
        "has no JWT of a user with its seed",
        "sinks[2].sign: is no known key",
        "\"tls://nats.example.org/x\" is no server",
        "sinks[3].login: says not who it is",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 14, "{problems:#?}");
}
