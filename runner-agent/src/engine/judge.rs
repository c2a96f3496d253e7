//! The verdict on a request: what of it is passed on, and what it asks for too much. Pure.
//!
//! A verdict may depend on what the engine knows under a name: whose container, what kind of network. Then the judge says which
//! names it needs to know, and is asked again.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::ask::{Ask, Kind};
use super::json::{self, fold, says_nothing};
use super::route::{Body, Route};
use super::target::Target;

/// Something that a request names, and whose meaning somebody else knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A container, by name or id.
    Container(String),
    /// An exec, by id.
    Exec(String),
    /// A volume that may be there already.
    Volume(String),
    /// A network.
    Network(String),
    /// A path of the machine, and whether the container may write to it.
    Path(String, bool),
}

/// What became known of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The job may name it, and it is passed on under this name.
    Is(String),
    /// The engine knows nothing of that name.
    Missing,
    /// The job may not name it.
    Not(Ask),
}

/// What is known of references.
pub type Known = HashMap<Reference, Meaning>;

/// A request to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it goes; nothing for a target that isn't plain.
    pub target: Option<&'a Target>,
    /// The body, where the route has one that is looked at.
    pub body: &'a [u8],
}

/// What a request may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The target that is passed on.
    pub target: Target,
    /// The JSON that is passed on, where the route has one.
    pub body: Option<Value>,
    /// What it asks for too much; nothing of it is passed on if there is any.
    pub asks: Vec<Ask>,
    /// What must be known before this verdict counts.
    pub needs: Vec<Reference>,
    /// Containers that it names and the engine doesn't know.
    pub missing: Vec<String>,
}

/// Judges a request on a route.
pub fn judge(route: &Route, request: Request, known: &Known) -> Judged {
    let empty = Target { version: None, path: Vec::new(), query: Vec::new() };
    let mut judge = Judge { known, asks: Vec::new(), needs: Vec::new(), missing: Vec::new() };
    let Some(target) = request.target else {
        judge.ask(Kind::Ambiguous, "a path that isn't plain");
        return judge.done(empty, None);
    };
    if let Some(kind) = route.never {
        judge.ask(kind, "");
        return judge.done(target.clone(), None);
    }
    let target = route.target(&mut judge, target);
    let body = match route.body {
        Body::Json(check) => match json::parse(if request.body.is_empty() { b"null" } else { request.body }) {
            Ok(value) => Some(check(&mut judge, &value)),
            Err(error) => {
                judge.ask(Kind::Ambiguous, &error.to_string());
                None
            }
        },
        Body::None | Body::Stream(_) => None,
    };
    judge.done(target, body)
}

/// A verdict on its way.
pub struct Judge<'a> {
    known: &'a Known,
    asks: Vec<Ask>,
    needs: Vec<Reference>,
    missing: Vec<String>,
}

/// Judges a value, and says what of it is passed on.
pub type Check = fn(&mut Judge, &Value) -> Value;

/// Most asks that are told of one request.
const MAX_ASKS: usize = 16;

impl Judge<'_> {
    fn done(self, target: Target, body: Option<Value>) -> Judged {
        let Judge { asks, needs, missing, .. } = self;
        Judged { target, body, asks, needs, missing }
    }

    /// The request asks for something too much.
    pub fn ask(&mut self, kind: Kind, about: &str) {
        let ask = Ask::new(kind, about);
        if self.asks.len() < MAX_ASKS && !self.asks.contains(&ask) {
            self.asks.push(ask);
        }
    }

    /// What a name is passed on as. What isn't known yet stays as it is, and keeps the verdict from counting.
    pub fn resolve(&mut self, reference: Reference) -> String {
        let name = match &reference {
            Reference::Container(name)
            | Reference::Exec(name)
            | Reference::Volume(name)
            | Reference::Network(name)
            | Reference::Path(name, _) => name.clone(),
        };
        match self.known.get(&reference) {
            Some(Meaning::Is(other)) => return other.clone(),
            Some(Meaning::Missing) => {
                if matches!(reference, Reference::Container(_) | Reference::Exec(_)) {
                    self.missing.push(name.clone());
                }
            }
            Some(Meaning::Not(ask)) => {
                let ask = ask.clone();
                self.ask(ask.kind, &ask.about);
            }
            None => self.needs.push(reference),
        }
        name
    }

    /// Judges an object that the engine reads into a struct: known fields by their checks, and written under their right names.
    /// Others are left out where they say nothing, and refused where they do.
    pub fn fields(&mut self, value: &Value, fields: &[(&str, Check)]) -> Value {
        let object = match value {
            Value::Object(object) => object,
            Value::Null => return Value::Null,
            other => {
                self.ask(Kind::Ambiguous, &format!("{other} where an object belongs"));
                return Value::Null;
            }
        };
        let mut seen: Vec<String> = Vec::with_capacity(object.len());
        let mut passed = Map::new();
        for (key, value) in object {
            let folded = fold(key);
            if seen.contains(&folded) {
                self.ask(Kind::Ambiguous, &format!("{key}, which stands twice"));
                continue;
            }
            match fields.iter().find(|(name, _)| name.to_ascii_lowercase() == folded) {
                Some((name, check)) => {
                    let value = check(self, value);
                    passed.insert((*name).to_owned(), value);
                }
                None if says_nothing(value) => {}
                None => self.ask(Kind::UnknownSetting, key),
            }
            seen.push(folded);
        }
        Value::Object(passed)
    }

    /// Judges each item of a list.
    pub fn each(&mut self, value: &Value, check: Check) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.iter().map(|item| check(self, item)).collect()),
            Value::Null => Value::Null,
            other => {
                self.ask(Kind::Ambiguous, &format!("{other} where a list belongs"));
                Value::Null
            }
        }
    }

    /// A text; nothing where there is none.
    pub fn text<'v>(&mut self, value: &'v Value) -> &'v str {
        match value {
            Value::String(text) => text,
            Value::Null => "",
            other => {
                self.ask(Kind::Ambiguous, &format!("{other} where a text belongs"));
                ""
            }
        }
    }
}

/// Whatever it is.
pub fn any(_: &mut Judge, value: &Value) -> Value {
    value.clone()
}
