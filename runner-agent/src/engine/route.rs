//! What a request is, by method and path, and what may stand in its path and its parameters.

use super::ask::Kind;
use super::judge::{Check, Judge, Reference};
use super::target::Target;

/// A kind of request that the gate knows.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method; `*` for any.
    pub method: &'static str,
    /// The path; a piece in braces stands for a name, `{*}` for all that follows.
    pub path: &'static str,
    /// Its parameters.
    pub query: Query,
    /// Its body.
    pub body: Body,
    /// Whether the connection becomes a stream of bytes, where the client asks for it.
    pub upgrades: bool,
    /// What the answer names that the job has made.
    pub makes: Option<Makes>,
    /// The gate's word on every such request, if it is always the same.
    pub never: Option<Kind>,
}

/// Parameters.
#[derive(Clone, Copy, Debug)]
pub enum Query {
    /// Any: it only reads.
    Any,
    /// These, spelled so, each with what it may be.
    These(&'static [(&'static str, Value)]),
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Anything.
    Any,
    /// One of these words; anything else asks for too much.
    Only(Kind, &'static [&'static str]),
    /// A container of the job's.
    Container,
    /// An image by name.
    Image,
}

/// What a body is.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// None; what there is isn't passed on.
    None,
    /// JSON, judged by this.
    Json(Check),
    /// A stream that is passed on unread, with this content type.
    Stream(&'static str),
}

/// What an answer names as made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// A container.
    Container,
    /// An exec.
    Exec,
}

impl Route {
    /// Whether a path is this route's; names in it match any piece, `{image}` one or more.
    pub fn matches(&self, method: &str, path: &[String]) -> bool {
        (method == self.method || self.method == "*") && fits(&self.pattern(), path)
    }

    fn pattern(&self) -> Vec<&'static str> {
        self.path.split('/').skip(1).collect()
    }

    /// The target that is passed on.
    pub fn target(&self, judge: &mut Judge, target: &Target) -> Target {
        let pattern = self.pattern();
        let mut path = target.path.clone();
        // Names of images reach over several pieces; no other name stands behind one.
        for (piece, pattern) in path.iter_mut().zip(pattern) {
            match pattern {
                "{container}" => *piece = judge.resolve(Reference::Container(piece.clone())),
                "{exec}" => *piece = judge.resolve(Reference::Exec(piece.clone())),
                "{joined}" => *piece = judge.resolve(Reference::Network(piece.clone())),
                _ => {}
            }
        }
        Target { version: target.version.clone(), path, query: self.parameters(judge, &target.query) }
    }

    fn parameters(&self, judge: &mut Judge, query: &[(String, String)]) -> Vec<(String, String)> {
        let known = match self.query {
            Query::Any => return query.to_vec(),
            Query::These(known) => known,
        };
        let mut passed = Vec::new();
        for (key, value) in query {
            // Podman finds parameters in any case.
            match known.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
                Some((name, allowed)) => passed.push(((*name).to_owned(), allowed.passed(judge, name, value))),
                None if ["", "0", "false", "null", "[]", "{}"].contains(&value.as_str()) => {}
                None => judge.ask(Kind::UnknownSetting, key),
            }
        }
        passed
    }
}

impl Value {
    fn passed(self, judge: &mut Judge, name: &str, value: &str) -> String {
        match self {
            Self::Any => value.to_owned(),
            Self::Only(kind, words) => {
                if !words.contains(&value) {
                    judge.ask(kind, &format!("{name}={value}"));
                }
                value.to_owned()
            }
            Self::Image => {
                if super::container::is_elsewhere(value) {
                    judge.ask(Kind::Fetch, &format!("{name}={value}"));
                }
                value.to_owned()
            }
            Self::Container => judge.resolve(Reference::Container(value.to_owned())),
        }
    }
}

fn fits(pattern: &[&str], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) | (Some((&"{*}", _)), _) => true,
        (Some((&"{image}", rest)), Some((_, after))) => (0..path.len()).any(|skip| fits(rest, &after[skip..])),
        (Some((pattern, rest)), Some((piece, after))) => {
            (pattern.starts_with('{') || *pattern == piece.as_str()) && fits(rest, after)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}
