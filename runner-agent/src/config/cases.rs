//! Cases of a policy: what it must say about certain destinations and readers, run by `policy check`.
//!
//! A cases file brings its own runner (which hosts an ecosystem names, which resolvers), so that it says the same on
//! every machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use super::check::{Cursor, Findings};
use super::ecosystem::{ConfiguredHost, Ecosystem, Resolved, Surroundings, parse_url};
use super::problem::Problem;
use super::raw;
use crate::policy::egress::{Destination, Protocol, Verdict};
use crate::policy::secret::{Place, Reader};
use crate::policy::{Policy, words};

/// What a cases file holds.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    /// The runner that the cases are about.
    pub runner: MadeUp,
    egress: Vec<EgressCase>,
    secrets: Vec<SecretCase>,
}

/// A runner that is made up for the cases.
#[derive(Clone, Debug, Default)]
pub struct MadeUp {
    /// What each configuration names.
    pub hosts: BTreeMap<Ecosystem, Vec<ConfiguredHost>>,
    /// HTTP proxies of its environment.
    pub proxies: Vec<ConfiguredHost>,
    /// Its resolvers.
    pub resolvers: Vec<IpAddr>,
    /// Its home directories and workspaces.
    pub place: Place,
    /// Where includes other than `presets/…` lie; not from the file.
    pub policy_dir: Option<PathBuf>,
}

impl Surroundings for MadeUp {
    fn hosts(&self, ecosystem: Ecosystem) -> Resolved {
        Resolved { hosts: self.hosts.get(&ecosystem).cloned().unwrap_or_default(), warnings: Vec::new() }
    }

    fn proxies(&self) -> Resolved {
        Resolved { hosts: self.proxies.clone(), warnings: Vec::new() }
    }

    fn resolvers(&self) -> Vec<IpAddr> {
        self.resolvers.clone()
    }

    fn place(&self) -> Place {
        self.place.clone()
    }

    fn policy_dir(&self) -> Option<&Path> {
        self.policy_dir.as_deref()
    }
}

#[derive(Clone, Debug)]
struct EgressCase {
    path: String,
    address: IpAddr,
    port: u16,
    protocol: Protocol,
    names: Vec<Arc<str>>,
    exe: Option<String>,
    verdict: Verdict,
    rule: String,
    may_carry_secrets: Option<bool>,
}

#[derive(Clone, Debug)]
struct SecretCase {
    path: String,
    file: String,
    exe: String,
    argv: Vec<String>,
    pid: u32,
    expect: Standing,
    class: Option<String>,
}

/// How a reader stands to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may read it.
    Owner,
    /// It is secret and somebody else's.
    Other,
    /// It is no secret.
    Ordinary,
}

words!(Standing, "owner, other, ordinary (no secret at all)", {
    Standing::Owner => "owner",
    Standing::Other => "other",
    Standing::Ordinary => "ordinary",
});

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// Its key in the file: `egress[3]`.
    pub case: String,
    /// What the file wants.
    pub expected: String,
    /// What the policy says.
    pub found: String,
    /// Whether they are the same.
    pub passed: bool,
}

/// Reads a cases file; every problem is told at once.
pub fn read(file: &Path, bytes: &[u8]) -> Result<Cases, Vec<Problem>> {
    let tree = raw::parse(bytes).map_err(|error| vec![Problem::error(file, error.at, "", error.message)])?;
    let findings = Findings::new(file);
    let mut cases = Cases::default();
    let root = Cursor { node: &tree, path: String::new(), findings: &findings };
    if let Some(fields) = root.fields(&["version", "runner", "egress", "secrets"]) {
        if let Some(version) = fields.need("version", "start the file with `version: 1`") {
            version.number(1, 1);
        }
        if let Some(runner) = fields.get("runner") {
            cases.runner = made_up(&runner);
        }
        let list = |key: &str| fields.get(key).map(|list| list.items()).unwrap_or_default();
        cases.egress = list("egress").iter().filter_map(egress_case).collect();
        cases.secrets = list("secrets").iter().filter_map(secret_case).collect();
    }
    let problems = findings.into_problems();
    if problems.is_empty() { Ok(cases) } else { Err(problems) }
}

fn texts(cursor: Option<Cursor>) -> Vec<String> {
    let items = cursor.map(|list| list.one_or_more()).unwrap_or_default();
    items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
}

fn parsed<T: FromStr>(cursor: &Cursor, wanted: &str) -> Option<T> {
    let text = cursor.text()?;
    let value = text.parse().ok();
    if value.is_none() {
        cursor.error(format!("is {text:?}; write {wanted}"));
    }
    value
}

fn made_up(cursor: &Cursor) -> MadeUp {
    let mut runner = MadeUp::default();
    let Some(fields) = cursor.fields(&["hosts", "proxies", "resolvers", "homes", "workspaces"]) else {
        return runner;
    };
    let hosts = |list: &Cursor, source: &str| -> Vec<ConfiguredHost> {
        let host = |item: &Cursor| {
            let Some((host, port)) = parse_url(item.text()?) else {
                item.error("is no address; write a URL such as https://registry.example.test/");
                return None;
            };
            Some(ConfiguredHost { host, port, source: source.to_owned() })
        };
        list.one_or_more().iter().filter_map(host).collect()
    };
    for (key, list) in fields.get("hosts").map(|map| map.entries()).unwrap_or_default() {
        match key.text.parse::<Ecosystem>() {
            Ok(ecosystem) => drop(runner.hosts.insert(ecosystem, hosts(&list, "cases"))),
            Err(error) => list.findings.error(key.at, &list.path, error.to_string()),
        }
    }
    runner.proxies = fields.get("proxies").map(|list| hosts(&list, "HTTPS_PROXY")).unwrap_or_default();
    let resolvers = fields.get("resolvers").map(|list| list.one_or_more()).unwrap_or_default();
    runner.resolvers = resolvers.iter().filter_map(|item| parsed(item, "an address")).collect();
    runner.place = Place { homes: texts(fields.get("homes")), workspaces: texts(fields.get("workspaces")) };
    runner
}

fn egress_case(cursor: &Cursor) -> Option<EgressCase> {
    let keys = ["address", "port", "protocol", "names", "exe", "verdict", "rule", "may-carry-secrets", "why"];
    let fields = cursor.fields(&keys)?;
    let protocol = match fields.get("protocol") {
        None => Protocol::Tcp,
        Some(word) => match word.text()? {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => Protocol::Other(word.number(0, 255)? as u8),
        },
    };
    Some(EgressCase {
        path: cursor.path.clone(),
        address: parsed(&fields.need("address", "add the address that the job connects to")?, "an address")?,
        port: fields.need("port", "add the port, 0 for protocols without")?.number(0, 65535)? as u16,
        protocol,
        names: texts(fields.get("names")).into_iter().map(Into::into).collect(),
        exe: fields.get("exe").and_then(|exe| exe.text().map(str::to_owned)),
        verdict: fields.need("verdict", "add what the policy must say")?.word()?,
        rule: fields.need("rule", "add the rule that must be named, or `default`")?.text()?.to_owned(),
        may_carry_secrets: fields.get("may-carry-secrets").and_then(|truth| truth.truth()),
    })
}

fn secret_case(cursor: &Cursor) -> Option<SecretCase> {
    let fields = cursor.fields(&["path", "exe", "argv", "pid", "expect", "class", "why"])?;
    Some(SecretCase {
        path: cursor.path.clone(),
        file: fields.need("path", "add the file that is opened")?.text()?.to_owned(),
        exe: fields.get("exe").and_then(|exe| exe.text()).unwrap_or("/usr/bin/cat").to_owned(),
        argv: texts(fields.get("argv")),
        pid: fields.get("pid").and_then(|pid| pid.number(1, u32::MAX)).unwrap_or(1000),
        expect: fields.need("expect", "add `owner`, `other` or `ordinary`")?.word()?,
        class: fields.get("class").and_then(|class| class.text().map(str::to_owned)),
    })
}

/// Asks the policy about every case.
pub fn run(policy: &Policy, cases: &Cases) -> Vec<CaseResult> {
    let egress = cases.egress.iter().map(|case| {
        let EgressCase { address, port, protocol, .. } = *case;
        let destination = Destination { address, port, protocol, names: &case.names, exe: case.exe.as_deref() };
        let ruling = policy.egress.judge(policy.mode, &destination);
        let rule = ruling.rule.as_deref().unwrap_or("default");
        let carries = |may: bool| {
            if may { ", may carry secrets" } else { ", may not carry secrets" }
        };
        let (mut expected, mut found) =
            (format!("{} by {}", case.verdict, case.rule), format!("{} by {rule}", ruling.verdict));
        if let Some(may) = case.may_carry_secrets {
            expected.push_str(carries(may));
            found.push_str(carries(ruling.may_carry_secrets));
        }
        CaseResult { case: case.path.clone(), passed: expected == found, expected, found }
    });
    let secrets = cases.secrets.iter().map(|case| {
        let class = policy.secrets.classify(&case.file);
        let reader = Reader { exe: &case.exe, argv: &case.argv, pid: case.pid, path: &case.file };
        let standing = match class {
            None => Standing::Ordinary,
            Some(class) if class.may_read(&reader) => Standing::Owner,
            Some(_) => Standing::Other,
        };
        let (mut expected, mut found) = (case.expect.to_string(), standing.to_string());
        if let Some(wanted) = &case.class {
            expected = format!("{expected} of {wanted}");
            found = format!("{found} of {}", class.map_or("nothing", |class| &*class.id));
        }
        CaseResult { case: case.path.clone(), passed: expected == found, expected, found }
    });
    egress.chain(secrets).collect()
}
