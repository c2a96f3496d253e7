use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::config::check::walk::Findings;
use crate::config::raw;
use crate::sink::settings::{Address, Proxy, Target};

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
        "sinks[0].type: \"webhok\" is no type of sink; write one of webhook, syslog, file",
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
