//! YAML as a small tree in which every key and value knows its line and column; nothing here knows what a policy is.
//!
//! A file is read event by event instead of into structs, so that a repeated key, a wrong type and an unknown key are
//! all told at once and each at its place. Anchors and aliases are refused: a policy is read by people, and without
//! them no file means more than it shows.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde_saphyr::budget::{BudgetBreach, EnforcingPolicy, check_yaml_budget};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError};

/// Largest file that is read. A policy of a thousand rules has a tenth of it.
pub const MAX_BYTES: usize = 256 * 1024;
/// Deepest nesting that is read; a policy has five levels.
const MAX_DEPTH: usize = 16;
/// Most keys, values, lists and maps in one file.
const MAX_NODES: usize = 50_000;

/// A place in a file; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

impl At {
    /// The first character of a file, for what concerns the file as a whole.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: At,
    /// What it is.
    pub value: Value,
}

/// A key of a map and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Where it starts.
    pub at: At,
    /// The key.
    pub text: String,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `key:`, `null` or `~`.
    Null,
    /// Text, a number or a truth value.
    Text {
        /// After unescaping.
        text: String,
        /// Without quotes, so that `443` is a number and `true` a truth value.
        plain: bool,
    },
    /// `[…]` or `- …`.
    List(Vec<Node>),
    /// `{…}` or `key: …`, in the order written, repetitions included.
    Map(Vec<(Key, Node)>),
}

/// A file that is no tree: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub at: At,
    /// A lower-case fragment.
    pub message: String,
}

impl SyntaxError {
    fn new(at: At, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// What is wrong with the whole of it.
    pub fn whole(message: impl Into<String>) -> Self {
        Self::new(At::START, message)
    }
}

/// Reads a file of at most [`MAX_BYTES`].
pub fn read(path: &Path) -> Result<Vec<u8>, SyntaxError> {
    let told = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => SyntaxError::whole("there is no such file"),
        ErrorKind::PermissionDenied => SyntaxError::whole("can't be read: permission denied"),
        _ => SyntaxError::whole(format!("can't be read: {error}")),
    };
    // Asked before opening: opening a FIFO would wait for its writer.
    let kind = fs::metadata(path).map_err(|error| told(&error))?.file_type();
    if kind.is_dir() {
        return Err(SyntaxError::whole("is a directory; name the files in it"));
    }
    if !kind.is_file() {
        return Err(SyntaxError::whole("is no regular file; write the policy to a file and name that"));
    }
    let file = fs::File::open(path).map_err(|error| told(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| told(&error))?;
    Ok(bytes)
}

/// A file's bytes as text, if they are not too many.
pub fn text(bytes: &[u8]) -> Result<&str, SyntaxError> {
    if bytes.len() > MAX_BYTES {
        return Err(SyntaxError::whole(format!("has more than {MAX_BYTES} bytes; split it and include the parts")));
    }
    str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|&byte| byte == b'\n').count();
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |index| index + 1);
        let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
        SyntaxError::new(At { line: line as u32, column: column as u32 }, "is not UTF-8; save the file as UTF-8")
    })
}

/// Makes a tree of a file's bytes.
pub fn parse(bytes: &[u8]) -> Result<Node, SyntaxError> {
    let text = text(bytes)?;
    within_budget(text)?;
    let mut events = Parser::new_from_str(text);
    let mut tree = None;
    // Containers that are open, outermost first; of a map also the key that waits for its value.
    let mut open: Vec<(Node, Option<Key>)> = Vec::new();
    while let Some(event) = events.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        let at = At { line: span.start.line().max(1) as u32, column: span.start.col() as u32 + 1 };
        let node = match event {
            Event::DocumentStart(..) if tree.is_some() => {
                return Err(SyntaxError::new(at, "starts a second document; a file holds one"));
            }
            Event::Alias(_) => return Err(SyntaxError::new(at, "is an alias; write the value out")),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                return Err(SyntaxError::new(at, "has an anchor; write the value out wherever it is needed"));
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                return Err(SyntaxError::new(at, "has a tag (`!…`); write the plain value, quoted if it is text"));
            }
            Event::Scalar(text, style, ..) => Node { at, value: scalar(&text, style) },
            Event::SequenceStart(..) => {
                open.push((Node { at, value: Value::List(Vec::new()) }, None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((Node { at, value: Value::Map(Vec::new()) }, None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((node, _)) => node,
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => tree = Some(node),
            Some((Node { value: Value::List(items), .. }, _)) => items.push(node),
            Some((Node { value: Value::Map(entries), .. }, waiting)) => match waiting.take() {
                Some(key) => entries.push((key, node)),
                None => match node.value {
                    Value::Text { text, .. } => *waiting = Some(Key { at: node.at, text }),
                    _ => return Err(SyntaxError::new(node.at, "is no key; a key is a word")),
                },
            },
            Some(_) => {}
        }
    }
    match tree {
        Some(Node { value: Value::Null, .. }) | None => {
            Err(SyntaxError::whole("is empty; a policy starts with `version: 1`"))
        }
        Some(tree) => Ok(tree),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        Value::Null
    } else {
        Value::Text { text: text.to_owned(), plain }
    }
}

/// Refuses what would take long to read before anything is built from it.
fn within_budget(text: &str) -> Result<(), SyntaxError> {
    let budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 4 * MAX_NODES,
        max_documents: 2,
        max_total_scalar_bytes: MAX_BYTES,
        flow_nesting_limit: 4 * MAX_DEPTH,
    };
    let report = check_yaml_budget(text, budget.unwrap_or_default(), EnforcingPolicy::AllContent)
        .map_err(|error| syntax(&error))?;
    match report.breached {
        None => Ok(()),
        Some(BudgetBreach::Depth { .. }) => {
            Err(SyntaxError::whole(format!("is nested deeper than {MAX_DEPTH} levels; a policy has five")))
        }
        Some(BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. }) => Err(SyntaxError::whole(format!(
            "has more than {MAX_NODES} keys and values; split it and include the parts"
        ))),
        Some(other) => Err(SyntaxError::whole(format!("is more than a policy needs: {other:?}"))),
    }
}

fn syntax(error: &ScanError) -> SyntaxError {
    let marker = error.marker();
    let at = At { line: marker.line().max(1) as u32, column: marker.col() as u32 + 1 };
    SyntaxError::new(at, format!("is no YAML: {}", error.info().to_lowercase()))
}

#[cfg(test)]
mod tests;
