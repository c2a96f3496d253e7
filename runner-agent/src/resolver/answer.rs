//! What of an upstream's answer belongs to the question: its own chain of CNAMEs, and what stands at the end of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::limits::{Limits, MAX_ADDRESSES, MAX_DEPTH, MAX_RECORDS, MAX_TARGETS, MIN_TTL_S, NO_SOA_TTL_S};

/// What was taken from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `NoError` or `NXDomain`.
    pub code: ResponseCode,
    /// The chain and the records asked for, TTLs bounded.
    pub answers: Vec<Record>,
    /// The SOA of a "no".
    pub authorities: Vec<Record>,
    /// How long all of it is good for.
    pub ttl_s: u32,
    /// Addresses and hints, each once; IPv4-mapped IPv6 is IPv4.
    pub addresses: Vec<IpAddr>,
    /// Names that the answer names, with their distance from the question.
    pub targets: Vec<(Arc<str>, u8)>,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The upstream could not, or did not want to.
    #[error("it answered {0:?}")]
    Code(ResponseCode),
    /// The chain of CNAMEs is too long, or a circle.
    #[error("its chain of aliases has more than {MAX_DEPTH} steps")]
    Chain,
}

/// Whether a message answers this question.
pub fn is_answer_to(message: &Message, id: u16, name: &Name, query_type: RecordType) -> bool {
    let [query] = message.queries.as_slice() else { return false };
    message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && query.name == *name
        && query.query_type == query_type
        && query.query_class == DNSClass::IN
}

/// Takes from an answer what belongs to the question.
pub fn take(message: &Message, name: &Name, query_type: RecordType, limits: &Limits) -> Result<Taken, Unusable> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(Unusable::Code(code));
    }
    let in_class = || message.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    let mut taken = Taken {
        code,
        answers: Vec::new(),
        authorities: Vec::new(),
        ttl_s: 0,
        addresses: Vec::new(),
        targets: Vec::new(),
    };
    let mut aliases: HashMap<&Name, &Record> = HashMap::new();
    for record in in_class().filter(|record| record.record_type() == RecordType::CNAME) {
        aliases.entry(&record.name).or_insert(record);
    }
    let mut last = name.clone();
    let mut steps = 0;
    while query_type != RecordType::CNAME
        && let Some(record) = aliases.get(&last)
        && let RData::CNAME(target) = &record.data
    {
        steps += 1;
        if steps > MAX_DEPTH {
            return Err(Unusable::Chain);
        }
        taken.targets.extend(lower(&target.0).map(|target| (target, steps)));
        taken.answers.push(bounded(record, limits));
        last = target.0.clone();
    }
    let chain = taken.answers.len();
    for record in in_class().filter(|record| record.name == last && record.record_type() == query_type) {
        taken.take_record(record, steps, limits);
    }
    if taken.answers.len() == chain {
        taken.take_no(message, &last, limits);
    }
    let ttls = taken.answers.iter().chain(&taken.authorities).map(|record| record.ttl);
    taken.ttl_s = ttls.min().unwrap_or(MIN_TTL_S);
    Ok(taken)
}

impl Taken {
    fn take_record(&mut self, record: &Record, steps: u8, limits: &Limits) {
        if self.answers.iter().any(|known| known.name == record.name && known.data == record.data) {
            return;
        }
        let (addresses, target) = match &record.data {
            RData::A(address) => (vec![IpAddr::V4(address.0)], None),
            RData::AAAA(address) => (vec![IpAddr::V6(address.0).to_canonical()], None),
            RData::CNAME(target) => (Vec::new(), Some(&target.0)),
            RData::MX(mx) => (Vec::new(), Some(&mx.exchange)),
            RData::SRV(srv) => (Vec::new(), Some(&srv.target)),
            RData::HTTPS(https) => (hints(&https.0), Some(&https.0.target_name)),
            RData::SVCB(svcb) => (hints(svcb), Some(&svcb.target_name)),
            _ => (Vec::new(), None),
        };
        let addresses: Vec<IpAddr> =
            addresses.into_iter().filter(|address| !self.addresses.contains(address)).collect();
        let has_room = self.answers.len() < MAX_RECORDS
            && self.addresses.len() + addresses.len() <= MAX_ADDRESSES
            && (target.is_none() || self.targets.len() < MAX_TARGETS);
        if has_room {
            self.addresses.extend(addresses);
            // A target of `.` means the name itself, or none.
            let target = target.filter(|target| !target.is_root()).and_then(lower);
            self.targets.extend(target.map(|target| (target, steps + 1)));
            self.answers.push(bounded(record, limits));
        }
    }

    /// Takes the SOA that says how long a "no" is good for, or makes one.
    fn take_no(&mut self, message: &Message, last: &Name, limits: &Limits) {
        let soa = message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if record.dns_class == DNSClass::IN && record.name.zone_of(last) => Some((record, soa)),
            _ => None,
        });
        let own = || {
            let none = Name::root();
            SOA::new(none.clone(), none, 1, 3600, 600, 86_400, NO_SOA_TTL_S)
        };
        let (owner, ttl, soa) = soa.map_or_else(
            || (last.clone(), NO_SOA_TTL_S, own()),
            |(record, soa)| (record.name.clone(), record.ttl.min(soa.minimum), soa.clone()),
        );
        let ttl = ttl.clamp(MIN_TTL_S, limits.max_negative_ttl_s.max(MIN_TTL_S));
        self.authorities.push(Record::from_rdata(owner, ttl, RData::SOA(soa)));
    }
}

fn hints(svcb: &SVCB) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (_, value) in &svcb.svc_params {
        match value {
            SvcParamValue::Ipv4Hint(hint) => addresses.extend(hint.0.iter().map(|address| IpAddr::V4(address.0))),
            SvcParamValue::Ipv6Hint(hint) => {
                addresses.extend(hint.0.iter().map(|address| IpAddr::V6(address.0).to_canonical()));
            }
            _ => {}
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn bounded(record: &Record, limits: &Limits) -> Record {
    let mut record = record.clone();
    record.ttl = record.ttl.clamp(MIN_TTL_S, limits.max_ttl_s.max(MIN_TTL_S));
    record
}

/// A host name in lower case without the last dot; nothing for what no rule and no question could mean.
fn lower(name: &Name) -> Option<Arc<str>> {
    let mut text = String::with_capacity(name.len());
    for label in name {
        if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests;
