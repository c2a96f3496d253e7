//! Walking the tree: typed reads that note what is wrong and go on.

use std::cell::RefCell;
use std::path::Path;
use std::str::FromStr;

use crate::config::problem::Problem;
use crate::config::raw::{At, Key, Node, Value};
use crate::policy::UnknownWordError;

/// Collects the problems of one file.
pub struct Findings<'a> {
    file: &'a Path,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Findings<'a> {
    pub fn new(file: &'a Path) -> Self {
        Self { file, problems: RefCell::default() }
    }

    pub fn error(&self, at: At, path: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::error(self.file, at, path, message));
    }

    pub fn warning(&self, at: At, path: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::warning(self.file, at, path, message));
    }

    /// Everything noted, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

/// A node, its path from the root, and where to note problems.
#[derive(Clone)]
pub struct Cursor<'a> {
    pub node: &'a Node,
    pub path: String,
    pub findings: &'a Findings<'a>,
}

/// A map whose keys were checked.
pub struct Fields<'a> {
    at: At,
    path: String,
    entries: &'a [(Key, Node)],
    findings: &'a Findings<'a>,
}

impl<'a> Cursor<'a> {
    pub fn error(&self, message: impl Into<String>) {
        self.findings.error(self.node.at, &self.path, message);
    }

    pub fn warning(&self, message: impl Into<String>) {
        self.findings.warning(self.node.at, &self.path, message);
    }

    fn wrong(&self, wanted: &str) {
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Text { text, .. } => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        self.error(format!("is {found}; write {wanted}"));
    }

    /// The map here, its keys checked against `known`; unknown and repeated ones are noted.
    pub fn fields(&self, known: &[&str]) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong(&format!("a map with keys among {}", known.join(", ")));
            return None;
        };
        let fields = Fields { at: self.node.at, path: self.path.clone(), entries, findings: self.findings };
        for (index, (key, _)) in entries.iter().enumerate() {
            let path = fields.path_of(&key.text);
            if let Some((first, _)) = entries[..index].iter().find(|(other, _)| other.text == key.text) {
                self.findings.error(
                    key.at,
                    &path,
                    format!("stands here a second time; it is already on line {}", first.at.line),
                );
            }
            if !known.contains(&key.text.as_str()) {
                let hint = match did_you_mean(&key.text, known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.findings.error(key.at, &path, format!("is no known key; {hint}"));
            }
        }
        Some(fields)
    }

    /// The items of the list here.
    pub fn items(&self) -> Vec<Cursor<'a>> {
        let Value::List(items) = &self.node.value else {
            self.wrong("a list");
            return Vec::new();
        };
        let item = |(index, node)| Cursor { node, path: format!("{}[{index}]", self.path), findings: self.findings };
        items.iter().enumerate().map(item).collect()
    }

    /// The items of the list here, or the single value as a list of one.
    pub fn one_or_more(&self) -> Vec<Cursor<'a>> {
        if matches!(self.node.value, Value::Text { .. }) { vec![self.clone()] } else { self.items() }
    }

    /// Every key and value of a map with free keys.
    pub fn entries(&self) -> Vec<(&'a Key, Cursor<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong("a map");
            return Vec::new();
        };
        entries
            .iter()
            .map(|(key, node)| {
                (key, Cursor { node, path: format!("{}.{}", self.path, key.text), findings: self.findings })
            })
            .collect()
    }

    /// Text that is not empty.
    pub fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text { text, .. } if !text.trim().is_empty() => Some(text),
            _ => {
                self.wrong("some text");
                None
            }
        }
    }

    /// Text, or `None` without a word for what is no text at all.
    pub fn plain_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// One of a set of words.
    pub fn word<T: FromStr<Err = UnknownWordError>>(&self) -> Option<T> {
        match self.text()?.parse() {
            Ok(word) => Some(word),
            Err(error) => {
                self.error(error.to_string());
                None
            }
        }
    }

    /// A whole number within a range.
    pub fn number(&self, least: u32, most: u32) -> Option<u32> {
        let number = match &self.node.value {
            Value::Text { text, plain: true } => text.parse().ok().filter(|number| (least..=most).contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.wrong(&format!("a number from {least} to {most}"));
        }
        number
    }

    /// `true` or `false`.
    pub fn truth(&self) -> Option<bool> {
        match &self.node.value {
            Value::Text { text, plain: true } if text == "true" => Some(true),
            Value::Text { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.wrong("`true` or `false`");
                None
            }
        }
    }
}

impl<'a> Fields<'a> {
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Cursor<'a>> {
        let (_, node) = self.entries.iter().find(|(known, _)| known.text == key)?;
        Some(Cursor { node, path: self.path_of(key), findings: self.findings })
    }

    /// The value of a key that must be there; `hint` says what to write.
    pub fn need(&self, key: &str, hint: &str) -> Option<Cursor<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.findings.error(self.at, &self.path, format!("has no `{key}`; {hint}"));
        }
        found
    }

    /// Notes an error about the map as a whole.
    pub fn error(&self, message: impl Into<String>) {
        self.findings.error(self.at, &self.path, message);
    }
}

/// The known word that a typing mistake is nearest to, if it is near.
pub fn did_you_mean<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Longer words are no typing mistakes, and the table below is quadratic.
    if word.len() > 40 {
        return None;
    }
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance over characters, two swapped neighbours being one edit; case and `_`/`-` aside.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> { text.to_lowercase().replace('_', "-").chars().collect() };
    let (left, right) = (fold(left), fold(right));
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let edit = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut least = edit.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_recognised_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("hots", &["host", "cidr", "ports"]), Some("host"));
        assert_eq!(did_you_mean("may_carry_secrets", &["may-carry-secrets"]), Some("may-carry-secrets"));
        assert_eq!(did_you_mean("banana", &["host", "cidr", "ports"]), None);
    }
}
