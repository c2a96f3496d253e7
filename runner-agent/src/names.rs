//! Which names the job resolved to which addresses, from the DNS messages that reached it.
//!
//! Only an answer from a configured resolver, to a question that this job asked from the same port with the same id,
//! gives an address a name. The name is always the one that was asked for, however many CNAMEs lie between. A job that
//! can forge packets can still forge names: this serves explanation and audit, not blocking.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::{Name, RData};
use runner_agent_common::record::{Dns, direction};

use crate::event::DnsMessage;

/// Questions that may wait for an answer; the oldest half goes when there are more.
const MAX_QUESTIONS: usize = 4096;

/// Addresses that may carry names.
const MAX_ADDRESSES: usize = 65_536;

/// Names that one address may carry: a CDN answers for many.
const MAX_NAMES: usize = 32;

/// IP protocol number of TCP, over which messages carry a length of two bytes in front.
const TCP: u8 = 6;

/// Why a packet to or from port 53 names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadDnsError {
    /// It isn't DNS, or is cut off.
    #[error("not a DNS message: {0}")]
    Malformed(String),
    /// It has no question, or more than one.
    #[error("a DNS message with {0} questions; one is the rule")]
    Questions(usize),
}

/// Names by address.
#[derive(Debug, Default)]
pub struct Names {
    questions: HashMap<(u16, u16), Question>,
    by_address: HashMap<IpAddr, Vec<Arc<str>>>,
    claimed: HashMap<IpAddr, Vec<Arc<str>>>,
    asked: u64,
}

#[derive(Debug)]
struct Question {
    name: Arc<str>,
    server: IpAddr,
    order: u64,
}

impl Names {
    /// Gives an address a name that needs no question, as `/etc/hosts` does.
    pub fn add(&mut self, address: IpAddr, name: &str) {
        name_address(&mut self.by_address, address, &name.to_ascii_lowercase().into());
    }

    /// Names of an address, latest first.
    pub fn of(&self, address: IpAddr) -> &[Arc<str>] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Names that somebody other than a configured resolver claims for an address, latest first. They tell a reader what
    /// was asked for; no rule ever looks at them.
    pub fn claimed(&self, address: IpAddr) -> &[Arc<str>] {
        self.claimed.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Takes in a message; `resolvers` are those that the runner is configured with.
    pub fn take_in(&mut self, fixed: &Dns, bytes: &[u8], resolvers: &[IpAddr]) -> Result<DnsMessage, ReadDnsError> {
        let bytes = if fixed.protocol == TCP { bytes.get(2..).unwrap_or_default() } else { bytes };
        let message = Message::from_vec(bytes).map_err(|error| ReadDnsError::Malformed(error.to_string()))?;
        let [query] = message.queries.as_slice() else {
            return Err(ReadDnsError::Questions(message.queries.len()));
        };
        let server = address_of(fixed.family, fixed.server);
        let name: Arc<str> = plain(&query.name).into();
        let query_type = query.query_type.to_string();
        let id = (fixed.local_port, message.metadata.id);
        let is_answer = message.metadata.message_type == MessageType::Response;
        if !is_answer || fixed.direction == direction::OUT {
            if fixed.direction == direction::OUT && !is_answer {
                self.ask(id, name.clone(), server);
            }
            let (answer_code, addresses) = (None, Vec::new());
            return Ok(DnsMessage { server, name, query_type, answer_code, addresses, trusted: false, decided: None });
        }
        let asked = self.questions.get(&id).is_some_and(|question| question.name == name && question.server == server);
        let trusted = asked && (server.is_loopback() || resolvers.contains(&server));
        let addresses = addresses(&message, &query.name);
        if asked {
            self.questions.remove(&id);
            let table = if trusted { &mut self.by_address } else { &mut self.claimed };
            for &address in &addresses {
                name_address(table, address, &name);
            }
        }
        let answer_code = Some(format!("{:?}", message.metadata.response_code));
        Ok(DnsMessage { server, name, query_type, answer_code, addresses, trusted, decided: None })
    }

    fn ask(&mut self, id: (u16, u16), name: Arc<str>, server: IpAddr) {
        if self.questions.len() >= MAX_QUESTIONS {
            let half = self.asked - (MAX_QUESTIONS / 2) as u64;
            self.questions.retain(|_, question| question.order > half);
        }
        self.asked += 1;
        self.questions.insert(id, Question { name, server, order: self.asked });
    }
}

fn name_address(table: &mut HashMap<IpAddr, Vec<Arc<str>>>, address: IpAddr, name: &Arc<str>) {
    if table.len() >= MAX_ADDRESSES && !table.contains_key(&address) {
        return;
    }
    let names = table.entry(address).or_default();
    names.retain(|known| known != name);
    names.insert(0, name.clone());
    names.truncate(MAX_NAMES);
}

/// The addresses that a message gives to the name asked for, through its own CNAMEs only.
fn addresses(message: &Message, asked: &Name) -> Vec<IpAddr> {
    let mut names = HashSet::from([plain(asked)]);
    // Chains come in order almost always; as many rounds as records settle any order.
    for _ in &message.answers {
        let before = names.len();
        for record in &message.answers {
            if let RData::CNAME(target) = &record.data
                && names.contains(&plain(&record.name))
            {
                names.insert(plain(&target.0));
            }
        }
        if names.len() == before {
            break;
        }
    }
    message
        .answers
        .iter()
        .filter(|record| names.contains(&plain(&record.name)))
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0).to_canonical()),
            _ => None,
        })
        .collect()
}

/// Lower case, without the last dot.
fn plain(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}

/// An address as records carry it; IPv4-mapped IPv6 becomes IPv4.
pub fn address_of(family: u16, bytes: [u8; 16]) -> IpAddr {
    const AF_INET: u16 = 2;
    if family == AF_INET {
        IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
    } else {
        IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::rdata::{A, CNAME};
    use hickory_proto::rr::{Record, RecordType};
    use proptest::prelude::*;

    use super::*;

    const RESOLVER: [u8; 4] = [192, 0, 2, 53];

    fn packet(direction: u8, server: [u8; 4]) -> Dns {
        let mut fixed = Dns { family: 2, direction, protocol: 17, local_port: 4000, ..Dns::default() };
        fixed.server[..4].copy_from_slice(&server);
        fixed
    }

    fn question(id: u16, name: &str) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
        message.to_vec().unwrap()
    }

    fn answer(id: u16, name: &str, chain: &[&str], address: [u8; 4]) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
        let mut owner = Name::from_str(name).unwrap();
        for next in chain {
            let target = Name::from_str(next).unwrap();
            message.add_answer(Record::from_rdata(owner, 60, RData::CNAME(CNAME(target.clone()))));
            owner = target;
        }
        message.add_answer(Record::from_rdata(owner, 60, RData::A(A(address.into()))));
        message.to_vec().unwrap()
    }

    fn ask_and_answer(server: [u8; 4], answer: &[u8]) -> (Names, DnsMessage) {
        let mut names = Names::default();
        let resolvers = [IpAddr::from(RESOLVER)];
        names.take_in(&packet(direction::OUT, server), &question(7, "CDN.Example."), &resolvers).unwrap();
        let message = names.take_in(&packet(direction::IN, server), answer, &resolvers).unwrap();
        (names, message)
    }

    #[test]
    fn an_address_gets_the_name_that_was_asked_for_through_cnames() {
        let answer = answer(7, "cdn.example.", &["edge.example.net.", "a.edge.example.net."], [203, 0, 113, 9]);
        let (names, message) = ask_and_answer(RESOLVER, &answer);
        assert!(message.trusted);
        assert_eq!(names.of([203, 0, 113, 9].into()), [Arc::from("cdn.example")]);
    }

    #[test]
    fn an_answer_with_another_id_name_or_server_names_nothing() {
        for (server, answer) in [
            (RESOLVER, answer(8, "cdn.example.", &[], [203, 0, 113, 9])),
            (RESOLVER, answer(7, "other.example.", &[], [203, 0, 113, 9])),
            ([198, 51, 100, 1], answer(7, "cdn.example.", &[], [203, 0, 113, 9])),
        ] {
            let (names, message) = ask_and_answer(server, &answer);
            assert!(!message.trusted);
            assert!(names.of([203, 0, 113, 9].into()).is_empty());
        }
    }

    #[test]
    fn another_resolvers_answer_is_kept_as_a_claim() {
        let server = [198, 51, 100, 1];
        let (names, _) = ask_and_answer(server, &answer(7, "cdn.example.", &[], [203, 0, 113, 9]));
        assert_eq!(names.claimed([203, 0, 113, 9].into()), [Arc::from("cdn.example")]);
    }

    #[test]
    fn a_second_answer_to_one_question_names_nothing() {
        let first = answer(7, "cdn.example.", &[], [203, 0, 113, 9]);
        let (mut names, _) = ask_and_answer(RESOLVER, &first);
        let forged = answer(7, "cdn.example.", &[], [198, 51, 100, 66]);
        let message = names.take_in(&packet(direction::IN, RESOLVER), &forged, &[RESOLVER.into()]).unwrap();
        assert!(!message.trusted);
        assert!(names.of([198, 51, 100, 66].into()).is_empty());
    }

    #[test]
    fn questions_without_answers_do_not_pile_up() {
        let mut names = Names::default();
        for i in 0..20_000_u32 {
            let mut fixed = packet(direction::OUT, RESOLVER);
            fixed.local_port = (i % 60_000) as u16;
            names.take_in(&fixed, &question(1, "a.example."), &[]).unwrap();
        }
        assert!(names.questions.len() <= MAX_QUESTIONS);
    }

    proptest! {
        #[test]
        fn any_packet_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), protocol in any::<u8>()) {
            let mut names = Names::default();
            let fixed = Dns { protocol, ..packet(direction::IN, RESOLVER) };
            let _ = names.take_in(&fixed, &bytes, &[]);
        }
    }
}
