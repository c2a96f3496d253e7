//! Goes through a step: its mode, its lists, and what else it asks for. Collects what is made of it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::entry;
use super::find::{Input, Step};
use super::list::{Piece, Places, pieces};
use super::peer::{LeftOut, Meaning, Reading, Role};
use super::{Imported, Line, Request};
use crate::config::Problem;
use crate::config::check::did_you_mean;
use crate::config::raw::{At, Value};
use crate::policy::egress::{DenyRule, EgressRule, ProtocolMatch, Target, classes_of, classify};
use crate::policy::{AddressClass, Mode};
use crate::text::printable;

/// Most rules of a policy that is written: more would be no list that anybody reads, and no file that is read back.
const MOST_RULES: usize = 1000;

/// Collects what is found.
pub(super) struct Reader<'a> {
    request: &'a Request<'a>,
    text: &'a str,
    imported: Imported,
    /// Entries that were read, right or not.
    entries: usize,
    /// Targets and ports that have a rule: the same rule twice would only be warned of.
    seen: HashSet<String>,
    /// Whether an input says that the list is somewhere else.
    is_elsewhere: bool,
}

/// What only a run knows.
fn is_expression(text: &str) -> bool {
    text.contains("${{")
}

impl<'a> Reader<'a> {
    pub fn new(request: &'a Request<'a>, text: &'a str, imported: Imported) -> Self {
        Self { request, text, imported, entries: 0, seen: HashSet::new(), is_elsewhere: false }
    }

    pub fn file(&self) -> &'a Path {
        self.request.file
    }

    pub fn problems(&mut self, more: Vec<Problem>) {
        self.imported.problems.extend(more);
    }

    pub fn deny(&mut self, rules: Vec<DenyRule>) {
        self.imported.denied.extend(rules);
    }

    pub fn refuse_sudo(&mut self) {
        self.imported.no_sudo = true;
    }

    /// Counts something that was to be allowed, right or not.
    pub fn begin_entry(&mut self) {
        self.entries += 1;
    }

    fn warn(&mut self, at: At, path: &str, message: &str) {
        self.imported.problems.push(Problem::warning(self.request.file, at, path, message));
    }

    /// A warning about an input, which stands at the top of the file too.
    pub fn remark(&mut self, at: At, input: &str, message: &str) {
        self.warn(at, input, message);
        let input = if input.is_empty() { String::new() } else { format!("{input}: ") };
        self.imported.remarks.push(format!("line {}: {input}{message}", at.line));
    }

    pub fn error(&mut self, at: At, path: &str, message: impl Into<String>) {
        self.imported.problems.push(Problem::error(self.request.file, at, path, message));
    }

    pub fn step(&mut self, step: &Step) {
        for input in &step.inputs {
            let Value::Text { text, .. } = &input.value.value else { continue };
            let text = text.trim();
            if !text.is_empty() {
                self.input(input, text);
            }
        }
    }

    fn input(&mut self, input: &Input, text: &str) {
        let from = self.request.from;
        let Input { name, at, .. } = input;
        let known = from.inputs();
        let Some((_, role)) = known.iter().find(|(known, _)| known == name) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let hint = did_you_mean(name, &names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            let message =
                format!("is no input of {}, so it changed nothing there and changes nothing here{hint}", from.as_str());
            return self.remark(*at, name, &message);
        };
        match *role {
            Role::Endpoints | Role::Addresses => self.list(name, *role, text, input.value.at, input.end),
            Role::Mode => self.mode(input, text),
            Role::NoSudo if self.truth(input, text, "guard: { sudo: deny }") == Some(true) => {
                self.refuse_sudo();
            }
            Role::Sudo if self.truth(input, text, "guard: { sudo: deny }") == Some(false) => {
                self.refuse_sudo();
            }
            Role::NoSudoNoContainers
                if self.truth(input, text, "guard: { sudo: deny, docker: deny }") == Some(true) =>
            {
                (self.imported.no_sudo, self.imported.no_containers) = (true, true);
            }
            Role::DnsPolicy if text != "allowed-domains-only" => {
                let message = "in mode block a name that no rule means is never asked for, because a question is a way out; \
                               add the names that are needed";
                self.remark(*at, name, message);
            }
            Role::Elsewhere(right, message) if !text.eq_ignore_ascii_case(right) => {
                self.is_elsewhere |= matches!(name.as_str(), "policy" | "use-policy-store" | "config-file");
                self.remark(*at, name, message);
            }
            _ => {}
        }
    }

    fn mode(&mut self, input: &Input, text: &str) {
        let [block, audit] = self.request.from.mode_words();
        if text.eq_ignore_ascii_case(block) {
            self.imported.mode = Mode::Block;
        } else if text.eq_ignore_ascii_case(audit) {
            self.imported.mode = Mode::Audit;
        } else if is_expression(text) {
            self.imported.mode = Mode::Block;
            let message = "is an expression that only a run knows, so the stricter mode is written; write `mode: audit` if \
                           that is meant";
            self.remark(input.at, &input.name, message);
        } else {
            let message = format!("{text:?} is not one of {audit}, {block}");
            self.error(input.value.at, &input.name, message);
        }
    }

    /// A truth value; what it would mean is told where it can't be known.
    fn truth(&mut self, input: &Input, text: &str, meaning: &str) -> Option<bool> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ if is_expression(text) => {
                let message =
                    format!("is an expression that only a run knows; write `{meaning}` if sudo is to be refused");
                self.remark(input.at, &input.name, &message);
                None
            }
            _ => {
                self.error(input.value.at, &input.name, format!("{text:?} is no truth value; write true or false"));
                None
            }
        }
    }

    pub fn list(&mut self, input: &str, role: Role, text: &str, start: At, end: Option<At>) {
        let from = self.request.from;
        let mut places = Places::new(self.text, start, end);
        let mut lines: Vec<u32> = Vec::new();
        for piece in pieces(text, from.splits_at_spaces()) {
            let found = places.next(piece.text());
            let at = found.unwrap_or_else(|| places.start());
            match piece {
                // YAML has made one line of several, and what stood below the comment seems to be a part of it.
                Piece::Comment(comment) if found.is_none() => self.leave_out(
                    at,
                    input,
                    LeftOut::from(format!(
                        "{comment:?} is a comment in text that YAML joins to one line, and hides all that follows; write \
                         the list with `|`, or without comments"
                    )),
                    None,
                ),
                Piece::Comment(_) => {}
                Piece::Entry(entry) => {
                    lines.push(at.line);
                    self.entry(input, role, entry, at);
                }
            }
        }
        lines.dedup();
        if from.splits_at_spaces() && text.trim().contains('\n') && lines.len() > 1 {
            let message = format!(
                "the entries stand on lines of their own, and {} ends them at spaces alone; each line is read as it was \
                 meant",
                from.as_str()
            );
            self.remark(start, input, &message);
        }
    }

    fn entry(&mut self, input: &str, role: Role, text: &str, at: At) {
        self.begin_entry();
        let why = self.why(input, text, at);
        let is_list = input.is_empty();
        let read = if is_expression(text) {
            Err(format!("{text:?} is an expression that only a run knows; write what it stands for").into())
        } else if role == Role::Addresses || is_list && entry::is_address(text) {
            self.request.from.address(text)
        } else {
            self.request.from.endpoint(text)
        };
        let Reading { rules, left_out } = match read {
            Ok(reading) => reading,
            Err(left_out) => Reading { rules: Vec::new(), left_out: Some(left_out) },
        };
        for meaning in rules {
            self.rule(at, input, text, (meaning, ProtocolMatch::Tcp), &why);
        }
        if let Some(left_out) = left_out {
            self.leave_out_with(at, input, left_out, &why);
        }
    }

    /// Adds a rule, and tells what it leaves closed.
    pub fn rule(
        &mut self,
        at: At,
        input: &str,
        text: &str,
        (meaning, protocol): (Meaning, ProtocolMatch),
        why: &Arc<str>,
    ) {
        match rule(meaning, why) {
            Ok((made, closed)) => {
                if let Some(message) = closed {
                    self.leave_out(at, input, LeftOut::from(format!("{text:?} {message}")), None);
                }
                self.add(EgressRule { protocol, ..made });
            }
            Err(message) => self.leave_out(at, input, LeftOut::from(format!("{text:?} {message}")), None),
        }
    }

    /// Leaves something out, with the nearest rule there is.
    pub fn leave_out_with(&mut self, at: At, input: &str, left_out: LeftOut, why: &Arc<str>) {
        let wider = left_out.wider.clone().and_then(|wider| Some(rule(wider, why).ok()?.0));
        self.leave_out(at, input, left_out, wider);
    }

    pub fn why(&self, input: &str, entry: &str, at: At) -> Arc<str> {
        let Imported { file, from, .. } = &self.imported;
        let list = if input.is_empty() { "list" } else { input };
        format!("{}'s {list} has {} ({file}:{})", from.as_str(), printable(entry), at.line).into()
    }

    fn add(&mut self, rule: EgressRule) {
        if self.seen.insert(format!("{:?} {} {}", rule.target, rule.ports, rule.protocol)) {
            self.imported.lines.push(Line::Rule(rule));
        }
    }

    pub fn leave_out(&mut self, at: At, input: &str, left_out: LeftOut, wider: Option<EgressRule>) {
        self.warn(at, input, &left_out.message);
        let told = format!("left out, line {}: {}", at.line, left_out.message);
        self.imported.lines.push(Line::Comment(told, wider));
    }

    pub fn finish(mut self) -> Result<Imported, Vec<Problem>> {
        let rules = self.imported.rules().count();
        if rules > MOST_RULES {
            let message = format!(
                "the list makes {rules} rules, and {MOST_RULES} is the most; write networks, or wildcards over your own names"
            );
            self.error(At::START, "", message);
        }
        let hides = self.imported.lines.iter().any(|line| matches!(line, Line::Comment(..)));
        if rules == 0 && (self.entries > 0 || hides) {
            self.error(At::START, "", "no entry of the list has a rule that means the same, so there is no policy to write; the warnings say what would be right");
        } else if rules == 0 && self.is_elsewhere {
            self.error(At::START, "", "the step has no list of its own; the warnings say where it is and what to do");
        }
        // In the order of the file, as other commands tell them.
        self.imported.problems.sort_by_key(|problem| (problem.line, problem.column));
        if self.imported.problems.iter().any(Problem::is_error) {
            return Err(self.imported.problems);
        }
        Ok(self.imported)
    }
}

/// A rule, and what it doesn't allow that the entry may have meant.
fn rule((target, ports): Meaning, why: &Arc<str>) -> Result<(EgressRule, Option<String>), String> {
    let mut class = AddressClass::Public;
    let mut narrower = None;
    if let Target::Cidr(network) = target {
        let is_one = network.prefix_len() == network.max_prefix_len();
        let inside = if is_one { vec![classify(network.addr())] } else { classes_of(network) };
        let words =
            |classes: &[AddressClass]| classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(" and ");
        let opens = [AddressClass::Public, AddressClass::Private, AddressClass::Loopback];
        class = opens.into_iter().find(|class| inside.contains(class)).ok_or_else(|| {
            format!("is {}, which a list doesn't open; write a rule with that `class` if it is meant", words(&inside))
        })?;
        let closed: Vec<AddressClass> = inside.into_iter().filter(|&other| other != class).collect();
        narrower = (!closed.is_empty()).then(|| {
            format!(
                "holds {} addresses as well, which this rule leaves closed; write a rule with their `class` for those that \
                 are needed",
                words(&closed)
            )
        });
    }
    let rule = EgressRule {
        id: "".into(),
        target,
        ports,
        protocol: ProtocolMatch::Tcp,
        class,
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: Arc::clone(why),
        source: None,
    };
    Ok((rule, narrower))
}
