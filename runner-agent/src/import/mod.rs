//! From the list of another action to a policy that means the same, or less and says so.
//!
//! `find` finds the step or the list in a file, `list` cuts it into entries with their places, `peer` knows what an entry
//! meant to its own reader, `entry` is the strict reading underneath, `reader` goes through a step with them, `cargowall`
//! through that action's own file, `write` makes the policy. What has no rule of the same
//! meaning is left out with a warning and stands in the file as a comment: nothing is dropped without a word, and nothing
//! is allowed that wasn't.

pub mod peer;
mod cargowall;
mod entry;
mod find;
mod list;
mod reader;
mod write;

use std::path::Path;

use crate::config::Problem;
use crate::config::raw::{self, At};
use crate::config::shipped;
use crate::policy::Mode;
use crate::policy::egress::{DenyRule, EgressRule};
use crate::text::{base_name, printable};

use find::Found;
use peer::{Peer, Role};
use reader::Reader;

/// Name of a policy that nothing gives one.
const NAME: &str = "imported";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose words the file is in.
    pub from: Peer,
    /// The file's name, for messages.
    pub file: &'a Path,
    /// Which job's step, if the file is a workflow.
    pub job: Option<&'a str>,
    /// The policy's name; otherwise the job's.
    pub name: Option<&'a str>,
}

/// A policy made of somebody's list.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Whose words it was in.
    pub from: Peer,
    /// The last part of the file's name.
    pub file: String,
    /// The job of the step.
    pub job: Option<String>,
    /// The policy's name.
    pub name: String,
    /// Its mode.
    pub mode: Mode,
    /// Whether sudo is refused.
    pub no_sudo: bool,
    /// Whether container engines are refused.
    pub no_containers: bool,
    /// Rules and what has none, in the order of the list.
    pub lines: Vec<Line>,
    /// Networks that stay closed whatever else allows them.
    pub denied: Vec<DenyRule>,
    /// Inputs that were not carried over, for comments at the top.
    pub remarks: Vec<String>,
    /// Everything that was warned of.
    pub problems: Vec<Problem>,
}

/// A line below `egress.allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A rule.
    Rule(EgressRule),
    /// A comment about an entry, and the nearest rule if there is one, which is not in force.
    Comment(String, Option<EgressRule>),
}

impl Imported {
    /// The rules alone.
    pub fn rules(&self) -> impl Iterator<Item = &EgressRule> {
        self.lines.iter().filter_map(|line| match line {
            Line::Rule(rule) => Some(rule),
            Line::Comment(..) => None,
        })
    }

    /// The policy file.
    pub fn yaml(&self) -> String {
        write::yaml(self)
    }
}

/// Makes a policy of a file's bytes, or says all that keeps it from being made.
pub fn import(request: &Request, bytes: &[u8]) -> Result<Imported, Vec<Problem>> {
    let error = |at: At, message: String| vec![Problem::error(request.file, at, "", message)];
    if let Some(name) = request.name
        && let Err(message) = right_name(name)
    {
        return Err(error(At::START, message));
    }
    let text = raw::text(bytes).map_err(|wrong| error(wrong.at, wrong.message))?;
    let found = find::find(request.from, request.job, request.file, text).map_err(|problem| vec![problem])?;
    let job = match &found {
        Found::Step(step) => step.job.clone(),
        Found::List | Found::Config(_) => None,
    };
    let name = request.name.map_or_else(|| name_of(job.as_deref()), str::to_owned);
    let file = printable(base_name(&request.file.to_string_lossy())).into_owned();
    let imported = Imported {
        from: request.from,
        file,
        job,
        name,
        mode: request.from.default_mode(),
        no_sudo: false,
        no_containers: false,
        lines: Vec::new(),
        denied: Vec::new(),
        remarks: Vec::new(),
        problems: Vec::new(),
    };
    let mut reader = Reader::new(request, text, imported);
    match found {
        Found::Step(step) => reader.step(&step),
        Found::List => reader.list("", Role::Endpoints, text, At::START, None),
        Found::Config(tree) => cargowall::read(&mut reader, &tree),
    }
    reader.finish()
}

/// A name as policies have them.
fn right_name(name: &str) -> Result<(), String> {
    let is_right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_right) {
        return Err(format!("--name is {name:?}; a policy's name has small letters, digits and hyphens"));
    }
    if shipped::find(name).is_some() {
        return Err(format!("--name is {name:?}, which a shipped policy has; choose another"));
    }
    Ok(())
}

/// The job's name, as far as a policy can have it.
fn name_of(job: Option<&str>) -> String {
    let fit = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
    let name: String = job.unwrap_or(NAME).chars().map(fit).collect();
    let name = name.trim_matches('-');
    match right_name(name) {
        Ok(()) => name.to_owned(),
        Err(_) if name.is_empty() => NAME.to_owned(),
        Err(_) => format!("{NAME}-{name}"),
    }
}

#[cfg(test)]
mod tests;
