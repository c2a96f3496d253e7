//! The JSON Schema of a policy file, from one set of documented structs; one file because they are one schema.
//!
//! The structs describe and are never deserialized into: `check` says more, and all at once. Keys must agree, see the
//! tests of `config`.
#![allow(dead_code, reason = "read by the derive alone")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// A policy: where a job may connect, which files are secret and whose, and how findings are graded.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, title = "runner-agent policy")]
struct PolicyFile {
    /// Version of this format.
    #[schemars(range(min = 1, max = 1))]
    version: u32,
    /// Name of the policy; rule ids start with it.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"))]
    name: String,
    /// What happens to what no rule allows. Default: `audit`.
    #[schemars(default)]
    mode: Option<Mode>,
    /// The jobs this policy is for; all conditions that are set must hold.
    applies_to: Option<AppliesTo>,
    /// Policies whose rules are added: `presets/NAME` of those shipped, or the name of a file in the policy directory.
    include: Option<OneOrMore<String>>,
    /// Where the job may connect.
    egress: Option<Egress>,
    /// Which files are secret, and whose.
    secrets: Option<Secrets>,
    /// What egress needs after a secret was read.
    carry: Option<Carry>,
    /// What the job may do to the runner.
    guard: Option<Guard>,
    /// Services of the platform that the policy doesn't hold for, where the whole runner is in scope.
    platform: Option<Vec<Service>>,
    /// Detectors.
    detect: Option<Detect>,
}

/// A service: programs in a cgroup.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Service {
    /// Path from the root of the hierarchy, `/system.slice/ssh.service`; `*` stands for a part of one name.
    #[schemars(regex(pattern = "^(/[^/]+)+$"))]
    cgroup: String,
    /// Absolute paths of its programs.
    exe: OneOrMore<String>,
    /// Why it is exempt.
    why: String,
}

/// What the job may do to the runner.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Guard {
    /// Programs that give their caller another user's rights: sudo, su, pkexec. Default: `allow`.
    sudo: Option<Access>,
    /// Container engines. Default: `audit`.
    docker: Option<EngineAccess>,
    /// Daemons that start programs for whoever asks, outside of the job: systemd, D-Bus. Default: `audit`.
    services: Option<Access>,
    /// bpf(2). Default: `deny`.
    bpf: Option<Access>,
    /// Kernel modules, and other kernels. Default: `deny`.
    modules: Option<Access>,
    /// Memory of processes outside the job, and control over them. Default: `deny`.
    trace: Option<Access>,
    /// Devices, addresses, routes and filters of the machine's network. Default: `deny`.
    network: Option<Access>,
}

/// `allow`: it happens. `audit`: it happens and is told. `deny`: it is told, and in mode `block` refused.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Access {
    Allow,
    Audit,
    Deny,
}

/// `allow`, `audit` and `deny` as elsewhere. `gate`: the agent looks at each request to the engine, and in mode `block` refuses those
/// that give the machine away.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum EngineAccess {
    Allow,
    Audit,
    Gate,
    Deny,
}

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

/// `audit`: recorded. `block`: refused and recorded.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Mode {
    Audit,
    Block,
}

/// Conditions, each a glob or a list of globs.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct AppliesTo {
    /// Trust tier of the job.
    trust: Option<OneOrMore<Trust>>,
    /// CI system.
    provider: Option<OneOrMore<String>>,
    /// Repository, `owner/name`.
    repository: Option<OneOrMore<String>>,
    /// Workflow name or file.
    workflow: Option<OneOrMore<String>>,
    /// Job name.
    job: Option<OneOrMore<String>>,
    /// Git reference, `refs/heads/main`.
    #[schemars(rename = "ref")]
    git_ref: Option<OneOrMore<String>>,
    /// Event that started the job.
    event: Option<OneOrMore<String>>,
}

/// How far the code of a job is trusted.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Trust {
    Untrusted,
    Trusted,
    Release,
}

/// Where the job may connect.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Egress {
    /// What is allowed; the first rule that matches is named.
    allow: Option<Vec<Allow>>,
    /// Closed ports; they win over `allow` and over the default for loopback.
    deny: Option<Vec<Deny>>,
    /// How the agent answers names.
    dns: Option<Dns>,
}

/// One rule, with exactly one of `host`, `cidr` and `ecosystem`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Allow {
    /// A name, or `*.suffix` for every name below it.
    host: Option<String>,
    /// A network, without host bits.
    cidr: Option<String>,
    /// Hosts that the runner's own configuration names.
    ecosystem: Option<Ecosystem>,
    /// Ports. Default: 443 with `host`, those of the configured addresses with `ecosystem`; required with `cidr`.
    ports: Option<Ports>,
    /// Transport. Default: `tcp`.
    protocol: Option<Protocol>,
    /// The class of address that is meant. Default: `public`.
    class: Option<Class>,
    /// Basenames of the programs that may use the rule. Default: any.
    exe: Option<OneOrMore<String>>,
    /// How many distinct names a wildcard may stand for in one job.
    #[schemars(range(min = 1, max = 100_000))]
    names: Option<u32>,
    /// Whether a process that read a secret file may use the rule. Default: false.
    may_carry_secrets: Option<bool>,
    /// What the job needs it for.
    why: String,
}

/// A closed port, with `class`, `cidr` or both.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Deny {
    /// The class of address that is meant.
    class: Option<Class>,
    /// A network, without host bits.
    cidr: Option<String>,
    /// Ports.
    ports: Ports,
    /// Transport. Default: `any`.
    protocol: Option<Protocol>,
    /// Why it is closed.
    why: String,
}

/// `any`, a port, a range such as `8000-8010`, or a list of ports and ranges.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Ports {
    One(Port),
    More(#[schemars(length(min = 1))] Vec<Port>),
}

/// A port, or text: a range, or `any` where it stands alone.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Port {
    Number(#[schemars(range(min = 1))] u16),
    Text(#[schemars(regex(pattern = "^(any|[0-9]+( *- *[0-9]+)?)$"))] String),
}

/// Transport; `any` is TCP and UDP, and with `ports: any` every other IP protocol too.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Protocol {
    Tcp,
    Udp,
    Any,
}

/// What kind of place an address is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Class {
    Public,
    Loopback,
    Private,
    LinkLocal,
    Metadata,
    Multicast,
    Unspecified,
}

/// Whose configuration names the hosts.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Ecosystem {
    Npm,
    Pip,
    Cargo,
    Apt,
    Github,
}

/// How the agent answers names.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Dns {
    /// Answer for a refused name. Default: `nxdomain`.
    refuse_with: Option<RefuseWith>,
}

/// Answer for a refused name.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RefuseWith {
    Nxdomain,
    Refused,
}

/// Which files are secret, and whose.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Secrets {
    /// In order; the first entry that matches a path is its class.
    files: Option<Vec<SecretFile>>,
    /// What happens when somebody else reads one.
    on_read: Option<OnRead>,
}

/// One kind of secret file, with `path` or `paths`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct SecretFile {
    /// A path pattern: absolute, `~/…` or `**/…`.
    path: Option<String>,
    /// Several path patterns.
    paths: Option<Vec<String>>,
    /// Name of the class, for findings. Default: the entry's index.
    class: Option<String>,
    /// What it is, for people. Default: `why`.
    title: Option<String>,
    /// How bad it is when somebody else reads it. Default: `high`.
    severity: Option<Severity>,
    /// Programs that own it: `aws`, `docker-credential-*`, `node:npm-cli.js`; `self` for a process's own files in /proc.
    readers: Vec<String>,
    /// Why the entry is there.
    why: String,
}

/// How bad a finding is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// What happens on a read.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct OnRead {
    /// A read by a program that is no owner. Default: `audit`.
    other_readers: Option<Mode>,
}

/// What egress needs after a secret was read.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Carry {
    /// Egress of a process that read a secret, to a rule without `may-carry-secrets`. Default: `audit`.
    after_secret_read: Option<Mode>,
}

/// Detectors.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Detect {
    /// Ids of detectors that stay silent.
    disable: Option<Vec<String>>,
    /// Severity by detector id.
    severity: Option<BTreeMap<String, Severity>>,
}

/// The schema, JSON Schema draft 2020-12.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::SchemaGenerator::new(schemars::generate::SchemaSettings::draft2020_12())
        .into_root_schema_for::<PolicyFile>()
        .to_value();
    without_null(&mut schema);
    schema
}

/// Takes `null` out of what a key may hold: a key may be left out, but one that is written has a value.
fn without_null(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
                types.retain(|word| word != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(serde_json::Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|word| word != "null"));
                if let [only] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    // Only `$ref` stands beside a null; its keys and the description do not collide.
                    object.extend(only.as_object().cloned().unwrap_or_default());
                }
            }
            object.values_mut().for_each(without_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
