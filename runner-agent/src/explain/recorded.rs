//! What a log says was decided, beside what a policy says now.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::egress::{self, Attempt};
use super::file::{self, Opened};
use super::log::{Answer, Found};
use super::{Asked, Decision, Explanation, Report, SCHEMA, ask};
use crate::config::{Runtime, load};
use crate::detect::socket_name;
use crate::policy::{Mode, Policy, Protocol};
use crate::sink::wire::read::Entry;
use crate::text::base_name;

/// The detector of what no rule about addresses can judge.
const RAW_SOCKET: &str = "raw-socket";
/// The finding that asks whether a rule may carry secrets.
const EXFILTRATION: &str = "secret-exfiltration";

/// Explains what was found in a log by the policy given, or else by the one that its job had.
pub fn explain(found: &Found, given: Option<Policy>, mode: Option<Mode>, runtime: &Runtime) -> Report {
    let mut notes = Vec::new();
    let (mut policy, of_the_job) = match given {
        Some(policy) => {
            let is_same = found.job.as_ref().is_some_and(|job| job.text("policy_sha256") == policy.origin.sha256);
            (Some(policy), is_same)
        }
        None => match of_job(found.job.as_ref(), runtime) {
            Ok(policy) => (Some(policy), true),
            Err(why) => {
                notes.push(format!(
                    "{why}; what the log recorded is all that can be said: give the policy with --policy"
                ));
                (None, false)
            }
        },
    };
    if let Some(policy) = &mut policy {
        let recorded = found.job.as_ref().and_then(|job| job.text("mode").parse().ok()).filter(|_| of_the_job);
        policy.mode = mode.or(recorded).unwrap_or(policy.mode);
        // The runner's resolvers, not those of the machine that reads the log.
        policy.egress.resolvers = found.resolvers.iter().copied().collect();
        let is_resolver = |entry: &&Entry| entry.text("rule") == crate::policy::egress::RESOLVER_RULE;
        let to_resolver = found.judged.iter().filter(is_resolver).filter_map(address);
        policy.egress.resolvers.extend(to_resolver);
        if policy.egress.allow.iter().any(|rule| rule.source.is_some()) {
            notes.push(
                "hosts of `ecosystem` rules are those that this machine is configured with; the job's runner may have had \
                 others"
                    .to_owned(),
            );
        }
    }
    if found.flaws > 0 {
        notes.push(format!(
            "{} lines of the log can't be read or break its chain, so what it says may have been changed; `runner-agent \
             events` tells which",
            found.flaws
        ));
    }
    let carries = found.entry.text("id") == EXFILTRATION;
    let explanations = found.judged.iter().map(|entry| {
        let told = line(entry, found, policy.as_ref(), carries);
        let verdict = entry.text("verdict");
        let recorded = (!verdict.is_empty()).then(|| Decision {
            verdict: verdict.to_owned(),
            rule: match entry.text("rule") {
                "" if entry.kind() == "file" => entry.text("class").to_owned(),
                "" => "default".to_owned(),
                rule => rule.to_owned(),
            },
        });
        let mut told = Explanation { seq: Some(entry.seq()), recorded, ..told };
        if of_the_job && told.recorded.is_some() && told.now.is_some() && told.recorded != told.now {
            told.notes.push(
                "the job had this policy and decided otherwise: on another machine, or in another mode".to_owned(),
            );
        }
        told
    });
    Report {
        schema: SCHEMA,
        explanations: explanations.collect(),
        policy: policy.as_ref().map(|policy| Asked::new(policy, of_the_job)),
        notes,
    }
}

/// The policy of a job, if its files are still what they were; else why not.
fn of_job(job: Option<&Entry>, runtime: &Runtime) -> Result<Policy, String> {
    let job = job.ok_or("the log has no line that says which policy the job had")?;
    let named: Vec<&str> = job.texts("policy_files").collect();
    let files: Vec<PathBuf> = named.iter().filter(|name| !name.starts_with("presets/")).map(PathBuf::from).collect();
    if files.is_empty() && named.first() != Some(&"presets/default") {
        return Err("the log does not say which files the job's policy was read from".to_owned());
    }
    if let Some(gone) = files.iter().find(|file| !file.is_file()) {
        return Err(format!("{}, which the job's policy was read from, is not here", gone.display()));
    }
    let runtime = runtime.including(runtime.policy_dir.as_deref(), &files);
    let (policy, _) = load(&files, &runtime).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("the files of the job's policy are no policy any more ({first})")
    })?;
    let recorded = job.text("policy_sha256");
    if policy.origin.sha256 != recorded {
        let start = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
        return Err(format!(
            "the files of the job's policy have changed since (sha256 {}… then, {}… now)",
            start(recorded),
            start(&policy.origin.sha256)
        ));
    }
    Ok(policy)
}

fn line(entry: &Entry, found: &Found, policy: Option<&Policy>, carries: bool) -> Explanation {
    match entry.kind() {
        "connect" => connect(entry, found, policy, carries),
        "dns" => {
            let name = entry.text("name").to_owned();
            let told = policy.map(|policy| egress::dns(policy, &name)).unwrap_or_default();
            let subject = format!("{} {name}, of {}", entry.text("query_type"), entry.text("server"));
            Explanation { kind: "dns", subject, ..told }
        }
        "file" => opened(entry, policy),
        _ => socket(entry),
    }
}

fn address(entry: &Entry) -> Option<IpAddr> {
    entry.text("destination.ip").parse().ok()
}

fn connect(entry: &Entry, found: &Found, policy: Option<&Policy>, carries: bool) -> Explanation {
    let names: Vec<Arc<str>> = entry.texts("destination.names").map(Into::into).collect();
    let port = entry.number("destination.port").unwrap_or(0) as u16;
    let protocol = ask::protocol(entry.text("destination.protocol")).unwrap_or(Protocol::Tcp);
    let exe = entry.text("process.exe");
    let Some(address) = address(entry) else {
        return Explanation {
            kind: "connect",
            subject: who(entry),
            why: "the line has no address that can be read".to_owned(),
            ..Explanation::default()
        };
    };
    let attempt = Attempt {
        address: Some(address),
        port,
        protocol,
        exe: (!exe.is_empty()).then(|| exe.to_owned()),
        carries,
        not_counted: not_counted(entry, address, &names, &found.answers),
        names,
    };
    let subject = format!("{} → {}", who(entry), place(&attempt));
    let told = policy.map(|policy| egress::connect(policy, &attempt));
    // Without a policy the line can be told all the same, unless a deny rule stands against it.
    let told = told.unwrap_or_else(|| {
        let is_denied = entry.text("rule").contains("/egress.deny[") || entry.text("verdict") == "allowed";
        let allow = egress::connect(&Policy::default(), &attempt).allow.filter(|_| !is_denied);
        Explanation { kind: "connect", allow, ..Explanation::default() }
    });
    Explanation { subject, ..told }
}

/// `name:port at address (protocol)`.
pub fn place(attempt: &Attempt) -> String {
    let port = if attempt.port == 0 { String::new() } else { format!(":{}", attempt.port) };
    let bracketed = |address: IpAddr| match address {
        IpAddr::V6(address) if attempt.port != 0 => format!("[{address}]"),
        address => address.to_string(),
    };
    let class = attempt.address.map(|address| crate::policy::egress::classify_endpoint(address, attempt.port));
    let class = class.map(|class| format!(", {class}")).unwrap_or_default();
    let host = match (attempt.names.first(), attempt.address) {
        (Some(name), Some(address)) => format!("{name}{port} at {address}"),
        (Some(name), None) => format!("{name}{port}"),
        (None, Some(address)) => format!("{}{port}", bracketed(address)),
        (None, None) => "nowhere".to_owned(),
    };
    format!("{host} ({}{class})", attempt.protocol)
}

/// Names that the log has for an address, none of which the job's policy looked at.
fn not_counted(entry: &Entry, address: IpAddr, names: &[Arc<str>], answers: &[Answer]) -> Vec<(Arc<str>, String)> {
    let mut found: Vec<(Arc<str>, String)> = Vec::new();
    let mut add = |name: &str, why: String| {
        if !names.iter().any(|known| &**known == name) && !found.iter().any(|(known, _)| &**known == name) {
            found.push((name.into(), why));
        }
    };
    // The latest answer is the one that the job went by.
    for answer in answers.iter().rev().filter(|answer| answer.addresses.contains(&address)) {
        let why = if answer.trusted {
            format!("the answer at #{} held no longer", answer.seq)
        } else {
            format!("the answer at #{} came from {}, no resolver of the runner's", answer.seq, answer.server)
        };
        add(&answer.name, why);
    }
    for name in entry.texts("destination.claimed_names") {
        add(name, "no resolver of the runner's said so".to_owned());
    }
    found
}

fn opened(entry: &Entry, policy: Option<&Policy>) -> Explanation {
    let path = entry.text("path");
    let paths = [path, entry.text("known_as")].into_iter().filter(|path| !path.is_empty()).map(str::to_owned);
    let opened = Opened {
        paths: paths.collect(),
        exe: entry.text("process.exe").to_owned(),
        argv: entry.texts("process.argv").map(str::to_owned).collect(),
        pid: entry.number("process.pid").unwrap_or(0) as u32,
    };
    let mut told = policy.map(|policy| file::file(policy, &opened)).unwrap_or_default();
    if entry.get("process.argv_whole").is_some() {
        told.notes
            .push("the log has the first arguments alone; with all of them the program may be an owner".to_owned());
    }
    Explanation { kind: "file", subject: format!("{} opened {path} ({})", who(entry), entry.text("access")), ..told }
}

fn socket(entry: &Entry) -> Explanation {
    let number = |path| entry.number(path).unwrap_or(0) as u32;
    let name = socket_name(number("family"), number("socket_type"), number("protocol"));
    Explanation {
        kind: "socket",
        subject: format!("{}, a {name} socket", who(entry)),
        why: "rules are about addresses, and such a socket goes past them: no rule covers it, and none could"
            .to_owned(),
        notes: vec![format!(
            "what tells of it is the detector {RAW_SOCKET}; `detect: {{ disable: [{RAW_SOCKET}] }}` silences it for the whole job"
        )],
        ..Explanation::default()
    }
}

fn who(entry: &Entry) -> String {
    let name = match base_name(entry.text("process.exe")) {
        "" => "a process",
        name => name,
    };
    match entry.number("process.pid") {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::DETECTORS;
    use crate::sink::wire::read::LogReader;

    fn entry(line: &str) -> Entry {
        LogReader::default().take(line.as_bytes()).entry.unwrap()
    }

    #[test]
    fn the_detectors_that_are_named_exist() {
        assert!(DETECTORS.contains(&RAW_SOCKET) && DETECTORS.contains(&EXFILTRATION));
    }

    #[test]
    fn a_socket_has_no_rule_and_says_what_tells_of_it() {
        let line = r#"{"kind":"socket","seq":4,"process":{"exe":"/usr/bin/ping","pid":7},"family":2,"socket_type":3,"protocol":1}"#;
        let told = socket(&entry(line));
        assert_eq!(told.subject, "ping (pid 7), a raw IP (protocol 1) socket");
        assert!(told.now.is_none() && told.allow.is_none() && told.notes[0].contains("disable: [raw-socket]"));
    }

    #[test]
    fn an_answer_that_held_no_longer_is_told_from_one_that_never_counted_and_the_latest_is_told() {
        let line = r#"{"kind":"connect","destination":{"claimed_names":["said.example"],"names":["held.example"]}}"#;
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        let answer = |seq, name: &str, trusted| Answer {
            seq,
            server: "192.0.2.53".to_owned(),
            name: name.to_owned(),
            addresses: vec![address],
            trusted,
        };
        let answers = [
            answer(1, "old.example", false),
            answer(2, "held.example", true),
            answer(3, "old.example", true),
            answer(4, "said.example", false),
        ];
        let told = not_counted(&entry(line), address, &["held.example".into()], &answers);
        let told: Vec<(&str, &str)> = told.iter().map(|(name, why)| (&**name, why.as_str())).collect();
        assert_eq!(
            told,
            [
                ("said.example", "the answer at #4 came from 192.0.2.53, no resolver of the runner's"),
                ("old.example", "the answer at #3 held no longer"),
            ]
        );
    }

    #[test]
    fn places_are_written_as_people_write_them() {
        let attempt = |address: Option<&str>, port, names: &[&str]| Attempt {
            address: address.map(|text| text.parse().unwrap()),
            port,
            protocol: Protocol::Tcp,
            names: names.iter().map(|&name| name.into()).collect(),
            exe: None,
            carries: false,
            not_counted: Vec::new(),
        };
        assert_eq!(place(&attempt(Some("::1"), 443, &[])), "[::1]:443 (tcp, loopback)");
        assert_eq!(place(&attempt(None, 80, &["a.example"])), "a.example:80 (tcp)");
        assert_eq!(place(&attempt(Some("10.0.0.5"), 0, &["a.example"])), "a.example at 10.0.0.5 (tcp, private)");
    }
}
