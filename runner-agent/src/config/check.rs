//! From the tree to a draft of a policy: every problem of a file at once, each with its place and what would be right.
//!
//! The key lists here and the structs of `schema` name the same keys; a test compares them.

pub(crate) mod walk;
mod lint;
mod egress;
mod platform;
mod secrets;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use globset::GlobBuilder;

use super::ecosystem::Ecosystem;
use super::problem::Problem;
use super::raw::{self, At, Node};
use crate::policy::egress::{DenyRule, EgressRule, Ports, RefuseWith};
use crate::policy::secret::SecretSpec;
use crate::policy::{AppliesTo, CarryPolicy, DETECTORS, DetectPolicy, GuardPolicy, Mode, Service, Severity};

pub use lint::pairs;
pub use walk::did_you_mean;
pub(super) use walk::{Cursor, Findings};

/// Keys of a policy file.
pub const POLICY_KEYS: &[&str] =
    &["version", "name", "mode", "applies-to", "include", "egress", "secrets", "carry", "guard", "platform", "detect"];
/// Keys of `applies-to`.
pub const APPLIES_TO_KEYS: &[&str] = &["trust", "provider", "repository", "workflow", "job", "ref", "event"];
/// Keys of `egress`.
pub const EGRESS_KEYS: &[&str] = &["allow", "deny", "dns"];
/// Keys of a line of `egress.allow`.
pub const ALLOW_KEYS: &[&str] =
    &["host", "cidr", "ecosystem", "ports", "protocol", "class", "exe", "names", "may-carry-secrets", "why"];
/// Keys of a line of `egress.deny`.
pub const DENY_KEYS: &[&str] = &["class", "cidr", "ports", "protocol", "why"];
/// Keys of `egress.dns`.
pub const DNS_KEYS: &[&str] = &["refuse-with"];
/// Keys of `secrets`.
pub const SECRETS_KEYS: &[&str] = &["files", "on-read"];
/// Keys of an entry of `secrets.files`.
pub const FILE_KEYS: &[&str] = &["path", "paths", "class", "title", "severity", "readers", "why"];
/// Keys of `secrets.on-read`.
pub const ON_READ_KEYS: &[&str] = &["other-readers"];
/// Keys of `carry`.
pub const CARRY_KEYS: &[&str] = &["after-secret-read"];
/// Keys of `guard`.
pub const GUARD_KEYS: &[&str] = &["sudo", "docker", "services", "bpf", "modules", "trace", "network"];
/// Keys of an entry of `platform`.
pub const PLATFORM_KEYS: &[&str] = &["cgroup", "exe", "why"];
/// Keys of `detect`.
pub const DETECT_KEYS: &[&str] = &["disable", "severity"];

/// A policy file that is right, before includes and ecosystems are resolved for a runner.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `name`; rule ids start with it.
    pub name: String,
    /// `mode`.
    pub mode: Mode,
    /// `applies-to`.
    pub applies_to: AppliesTo,
    /// `include`.
    pub include: Vec<Include>,
    /// `egress.deny`.
    pub deny: Vec<DenyRule>,
    /// `egress.allow`.
    pub allow: Vec<AllowLine>,
    /// `egress.dns.refuse-with`.
    pub refuse_with: RefuseWith,
    /// `secrets.files`.
    pub secrets: Vec<SecretSpec>,
    /// `secrets.on-read.other-readers`.
    pub on_read: Mode,
    /// `carry`.
    pub carry: CarryPolicy,
    /// `guard`.
    pub guard: GuardPolicy,
    /// `platform`.
    pub platform: Vec<Service>,
    /// `detect`.
    pub detect: DetectPolicy,
    /// Where each rule and each class of secret files is written, by its id.
    pub written: BTreeMap<Arc<str>, At>,
}

/// One entry of `include`.
#[derive(Clone, Debug)]
pub struct Include {
    /// `presets/npm`, or the name of a file in the policy directory.
    pub name: String,
    /// Where it is written.
    pub at: At,
    /// Its key.
    pub path: String,
}

/// One line of `egress.allow`.
#[derive(Clone, Debug)]
pub enum AllowLine {
    /// A rule.
    Rule(EgressRule),
    /// A rule for every host that the runner's own configuration names.
    Ecosystem {
        /// Whose configuration.
        ecosystem: Ecosystem,
        /// What each rule has, but for target, ports and source.
        template: EgressRule,
        /// The ports written; `None` takes them from the configured addresses.
        ports: Option<Ports>,
        /// Where it is written.
        at: At,
        /// Its key.
        path: String,
    },
}

/// Checks one file. The draft is there only if no problem is an error.
pub fn check(file: &Path, bytes: &[u8]) -> (Option<Draft>, Vec<Problem>) {
    let tree = match raw::parse(bytes) {
        Ok(tree) => tree,
        Err(error) => return (None, vec![Problem::error(file, error.at, "", error.message)]),
    };
    let findings = Findings::new(file);
    let draft = policy(&tree, &findings);
    let problems = findings.into_problems();
    let right = !problems.iter().any(Problem::is_error);
    (right.then_some(draft), problems)
}

/// What a line of `egress.allow` would be warned of, each without its place.
pub fn warnings_of(line: &str) -> Vec<String> {
    let text = format!("version: 1\nname: line\negress:\n  allow:\n    - {line}\n");
    let (_, problems) = check(Path::new("line"), text.as_bytes());
    // That the reason is missing is no news to whoever is handed the line.
    let is_reason = |problem: &Problem| problem.path.rsplit('.').next() == Some("why");
    problems.into_iter().filter(|problem| !is_reason(problem)).map(|problem| problem.message).collect()
}

fn policy(tree: &Node, findings: &Findings) -> Draft {
    let mut draft = Draft::default();
    let root = Cursor { node: tree, path: String::new(), findings };
    let Some(fields) = root.fields(POLICY_KEYS) else {
        return draft;
    };
    if let Some(version) = fields.need("version", "start the file with `version: 1`")
        && version.plain_text() != Some("1")
    {
        version.error("is not 1, the only version there is; write `version: 1`");
    }
    if let Some(name) = fields.need("name", "add `name: my-policy`; rules are named after it")
        && let Some(text) = name.text()
    {
        if is_slug(text) {
            text.clone_into(&mut draft.name);
        } else {
            name.error(format!(
                "{text:?} is no policy name; use up to 64 of a-z, 0-9 and `-`, as in \"pr-validation\""
            ));
        }
    }
    draft.mode = fields.get("mode").and_then(|mode| mode.word()).unwrap_or_default();
    if let Some(cursor) = fields.get("applies-to") {
        draft.applies_to = applies_to(&cursor);
    }
    for entry in fields.get("include").map(|list| list.one_or_more()).unwrap_or_default() {
        if let Some(text) = entry.text() {
            let plain = text.strip_prefix("presets/").unwrap_or(text);
            if is_slug(plain) {
                draft.include.push(Include { name: text.to_owned(), at: entry.node.at, path: entry.path });
            } else {
                entry.error(format!(
                    "{text:?} is no include; write `presets/NAME`, or the name of a file in the policy directory without `.yml`"
                ));
            }
        }
    }
    if let Some(cursor) = fields.get("egress") {
        egress::read(&cursor, &mut draft);
    }
    if let Some(cursor) = fields.get("secrets") {
        secrets::read(&cursor, &mut draft);
    }
    if let Some(carry) = fields.get("carry").and_then(|cursor| cursor.fields(CARRY_KEYS)) {
        draft.carry.after_secret_read = carry.get("after-secret-read").and_then(|mode| mode.word()).unwrap_or_default();
    }
    if let Some(cursor) = fields.get("guard") {
        draft.guard = guard(&cursor);
    }
    if let Some(cursor) = fields.get("platform") {
        draft.platform = platform::read(&cursor);
    }
    if let Some(cursor) = fields.get("detect") {
        draft.detect = detect(&cursor);
    }
    draft
}

/// Whether a text may be the name of a policy or of a class of secrets.
pub(super) fn is_slug(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

fn applies_to(cursor: &Cursor) -> AppliesTo {
    let mut applies = AppliesTo::default();
    let Some(fields) = cursor.fields(APPLIES_TO_KEYS) else {
        return applies;
    };
    if let Some(trust) = fields.get("trust") {
        applies.trust = trust.one_or_more().iter().filter_map(Cursor::word).collect();
    }
    let globs = |key: &str| -> Vec<String> {
        let Some(cursor) = fields.get(key) else {
            return Vec::new();
        };
        let glob = |item: &Cursor| {
            let text = item.text()?;
            match GlobBuilder::new(text).literal_separator(true).build() {
                Ok(_) => Some(text.to_owned()),
                Err(error) => {
                    item.error(format!("{text:?} is no glob: {}; quote special characters as `[*]`", error.kind()));
                    None
                }
            }
        };
        cursor.one_or_more().iter().filter_map(glob).collect()
    };
    applies.provider = globs("provider");
    applies.repository = globs("repository");
    applies.workflow = globs("workflow");
    applies.job = globs("job");
    applies.git_ref = globs("ref");
    applies.event = globs("event");
    applies
}

fn guard(cursor: &Cursor) -> GuardPolicy {
    let mut guard = GuardPolicy::default();
    let Some(fields) = cursor.fields(GUARD_KEYS) else {
        return guard;
    };
    for (key, access) in [
        ("sudo", &mut guard.sudo),
        ("services", &mut guard.services),
        ("bpf", &mut guard.bpf),
        ("modules", &mut guard.modules),
        ("trace", &mut guard.trace),
        ("network", &mut guard.network),
    ] {
        if let Some(word) = fields.get(key).and_then(|value| value.word()) {
            *access = word;
        }
    }
    if let Some(word) = fields.get("docker").and_then(|value| value.word()) {
        guard.docker = word;
    }
    guard
}

fn detect(cursor: &Cursor) -> DetectPolicy {
    let mut detect = DetectPolicy::default();
    let Some(fields) = cursor.fields(DETECT_KEYS) else {
        return detect;
    };
    let unknown = |id: &str| {
        let hint = match did_you_mean(id, DETECTORS) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", DETECTORS.join(", ")),
        };
        format!("{id:?} is no detector; {hint}")
    };
    for item in fields.get("disable").map(|list| list.items()).unwrap_or_default() {
        match item.text() {
            Some(id) if DETECTORS.contains(&id) => drop(detect.disable.insert(id.to_owned())),
            Some(id) => item.error(unknown(id)),
            None => {}
        }
    }
    for (key, value) in fields.get("severity").map(|map| map.entries()).unwrap_or_default() {
        let known = DETECTORS.contains(&key.text.as_str());
        if !known {
            value.findings.error(key.at, &value.path, unknown(&key.text));
        }
        if detect.disable.contains(&key.text) {
            value.findings.warning(key.at, &value.path, "has no effect: `detect.disable` silences this detector");
        }
        if let Some(severity) = value.word::<Severity>()
            && known
            && detect.severity.insert(key.text.clone(), severity).is_some()
        {
            value.findings.error(key.at, &value.path, "stands here a second time; keep one");
        }
    }
    detect
}
