//! Writing what a job is answered: a body made once, put behind each client's own header and question.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};

use super::question::{HEADER, Question, Repeated, skip_record};

/// The size of datagram that we take and announce: what passes every path unfragmented (DNS flag day 2020).
pub(super) const OUR_UDP_SIZE: u16 = 1232;

/// What a client without EDNS takes (RFC 1035, 4.2.1).
const PLAIN_UDP_SIZE: u16 = 512;

/// The largest datagram that is sent, whatever a client says it takes.
const MAX_UDP_SIZE: u16 = 4096;

/// Length of an OPT record without options.
const OPT_LENGTH: usize = 11;

/// Seconds for which a program may remember that a name was refused. Short: the next job may have another policy.
const REFUSED_TTL: u8 = 5;

/// Everything behind the question of an answer. Its compression pointers lead into the question, so it fits every
/// client that asked the same name, in whatever spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The answer's code.
    pub code: ResponseCode,
    answers: u16,
    authorities: u16,
    bytes: Vec<u8>,
    /// Offset in `bytes` and value of each TTL.
    ttls: Vec<(usize, u32)>,
}

impl Body {
    /// A code and nothing else.
    pub fn bare(code: ResponseCode) -> Self {
        Self { code, answers: 0, authorities: 0, bytes: Vec::new(), ttls: Vec::new() }
    }

    /// A code with an SOA of our own, which says how long the "no" may be remembered (RFC 2308, 5).
    pub fn with_own_soa(code: ResponseCode) -> Self {
        let mut bytes = vec![0xc0, HEADER as u8, 0, 6, 0, 1, 0, 0, 0, REFUSED_TTL, 0, 22];
        // Primary server and mailbox: the root, which means none. Then serial, refresh, retry, expire, minimum.
        bytes.extend([0, 0]);
        for number in [1_u32, 3600, 600, 86_400, u32::from(REFUSED_TTL)] {
            bytes.extend(number.to_be_bytes());
        }
        Self { code, answers: 0, authorities: 1, bytes, ttls: Vec::new() }
    }

    /// These records behind a question for `name`; `None` if they don't fit one message.
    pub fn of(
        name: &Name,
        query_type: RecordType,
        code: ResponseCode,
        answers: &[Record],
        authorities: &[Record],
    ) -> Option<Self> {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name.clone(), query_type));
        message.add_answers(answers.iter().cloned());
        message.add_authorities(authorities.iter().cloned());
        let whole = message.to_vec().ok()?;
        let name_length = if name.is_root() { 1 } else { name.len() + 1 };
        let start = HEADER + name_length + 4;
        let (answers, authorities) = (u16::try_from(answers.len()).ok()?, u16::try_from(authorities.len()).ok()?);
        let counted = |at: usize| Some(u16::from_be_bytes([*whole.get(at)?, *whole.get(at + 1)?]));
        if counted(6)? != answers || counted(8)? != authorities {
            return None;
        }
        let mut ttls = Vec::with_capacity(usize::from(answers + authorities));
        let mut at = start;
        for _ in 0..answers + authorities {
            let record = skip_record(&whole, at)?;
            let ttl = whole.get(record.ttl_at..record.ttl_at + 4)?.first_chunk::<4>()?;
            ttls.push((record.ttl_at - start, u32::from_be_bytes(*ttl)));
            at = record.end;
        }
        let bytes = whole.get(start..at)?.to_vec();
        Some(Self { code, answers, authorities, bytes, ttls })
    }

    /// How many bytes it takes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// How long an answer to this client may be over UDP.
pub fn udp_limit(question: &Question) -> usize {
    usize::from(question.edns.unwrap_or(PLAIN_UDP_SIZE).clamp(PLAIN_UDP_SIZE, MAX_UDP_SIZE))
}

/// The answer to `question`, its TTLs lowered by the body's age. What is longer than `limit` becomes an empty answer
/// with TC, which asks the client to come back over TCP.
pub fn write(question: &Question, body: &Body, age_s: u32, limit: usize) -> Vec<u8> {
    let opt = if question.edns.is_some() { OPT_LENGTH } else { 0 };
    let whole = HEADER + question.section.len() + body.bytes.len() + opt;
    let is_cut = whole > limit;
    let (answers, authorities) = if is_cut { (0, 0) } else { (body.answers, body.authorities) };
    let mut out = Vec::with_capacity(whole.min(limit));
    header(&mut out, question.id, question.repeated, body.code, is_cut);
    for count in [1, answers, authorities, u16::from(opt > 0)] {
        out.extend(count.to_be_bytes());
    }
    out.extend(&question.section);
    if !is_cut {
        let start = out.len();
        out.extend(&body.bytes);
        for &(at, ttl) in &body.ttls {
            out[start + at..start + at + 4].copy_from_slice(&ttl.saturating_sub(age_s).to_be_bytes());
        }
    }
    if opt > 0 {
        let [size_high, size_low] = OUR_UDP_SIZE.to_be_bytes();
        out.extend([0, 0, 41, size_high, size_low, body.code.high(), 0, 0, 0, 0, 0]);
    }
    out
}

/// A header with a code, for a message whose question can't be repeated.
pub fn write_bare(id: u16, repeated: Repeated, code: ResponseCode) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    header(&mut out, id, repeated, code, false);
    out.extend([0; 8]);
    out
}

fn header(out: &mut Vec<u8>, id: u16, repeated: Repeated, code: ResponseCode, is_cut: bool) {
    out.extend(id.to_be_bytes());
    // QR; TC; RD as asked. AA stays clear: nothing here is our own zone.
    out.push(0x80 | u8::from(is_cut) << 1 | u8::from(repeated.recursion_desired));
    // RA; CD as asked; the lower four bits of the code.
    out.push(0x80 | u8::from(repeated.checking_disabled) << 4 | code.low());
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::Edns;
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;
    use crate::resolver::question::read;

    fn asked(name: &str, edns: Option<u16>) -> Question {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        if let Some(size) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        read(&message.to_vec().unwrap()).unwrap()
    }

    fn body(addresses: u8) -> Body {
        let name = Name::from_ascii("a.example.").unwrap();
        let target = Name::from_ascii("b.example.").unwrap();
        let mut records = vec![Record::from_rdata(name.clone(), 300, RData::CNAME(CNAME(target.clone())))];
        for last in 0..addresses {
            let address = Ipv4Addr::new(203, 0, 113, last);
            records.push(Record::from_rdata(target.clone(), 60, RData::A(A(address))));
        }
        Body::of(&name, RecordType::A, ResponseCode::NoError, &records, &[]).unwrap()
    }

    #[test]
    fn an_answer_keeps_the_clients_id_and_spelling_and_lowers_ttls() {
        let bytes = write(&asked("A.exAmple.", None), &body(2), 25, 512);
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.metadata.id, 0x1234);
        assert!(message.metadata.recursion_available && message.metadata.recursion_desired);
        assert!(!message.metadata.authoritative && !message.metadata.truncation);
        assert_eq!(message.queries[0].name.to_ascii(), "A.exAmple.");
        assert_eq!(message.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [275, 35, 35]);
        assert_eq!(message.answers[0].name.to_ascii(), "A.exAmple.");
        assert!(message.edns.is_none());
    }

    #[test]
    fn what_does_not_fit_the_clients_datagram_is_cut_and_says_so() {
        for (edns, fits) in [(None, false), (Some(100), false), (Some(1232), true)] {
            let question = asked("a.example.", edns);
            let bytes = write(&question, &body(40), 0, udp_limit(&question));
            let message = Message::from_vec(&bytes).unwrap();
            assert!(bytes.len() <= udp_limit(&question));
            assert_eq!(message.metadata.truncation, !fits);
            assert_eq!(message.answers.len(), if fits { 41 } else { 0 });
            assert_eq!(message.edns.as_ref().map(Edns::max_payload), edns.map(|_| OUR_UDP_SIZE));
        }
    }

    #[test]
    fn a_refusal_says_how_long_it_may_be_remembered() {
        let body = Body::with_own_soa(ResponseCode::NXDomain);
        let message = Message::from_vec(&write(&asked("a.example.", Some(4096)), &body, 0, 512)).unwrap();
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
        let [soa] = message.authorities.as_slice() else { panic!("{message:?}") };
        let RData::SOA(data) = &soa.data else { panic!("{soa:?}") };
        assert_eq!((soa.name.to_ascii().as_str(), soa.ttl, data.minimum), ("a.example.", 5, 5));
    }

    #[test]
    fn a_code_of_more_than_four_bits_is_told_in_edns() {
        let bytes = write(&asked("a.example.", Some(512)), &Body::bare(ResponseCode::BADVERS), 0, 512);
        let code = Message::from_vec(&bytes).unwrap().metadata.response_code;
        // Sixteen has two names; on the wire they are one.
        assert_eq!(u16::from(code), u16::from(ResponseCode::BADVERS));
    }

    #[test]
    fn records_for_the_root_are_found_too() {
        let records = [Record::from_rdata(Name::root(), 9, RData::A(A(Ipv4Addr::LOCALHOST)))];
        let body = Body::of(&Name::root(), RecordType::A, ResponseCode::NoError, &records, &[]).unwrap();
        assert_eq!(body.ttls, [(5, 9)]);
    }
}
