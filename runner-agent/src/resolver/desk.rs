//! The pure part: a message and a time in; an answer, or a question for upstream, out.
//!
//! It owns what is remembered: the budget, names that answers named, answers, and names of addresses. It has no clock
//! and no socket; what the kernel must allow is handed to [`Admit`] before the bytes that name it exist.

use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::answer::{Taken, take};
use super::decide::{Decision, Judge, Leave};
use super::grants::{Grants, loopback, reply};
use super::limits::Limits;
use super::question::{Question, Unreadable, read};
use super::reply::{Body, write_bare};
use super::table::Table;
use super::{Admit, AdmitError, Answered, Refusal, Transport};
use crate::policy::EgressPolicy;

pub use super::answer::Unusable;
pub use super::grants::Entry;

/// What a name and a type are remembered under.
pub type Key = (Arc<str>, RecordType);

/// What comes of a message.
#[derive(Debug)]
pub enum Step {
    /// Nothing: it was no question.
    Silent,
    /// An answer.
    Answer(Box<Reply>),
    /// Upstream must be asked first.
    Ask(Box<Waiting>),
}

/// An answer, and what is to be told of it.
#[derive(Debug)]
pub struct Reply {
    /// The message.
    pub bytes: Vec<u8>,
    /// What is told; who asked is for the caller to fill in.
    pub answered: Answered,
    /// Why the answer was held back.
    pub admit_error: Option<AdmitError>,
}

/// An allowed question whose answer is not known yet.
#[derive(Debug)]
pub struct Waiting {
    pub(super) question: Question,
    pub(super) leave: Leave,
    pub(super) transport: Transport,
    pub(super) at_ns: u64,
}

impl Waiting {
    /// Questions with the same key have the same answer.
    pub fn key(&self) -> Key {
        (self.question.name.clone(), self.question.query_type)
    }

    /// The name to ask upstream: lower case. `None` for a name that hickory can't hold, which is none that was allowed.
    pub fn name(&self) -> Option<Name> {
        self.question.hickory_name()
    }
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Names counted below wildcards.
    pub counted: usize,
    /// Names that answers named.
    pub derived: usize,
    /// Answers.
    pub cache: usize,
    /// Addresses with a name.
    pub reverse: usize,
}

/// The resolver without its sockets.
#[derive(Debug)]
pub struct Desk {
    cache: Table<Key, Entry>,
    grants: Grants,
}

impl Desk {
    /// A desk for one job. `search` are the runner's search domains.
    pub fn new(policy: Arc<EgressPolicy>, search: &[String], limits: &Limits) -> Self {
        Self {
            cache: Table::new(limits.cache_entries, limits.cache_bytes),
            grants: Grants {
                judge: Judge::new(policy, search, limits),
                reverse: Table::new(limits.reverse_addresses, usize::MAX / 2),
                limits: limits.clone(),
            },
        }
    }

    /// Takes in a client's message. A client who holds a secret may ask only for what a rule may carry secrets to: a name
    /// below a wildcard can carry one.
    pub fn take(
        &mut self,
        bytes: &[u8],
        transport: Transport,
        holds_secret: bool,
        now_ns: u64,
        admit: &mut dyn Admit,
    ) -> Step {
        let question = match read(bytes) {
            Ok(question) => question,
            Err(Unreadable::Silent) => return Step::Silent,
            Err(Unreadable::Bare(id, repeated, code)) => {
                let answered = Answered::malformed(transport, now_ns, code);
                return Step::Answer(Box::new(Reply {
                    bytes: write_bare(id, repeated, code),
                    answered,
                    admit_error: None,
                }));
            }
            Err(Unreadable::Rejected(question, code)) => {
                let answered = Answered::blocked(&question, transport, now_ns, Refusal::Malformed, code);
                return reply(&question, transport, &Body::bare(code), answered);
            }
        };
        match self.grants.judge.decide(&question, now_ns) {
            Decision::Refuse(refusal, measures) => {
                let code = self.grants.refusal_code(refusal);
                let answered = Answered { measures, ..Answered::blocked(&question, transport, now_ns, refusal, code) };
                let body = if code == ResponseCode::NXDomain { Body::with_own_soa(code) } else { Body::bare(code) };
                reply(&question, transport, &body, answered)
            }
            Decision::Loopback => loopback(&question, transport, now_ns),
            Decision::Reverse(address) => self.grants.reverse(&question, address, transport, now_ns),
            Decision::Allow(leave) if holds_secret && !self.grants.judge.may_carry_secrets(&leave) => {
                let code = self.grants.refusal_code(Refusal::Secret);
                let answered = Answered::blocked(&question, transport, now_ns, Refusal::Secret, code);
                let body = if code == ResponseCode::NXDomain { Body::with_own_soa(code) } else { Body::bare(code) };
                reply(&question, transport, &body, answered)
            }
            Decision::Allow(leave) => {
                let waiting = Waiting { question, leave, transport, at_ns: now_ns };
                match self.cache.get_mut(&waiting.key(), now_ns) {
                    Some(entry) => {
                        let mut reply = self.grants.settle(&waiting, entry, now_ns, admit);
                        reply.answered.from_cache = true;
                        Step::Answer(Box::new(reply))
                    }
                    None => Step::Ask(Box::new(waiting)),
                }
            }
        }
    }

    /// Makes an entry of what an upstream answered to this question.
    pub fn learn(
        &self,
        name: &Name,
        query_type: RecordType,
        message: &Message,
        now_ns: u64,
    ) -> Result<Entry, Unusable> {
        let Taken { code, answers, authorities, ttl_s, addresses, targets } =
            take(message, name, query_type, &self.grants.limits)?;
        let body =
            Body::of(name, query_type, code, &answers, &authorities).ok_or(Unusable::Code(ResponseCode::FormErr))?;
        Ok(Entry { body, born_ns: now_ns, ttl_s, addresses, targets, granted: None })
    }

    /// Answers one who waited; all who waited for one key share the entry.
    pub fn settle(&mut self, waiting: &Waiting, entry: &mut Entry, now_ns: u64, admit: &mut dyn Admit) -> Reply {
        self.grants.settle(waiting, entry, now_ns, admit)
    }

    /// Remembers an entry.
    pub fn keep(&mut self, key: Key, entry: Entry, now_ns: u64) {
        let (until_ns, weight) = (entry.until_ns(), entry.weight());
        self.cache.insert(key, entry, until_ns, weight, now_ns);
    }

    /// Answers one for whom no upstream had an answer.
    pub fn fail(&self, waiting: &Waiting) -> Reply {
        self.grants.fail(waiting, None)
    }

    /// How much is remembered.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            counted: self.grants.judge.counted(),
            derived: self.grants.judge.derived.len(),
            cache: self.cache.len(),
            reverse: self.grants.reverse.len(),
        }
    }
}

#[cfg(test)]
mod tests;
