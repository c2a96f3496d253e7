//! A notice's fields by the names that the event log has for them: what forms write that have no place for one of them.

use std::borrow::Cow;

use super::super::{Exit, access_word, exit_of, key_text, write};
use super::{arguments, rule, verdict};
use crate::event::{Activity, Connection, DnsMessage, FileAccess, Process};
use crate::ledger::Checkpoint;
use crate::notice::{AgentState, Content, JobEnded, JobStarted, ReceiptIssued};

/// The value of a field.
pub(in super::super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Flag(bool),
    List(Vec<Cow<'a, str>>),
}

impl<'a> Value<'a> {
    /// Whether a form that writes only what is known may leave it out.
    pub(in super::super) fn says_nothing(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Number(_) | Self::Flag(_) => false,
        }
    }

    /// As one text: a list as JSON has it, so that its items can be told apart again.
    pub(in super::super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => number.to_string().into(),
            Self::Flag(flag) => if *flag { "true" } else { "false" }.into(),
            Self::List(items) => {
                let mut json = Vec::new();
                write(items, &mut json);
                String::from_utf8(json).unwrap_or_default().into()
            }
        }
    }

    fn list<T: AsRef<str> + 'a>(items: &'a [T]) -> Self {
        Self::List(items.iter().map(|item| Cow::Borrowed(item.as_ref())).collect())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// Hands over the fields of a notice's process by their names in the log, without `process.` before them.
pub(in super::super) fn of_process<'a>(
    process: &'a Process,
    content: &'a Content,
    tell: &mut impl FnMut(&'static str, Value<'a>),
) {
    let program = &process.program;
    let (argv, argv_whole) = arguments(process, content);
    tell("key", key_text(process.key).into());
    tell("pid", Value::Number(process.key.tgid.into()));
    if let Some(parent) = process.parent_key {
        tell("parent", key_text(parent).into());
    }
    tell("exe", (&*program.exe).into());
    tell("argv", Value::list(argv));
    if !argv_whole {
        tell("argv_whole", Value::Flag(false));
    }
    tell("cwd", (&*program.cwd).into());
    tell("uid", Value::Number(program.uid.into()));
    tell("cgroup", Value::Number(program.cgroup));
}

/// Hands over the fields that a notice's kind has, by their names in the log. What would say nothing is left out.
pub(in super::super) fn details<'a>(content: &'a Content, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    match content {
        Content::Event(event) => {
            if event.is_runners {
                tell("scope", "runner".into());
            }
            of_activity(&event.activity, tell);
            if let Some(verdict) = verdict(content) {
                tell("verdict", verdict.as_str().into());
            }
            if let Some(rule) = rule(content) {
                tell("rule", rule.into());
            }
        }
        Content::Finding(finding) => {
            tell("id", finding.id.into());
            tell("severity", finding.severity.as_str().into());
            tell("message", (&*finding.message).into());
            tell("technique", Value::list(finding.techniques));
            tell("evidence", Value::List(finding.evidence.iter().map(|seq| seq.to_string().into()).collect()));
            if let Some(fix) = &finding.fix {
                tell("fix", (&**fix).into());
            }
        }
        Content::Loss(loss) => {
            tell("place", loss.place.into());
            tell("reason", loss.reason.into());
            tell("count", Value::Number(loss.count));
        }
        Content::JobStarted(started) => of_start(started, tell),
        Content::JobEnded(ended) => of_end(ended, tell),
        Content::Checkpoint(None) => {}
        Content::Checkpoint(Some(Checkpoint { position, key, signature })) => {
            tell("lines", Value::Number(position.lines));
            tell("head", (&*position.head).into());
            tell("key", (&**key).into());
            tell("signature", signature.to_string().into());
        }
        Content::Receipt(issued) => of_receipt(issued, tell),
        Content::Agent(AgentState::Ready { ready_ms, tier, kernel, version }) => {
            tell("state", "ready".into());
            tell("ready_ms", Value::Number(ready_ms.round() as u64));
            tell("tier", (*tier).into());
            tell("kernel", (&**kernel).into());
            tell("version", (*version).into());
        }
        Content::Agent(AgentState::Changed { state, detail }) => {
            tell("state", (*state).into());
            tell("detail", (&**detail).into());
        }
    }
}

fn of_start<'a>(started: &'a JobStarted, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    tell("state", "started".into());
    tell("command", Value::list(&started.command));
    tell("policy_files", Value::list(&started.policy_files));
    tell("cgroup", (&*started.cgroup).into());
    if let Some(key) = &started.key {
        tell("key", (&**key).into());
    }
}

fn of_receipt<'a>(issued: &'a ReceiptIssued, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    tell("sha256", (&*issued.sha256).into());
    tell("log_sha256", (&*issued.log_sha256).into());
    tell("lines", Value::Number(issued.lines));
    tell("head", (&*issued.head).into());
    tell("key", (&*issued.key).into());
    tell("mode", issued.mode.as_str().into());
    tell("seen", Value::Number(issued.seen));
    tell("lost", Value::Number(issued.lost));
    tell("findings", Value::Number(issued.findings));
}

fn of_end<'a>(ended: &'a JobEnded, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    tell("state", "ended".into());
    if let Some(code) = ended.exit_code {
        tell("exit_code", Value::Number(u64::from(code.unsigned_abs())));
    }
    if let Some(signal) = ended.signal {
        tell("signal", Value::Number(u64::from(signal.unsigned_abs())));
    }
    tell("leftovers", Value::list(&ended.leftovers));
    tell("left_on_runner", Value::list(&ended.left_on_runner));
    let counted = ended.occurrences.iter().map(|(id, count)| format!("{id}={count}").into());
    tell("findings", Value::List(counted.collect()));
    tell("unreadable_dns", Value::Number(ended.unreadable_dns));
    tell("dropped_packets", Value::Number(ended.dropped_packets));
    tell("account.seen", Value::Number(ended.account.seen()));
    tell("account.lost", Value::Number(ended.account.lost()));
    tell("account.difference", Value::Number(ended.account.difference()));
    tell("account.skipped", Value::Number(ended.account.skipped_runs()));
}

fn of_activity<'a>(activity: &'a Activity, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    let flag = |name, is_set: bool, tell: &mut dyn FnMut(&'static str, Value<'a>)| {
        if is_set {
            tell(name, Value::Flag(true));
        }
    };
    match activity {
        Activity::Exec { outside_cgroup, .. } => flag("outside_cgroup", *outside_cgroup, tell),
        Activity::Exit { status } => match exit_of(*status) {
            Exit::Code(code) => tell("exit_code", Value::Number(code.into())),
            Exit::Signal(signal) => tell("signal", Value::Number(signal.into())),
        },
        Activity::File(file) => of_file(file, tell),
        Activity::Connect(connection) => of_connection(connection, tell),
        Activity::Socket { family, socket_type, protocol, killed, .. } => {
            tell("family", Value::Number((*family).into()));
            tell("socket_type", Value::Number((*socket_type).into()));
            tell("protocol", Value::Number((*protocol).into()));
            flag("killed", *killed, tell);
        }
        Activity::Device { major, minor, killed } => {
            tell("major", Value::Number((*major).into()));
            tell("minor", Value::Number((*minor).into()));
            flag("killed", *killed, tell);
        }
        Activity::IoUring => {}
        Activity::CgroupMove { by, to, inside, killed, shares } => {
            tell("by", key_text(*by).into());
            tell("to", Value::Number(*to));
            tell("inside", Value::Flag(*inside));
            flag("killed", *killed, tell);
            flag("shares_descriptors", *shares, tell);
        }
        Activity::Dns(message) => of_dns(message, tell),
        Activity::Attempt(attempt) => {
            tell("operation", attempt.name().into());
            if let Some(target) = attempt.target {
                tell("target", Value::Number(target.tgid.into()));
            }
            if attempt.detail != 0 {
                tell("detail", Value::Number(attempt.detail));
            }
            if let Some(path) = &attempt.path {
                tell("path", (&**path).into());
            }
            flag("failed", attempt.failed, tell);
            if let Some(request) = &attempt.request {
                tell("request", (&*request.name).into());
                tell("asks", Value::list(&request.asks));
            }
        }
    }
}

fn of_file<'a>(file: &'a FileAccess, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    tell("path", (&*file.path).into());
    if let Some(known_as) = &file.known_as {
        tell("known_as", (&**known_as).into());
    }
    tell("class", (&*file.class).into());
    tell("access", access_word(file).into());
    tell("owner", Value::Flag(file.owner));
    for (name, is_set) in
        [("inherited", file.inherited), ("compat", file.compat), ("path_truncated", file.path_truncated)]
    {
        if is_set {
            tell(name, Value::Flag(true));
        }
    }
}

fn of_connection<'a>(connection: &'a Connection, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    tell("destination.ip", connection.address.to_string().into());
    tell("destination.port", Value::Number(connection.port.into()));
    tell("destination.protocol", connection.protocol.to_string().into());
    tell("destination.class", connection.ruling.class.as_str().into());
    tell("destination.names", Value::list(&connection.names));
    tell("destination.claimed_names", Value::list(&connection.claimed_names));
    tell("hook", connection.hook.into());
    for (name, is_set) in
        [("refused_for_secret", connection.refused_for_secret), ("outside_cgroup", connection.outside_cgroup)]
    {
        if is_set {
            tell(name, Value::Flag(true));
        }
    }
}

fn of_dns<'a>(message: &'a DnsMessage, tell: &mut impl FnMut(&'static str, Value<'a>)) {
    tell("server", message.server.to_string().into());
    tell("name", (&*message.name).into());
    tell("query_type", (&*message.query_type).into());
    if let Some(code) = &message.answer_code {
        tell("answer_code", (&**code).into());
        tell("addresses", Value::List(message.addresses.iter().map(|address| address.to_string().into()).collect()));
        tell("trusted", Value::Flag(message.trusted));
    }
    if let Some(refusal) = message.decided.as_ref().and_then(|decided| decided.refusal) {
        tell("refusal", refusal.word.into());
    }
}
