//! What the resolver tells of each question, and of its upstreams.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;

use super::question::Question;
use super::tunnel::Measures;
use super::{Asker, Transport};
use crate::policy::{Verdict, words};

/// What the resolver has to tell. Told before the answer goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every report is a question")]
pub enum Report {
    /// A question was answered.
    Question(Answered),
    /// Addresses could not be admitted; the question was answered with SERVFAIL.
    AdmitFailed {
        /// The name asked for.
        name: Arc<str>,
        /// Why.
        detail: String,
    },
    /// No upstream answers; told once, until one does again.
    UpstreamFailed {
        /// What became of each try.
        detail: String,
    },
    /// An upstream answers again.
    UpstreamRecovered,
}

/// A question, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When it came, nanoseconds since boot.
    pub at_ns: u64,
    /// Who asked, if that is known.
    pub asker: Option<Asker>,
    /// What carried it.
    pub transport: Transport,
    /// The name: lower case, no dot at the end; `.` for the root, empty when the message had no readable question.
    pub name: Arc<str>,
    /// The record type asked for, as `A`; empty when the message had no readable question.
    pub query_type: String,
    /// Allowed or blocked.
    pub verdict: Verdict,
    /// The first rule that allows it.
    pub rule: Option<Arc<str>>,
    /// The name whose answer named this one, when no rule names it itself.
    pub derived_from: Option<Arc<str>>,
    /// Why it was blocked.
    pub refusal: Option<Refusal>,
    /// The answer's code, as hickory's `ResponseCode` prints for debugging: `NoError`, `NXDomain`, …
    pub answer_code: String,
    /// Addresses in the answer, hints included.
    pub addresses: Vec<IpAddr>,
    /// What was measured of a name below a wildcard.
    pub measures: Option<Measures>,
    /// Whether the answer was remembered.
    pub from_cache: bool,
}

/// Why a question was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No rule means the name.
    NoRule,
    /// The name is a provider of encrypted DNS, and no rule names it exactly.
    EncryptedDns,
    /// The name asks whether encrypted DNS is wanted.
    Canary,
    /// The rule allows the name, but not this type of question.
    Type,
    /// Too many distinct names below the wildcard.
    Budget,
    /// The name, or all names below the wildcard together, look like a tunnel.
    Tunnel,
    /// An allowed name, or a single label, with one of the runner's search domains behind it.
    SearchDomain,
    /// Underscore labels in front of an allowed name, as package managers try them first.
    ServiceLabel,
    /// An address's name, of an address that no answer named.
    Reverse,
    /// Who asks holds a secret, and no rule for the name may carry one.
    Secret,
    /// No question that can be decided.
    Malformed,
}

words!(
    Refusal,
    "no-rule, encrypted-dns, canary, type, budget, tunnel, search-domain, service-label, reverse, secret, malformed",
    {
        Refusal::NoRule => "no-rule",
        Refusal::EncryptedDns => "encrypted-dns",
        Refusal::Canary => "canary",
        Refusal::Type => "type",
        Refusal::Budget => "budget",
        Refusal::Tunnel => "tunnel",
        Refusal::SearchDomain => "search-domain",
        Refusal::ServiceLabel => "service-label",
        Refusal::Reverse => "reverse",
        Refusal::Secret => "secret",
        Refusal::Malformed => "malformed",
    }
);

impl Refusal {
    /// Whether honest programs cause it all the time, so that nobody should be called.
    pub fn is_quiet(self) -> bool {
        matches!(self, Self::Canary | Self::SearchDomain | Self::ServiceLabel | Self::Reverse)
    }
}

impl Answered {
    /// An allowed question, answered with this code.
    pub(super) fn allowed(question: &Question, transport: Transport, at_ns: u64, code: ResponseCode) -> Self {
        Self {
            name: question.name.clone(),
            query_type: question.query_type.to_string(),
            ..Self::new(transport, at_ns, Verdict::Allowed, code)
        }
    }

    /// A blocked question, answered with this code.
    pub(super) fn blocked(
        question: &Question,
        transport: Transport,
        at_ns: u64,
        refusal: Refusal,
        code: ResponseCode,
    ) -> Self {
        Self { verdict: Verdict::Blocked, refusal: Some(refusal), ..Self::allowed(question, transport, at_ns, code) }
    }

    /// A message without a readable question, answered with this code.
    pub(super) fn malformed(transport: Transport, at_ns: u64, code: ResponseCode) -> Self {
        Self { refusal: Some(Refusal::Malformed), ..Self::new(transport, at_ns, Verdict::Blocked, code) }
    }

    fn new(transport: Transport, at_ns: u64, verdict: Verdict, code: ResponseCode) -> Self {
        Self {
            at_ns,
            asker: None,
            transport,
            name: "".into(),
            query_type: String::new(),
            verdict,
            rule: None,
            derived_from: None,
            refusal: None,
            answer_code: format!("{code:?}"),
            addresses: Vec::new(),
            measures: None,
            from_cache: false,
        }
    }
}
