//! What the resolver's tests share: policies by pattern, questions, and answers of a made-up upstream.

mod fake;
mod live;
mod tcp;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, CNAME, HTTPS, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{Admission, Admit, AdmitError};
use crate::policy::egress::{EgressPolicy, EgressRule, Ports, ProtocolMatch, Target};
use crate::policy::{AddressClass, HostPattern};

pub fn host_rule(index: usize, pattern: &str) -> EgressRule {
    EgressRule {
        id: format!("test/egress.allow[{index}]").into(),
        target: Target::Host(HostPattern::parse(pattern).unwrap()),
        ports: Ports::one(443),
        protocol: ProtocolMatch::Tcp,
        class: AddressClass::Public,
        exe: Vec::new(),
        names: None,
        may_carry_secrets: false,
        why: "a test".into(),
        source: None,
    }
}

pub fn host_rules(patterns: &[&str]) -> EgressPolicy {
    let allow = patterns.iter().enumerate().map(|(index, pattern)| host_rule(index, pattern)).collect();
    EgressPolicy { allow, ..EgressPolicy::default() }
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

pub fn question(id: u16, asked: &str, query_type: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(asked), query_type));
    message.to_vec().unwrap()
}

pub fn answer_to(asked: &str, query_type: RecordType, records: Vec<Record>) -> Message {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name(asked), query_type));
    message.add_answers(records);
    message
}

pub fn no_such_name(asked: &str, query_type: RecordType) -> Message {
    let mut message = answer_to(asked, query_type, Vec::new());
    message.metadata.response_code = ResponseCode::NXDomain;
    message
}

pub fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::from(address))))
}

pub fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub fn srv(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::SRV(SRV::new(1, 1, 8443, name(target))))
}

pub fn https(owner: &str, target: &str, hint: [u8; 4]) -> Record {
    let target = if target == "." { Name::root() } else { name(target) };
    let hint = SvcParamValue::Ipv4Hint(IpHint(vec![A(Ipv4Addr::from(hint))]));
    let svcb = SVCB::new(1, target, vec![(SvcParamKey::Ipv4Hint, hint)]);
    Record::from_rdata(name(owner), 60, RData::HTTPS(HTTPS(svcb)))
}

/// What was admitted, in order.
pub type Admitted = Arc<Mutex<Vec<(Arc<str>, Vec<Admission>)>>>;

/// Remembers what was admitted, or refuses it.
#[derive(Clone, Debug, Default)]
pub struct Remembering {
    pub admitted: Admitted,
    pub refuses: Arc<Mutex<bool>>,
}

impl Remembering {
    pub fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    pub fn addresses(&self) -> Vec<IpAddr> {
        let admitted = self.admitted.lock().unwrap();
        admitted.iter().flat_map(|(_, admissions)| admissions.iter().map(|admission| admission.address)).collect()
    }
}

impl Admit for Remembering {
    fn admit(&mut self, name: &Arc<str>, addresses: &[Admission]) -> Result<(), AdmitError> {
        if *self.refuses.lock().unwrap() {
            return Err(AdmitError("the map is full".to_owned()));
        }
        self.admitted.lock().unwrap().push((name.clone(), addresses.to_vec()));
        Ok(())
    }
}
