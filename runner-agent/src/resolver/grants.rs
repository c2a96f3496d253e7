//! Answers as they are remembered, and what the kernel has to be told before one of them is released.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::decide::Judge;
use super::desk::{Reply, Step, Waiting};
use super::limits::{Limits, seconds};
use super::question::Question;
use super::reply::{Body, udp_limit, write};
use super::table::Table;
use super::{Admission, Admit, AdmitError, Answered, Refusal, Transport};
use crate::policy::egress::{DNS_PORT, LOOPBACK_RULE, RefuseWith, classify, classify_endpoint};

/// Longest message over TCP.
const MAX_TCP: usize = 65_535;

/// TTL of what we say ourselves about loopback and reverse names.
const OWN_TTL_S: u32 = 10;

/// An answer as it is remembered.
#[derive(Debug)]
pub struct Entry {
    pub(super) body: Body,
    pub(super) born_ns: u64,
    pub(super) ttl_s: u32,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) targets: Vec<(Arc<str>, u8)>,
    pub(super) granted: Option<Granted>,
}

/// What was last admitted of an entry.
#[derive(Debug)]
pub(super) struct Granted {
    rules: Vec<usize>,
    depth: u8,
    until_ns: u64,
}

/// All but the answers, so that an answer can be looked at while this changes.
#[derive(Debug)]
pub(super) struct Grants {
    pub judge: Judge,
    pub reverse: Table<IpAddr, (Arc<str>, Option<Arc<str>>)>,
    pub limits: Limits,
}

impl Grants {
    pub fn settle(&mut self, waiting: &Waiting, entry: &mut Entry, now_ns: u64, admit: &mut dyn Admit) -> Reply {
        if let Err(error) = self.grant(waiting, entry, now_ns, admit) {
            return self.fail(waiting, Some(error));
        }
        let Waiting { question, leave, transport, at_ns } = waiting;
        let answered = Answered {
            rule: self.judge.rule_id(&leave.rules),
            derived_from: leave.derived_from.clone(),
            addresses: entry.addresses.clone(),
            measures: leave.measures,
            ..Answered::allowed(question, *transport, *at_ns, entry.body.code)
        };
        let bytes = write(question, &entry.body, entry.age_s(now_ns), limit(question, *transport));
        Reply { bytes, answered, admit_error: None }
    }

    /// Admits what an entry names, unless that was done and lasts: whoever gets an answer may use it for as long as it
    /// says, and for the floor at least.
    fn grant(
        &mut self,
        waiting: &Waiting,
        entry: &mut Entry,
        now_ns: u64,
        admit: &mut dyn Admit,
    ) -> Result<(), AdmitError> {
        let Waiting { question, leave, .. } = waiting;
        let good_for = entry.ttl_s.saturating_sub(entry.age_s(now_ns)).max(self.limits.floor_s);
        let needed_ns = now_ns.saturating_add(seconds(good_for));
        let is_granted = entry.granted.as_ref().is_some_and(|granted| {
            granted.rules == leave.rules && granted.depth == leave.depth && granted.until_ns >= needed_ns
        });
        if is_granted {
            return Ok(());
        }
        let until_ns = needed_ns.saturating_add(seconds(self.limits.grace_s));
        let allow = &self.judge.policy().allow;
        let admission = |&address: &IpAddr| {
            // Port 53 of a metadata address has another class than its other ports; the connect will tell.
            let classes = [classify(address), classify_endpoint(address, DNS_PORT)];
            let fits = |rule: &&usize| allow.get(**rule).is_some_and(|rule| classes.contains(&rule.class));
            let rules: Vec<usize> = leave.rules.iter().filter(fits).copied().collect();
            (!rules.is_empty()).then_some(Admission { address, rules, until_ns })
        };
        let admissions: Vec<Admission> = entry.addresses.iter().filter_map(admission).collect();
        if !admissions.is_empty() {
            admit.admit(&question.name, &admissions)?;
        }
        let rule = self.judge.rule_id(&leave.rules);
        for Admission { address, .. } in admissions {
            self.reverse.insert(address, (question.name.clone(), rule.clone()), until_ns, 1, now_ns);
        }
        for (target, steps) in &entry.targets {
            let depth = leave.depth.saturating_add(*steps);
            self.judge.derived.grant(target, &leave.rules, depth, &question.name, until_ns, now_ns);
        }
        entry.granted = Some(Granted { rules: leave.rules.clone(), depth: leave.depth, until_ns });
        Ok(())
    }

    pub fn fail(&self, waiting: &Waiting, admit_error: Option<AdmitError>) -> Reply {
        let Waiting { question, leave, transport, at_ns } = waiting;
        let code = ResponseCode::ServFail;
        let answered = Answered {
            rule: self.judge.rule_id(&leave.rules),
            derived_from: leave.derived_from.clone(),
            measures: leave.measures,
            ..Answered::allowed(question, *transport, *at_ns, code)
        };
        Reply { bytes: write(question, &Body::bare(code), 0, limit(question, *transport)), answered, admit_error }
    }

    /// The name of an address that an answer named. Nobody outside is asked: reverse names are in the hands of whoever
    /// has the address, and a question for one can carry data.
    pub fn reverse(&self, question: &Question, address: IpAddr, transport: Transport, now_ns: u64) -> Step {
        let address = address.to_canonical();
        let known = if address.is_loopback() {
            Some(("localhost".into(), Some(LOOPBACK_RULE.into())))
        } else {
            self.reverse.get(&address, now_ns).cloned()
        };
        let name = known.as_ref().and_then(|(name, _)| Name::from_ascii(format!("{name}.")).ok());
        let (Some((_, rule)), Some(name)) = (known, name) else {
            let code = ResponseCode::NXDomain;
            let answered = Answered::blocked(question, transport, now_ns, Refusal::Reverse, code);
            return reply(question, transport, &Body::with_own_soa(code), answered);
        };
        let answered = Answered { rule, ..Answered::allowed(question, transport, now_ns, ResponseCode::NoError) };
        reply(question, transport, &own_body(question, Some(RData::PTR(PTR(name)))), answered)
    }

    pub fn refusal_code(&self, refusal: Refusal) -> ResponseCode {
        match (refusal, self.judge.policy().refuse_with) {
            // The name is allowed and exists; "no such name" would hide its addresses too.
            (Refusal::Type, _) => ResponseCode::Refused,
            (refusal, _) if refusal.is_quiet() => ResponseCode::NXDomain,
            (_, RefuseWith::Nxdomain) => ResponseCode::NXDomain,
            (_, RefuseWith::Refused) => ResponseCode::Refused,
        }
    }
}

impl Entry {
    fn age_s(&self, now_ns: u64) -> u32 {
        u32::try_from(now_ns.saturating_sub(self.born_ns) / seconds(1)).unwrap_or(u32::MAX)
    }

    /// When it is no longer good.
    pub(super) fn until_ns(&self) -> u64 {
        self.born_ns.saturating_add(seconds(self.ttl_s))
    }

    /// What it costs to keep. Names and addresses weigh too; their number is bounded, so a rough figure does.
    pub(super) fn weight(&self) -> usize {
        256 + self.body.len() + 64 * (self.addresses.len() + self.targets.len())
    }
}

fn limit(question: &Question, transport: Transport) -> usize {
    match transport {
        Transport::Udp => udp_limit(question),
        Transport::Tcp => MAX_TCP,
    }
}

/// An answer without an age.
pub(super) fn reply(question: &Question, transport: Transport, body: &Body, answered: Answered) -> Step {
    let bytes = write(question, body, 0, limit(question, transport));
    Step::Answer(Box::new(Reply { bytes, answered, admit_error: None }))
}

/// What `localhost` is, whatever is asked of it (RFC 6761, 6.3).
pub(super) fn loopback(question: &Question, transport: Transport, now_ns: u64) -> Step {
    let (data, addresses) = match question.query_type {
        RecordType::A => (Some(RData::A(A(Ipv4Addr::LOCALHOST))), vec![Ipv4Addr::LOCALHOST.into()]),
        RecordType::AAAA => (Some(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))), vec![Ipv6Addr::LOCALHOST.into()]),
        _ => (None, Vec::new()),
    };
    let allowed = Answered::allowed(question, transport, now_ns, ResponseCode::NoError);
    let answered = Answered { rule: Some(LOOPBACK_RULE.into()), addresses, ..allowed };
    reply(question, transport, &own_body(question, data), answered)
}

/// A body of one record of our own, or of none.
fn own_body(question: &Question, data: Option<RData>) -> Body {
    let record = |name: Name| {
        let record = Record::from_rdata(name.clone(), OWN_TTL_S, data?);
        Body::of(&name, question.query_type, ResponseCode::NoError, &[record], &[])
    };
    question.hickory_name().and_then(record).unwrap_or_else(|| Body::with_own_soa(ResponseCode::NoError))
}
